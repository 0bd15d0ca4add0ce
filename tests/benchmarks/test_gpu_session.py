"""The session for a lent GPU runs in parts on the CPU: rows are written as they are found, and a failure is a row."""

from __future__ import annotations

import json
import sys

import gpu_session
import pytest

from oscbench import ops


def session(monkeypatch, folder, *arguments):
    monkeypatch.setattr(
        sys, "argv", ["gpu_session.py", "--output", str(folder), "--device", "cpu", *arguments]
    )
    gpu_session.main()


def test_a_backend_that_fails_is_a_row_and_not_the_end(monkeypatch, tmp_path, capsys):
    class CompilationError(Exception):
        """As Triton's: derived from Exception alone."""

    real = ops.op_of("kuramoto_step").backends["sdpa"].load()

    def fails_on_causal(*given, is_causal, **options):
        if is_causal:
            raise CompilationError("out of registers\nmore")
        return real(*given, is_causal=is_causal, **options)

    from oscbench.ops.kuramoto import sdpa

    monkeypatch.setattr(sdpa, "run", fails_on_causal)
    session(monkeypatch, tmp_path, "--part", "check", "--case", "kuramoto-step")
    rows = [json.loads(line) for line in (tmp_path / "check-kuramoto-step.jsonl").read_text().splitlines()]
    found = [row for row in rows if row.get("backend") == "sdpa"]
    assert [row["exact"] for row in found] == [True, True, None, None]
    assert found[-1]["refused"] == "CompilationError: out of registers"
    assert gpu_session.exact_backends(tmp_path) >= {("Kuramoto step", "sdpa")}
    session(monkeypatch, tmp_path, "--part", "table")
    assert "0 wrong, 2 refused" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["check", "time"])
def test_a_part_ends_with_its_budget(monkeypatch, tmp_path, part):
    session(monkeypatch, tmp_path, "--part", part, "--case", "softmax", "--budget", "0")
    last = (tmp_path / f"{part}-softmax.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["ended"] == "the budget is spent"
