"""The session for a lent GPU runs in parts on the CPU: rows are written as they are found, and a failure is a row."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
import weakref

import gpu_cases
import gpu_checks
import gpu_parts
import gpu_session
import pytest
import torch

from oscbench import ops
from oscbench.instruments import clock
from oscbench.ops import dispatch, triton_tools
from oscbench.records import packed


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


def test_what_breaks_is_wrong_and_what_cannot_be_had_is_refused(monkeypatch):
    case = next(one for one in gpu_session.CASES if one.op == "kuramoto_step")
    inputs = gpu_checks.check_inputs(case, 20, 8)

    def found(error):
        def raises(*given, **options):
            raise error

        monkeypatch.setattr("oscbench.ops.kuramoto.sdpa.run", raises)
        return gpu_checks.check_backend(case, "sdpa", False, torch.float32, "cpu", inputs, {})

    assert found(dispatch.UnsupportedError("not here")) == {
        "exact": None,
        "refused": "UnsupportedError: not here",
    }
    broken = found(RuntimeError("CUDA error: an illegal memory access"))
    assert broken["exact"] is False
    assert "illegal memory access" in broken["broke"]


def test_one_that_breaks_in_a_race_is_told_and_costs_no_other_its_samples():
    told, counts = [], iter(range(1000))

    def breaks():
        if next(counts) == 3:
            raise RuntimeError("out of its depth\nmore")
        return 1.0

    samples = gpu_session.race(
        {"steady": lambda: 2.0, "breaks": breaks}, 60.0, lambda *said: told.append(said)
    )
    assert told == [("breaks", "RuntimeError: out of its depth")]
    assert samples["breaks"] == [1.0] * 3
    assert samples["steady"] == [2.0] * gpu_session.ROUNDS


@pytest.mark.parametrize("part", ["check", "time"])
def test_a_part_ends_with_its_budget(monkeypatch, tmp_path, part):
    session(monkeypatch, tmp_path, "--part", part, "--case", "softmax", "--budget", "0")
    last = (tmp_path / f"{part}-softmax.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["ended"] == "the budget is spent"


STUB = """
import json, os, signal, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if given.get("--case") == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if given.get("--case") == "hangs":
    time.sleep(1000)
name = given["--part"] + given.get("--case", "")
open(f"{given['--output']}/{name}.jsonl", "w").write(json.dumps(given) + chr(10))
"""


def test_a_part_that_crashes_or_hangs_costs_its_own_rows_alone(tmp_path):
    def begin(arguments):
        return subprocess.Popen([sys.executable, "-c", STUB, *arguments])

    told, after, started = [], [], time.monotonic()
    gpu_parts.whole(
        ["--output", str(tmp_path)],
        ["crashes", "works", "hangs"],
        [("forward", 64)],
        at_once=2,
        budget=60.0,
        say=lambda **row: told.append((row["of"], row["ended"])),
        begin=begin,
        after=lambda: after.append(told[-1][0].split()[0]),
    )
    assert time.monotonic() - started < 60.0
    assert dict(told) == {
        "check crashes": "with code -11",
        "check works": "in time",
        "check hangs": "stopped at its budget",
        "time forward 64": "in time",
    }
    assert gpu_parts.pack(tmp_path, tmp_path / "out") == 2
    rows = [json.loads(line) for line in packed.lines(tmp_path / "out" / gpu_parts.PACKED)]
    assert [row["--part"] for row in rows] == ["check", "time"]
    assert all(started < float(row["--ends"]) < started + 60.0 for row in rows)
    assert after == ["check", "check", "check", "time"], "what was found is packed after every part"


def test_races_share_what_time_is_left(tmp_path):
    ends = []

    def begin(arguments):
        ends.append(float(arguments[arguments.index("--ends") + 1]))
        return subprocess.Popen([sys.executable, "-c", ""])

    started = time.monotonic()
    races = [("backward", 4096), ("backward", 1024), ("forward", 4096), ("forward", 1024)]
    gpu_parts.whole([], [], races, at_once=1, budget=400.0, say=lambda **row: None, begin=begin)
    assert ends == sorted(ends)
    assert ends[0] < started + 110.0, "the first leaves the others theirs"
    assert ends[-1] > started + 350.0


def test_with_no_budget_left_nothing_is_started(tmp_path):
    told = []
    gpu_parts.whole(
        ["--output", str(tmp_path)],
        ["one"],
        [("forward", 64)],
        at_once=1,
        budget=0.0,
        say=lambda **row: told.append(row["ended"]),
        begin=lambda arguments: pytest.fail("started"),
    )
    assert told == ["the budget is spent"] * 2


def test_tiles_are_forced_one_after_the_other_and_left_as_they_were():
    kernel = triton_tools.Tiled(None, [({"BLOCK_M": 128}, 4, 2), ({"BLOCK_M": 64}, 4, 2)], [], None)
    constants = {"BLOCK_D": 64}
    usual = triton_tools.fixed_tile(kernel, constants)
    for place, expected in ((None, usual), (0, kernel.tiles[0]), (1, kernel.tiles[1]), (4, kernel.tiles[1])):
        with gpu_checks.forced_tile(place):
            assert torch.are_deterministic_algorithms_enabled()
            assert triton_tools.fixed_tile(kernel, constants) == expected
    assert not torch.are_deterministic_algorithms_enabled()
    assert triton_tools.fixed_tile(kernel, constants) == usual
    # As it is timed: a tuner chooses, which deterministic algorithms would keep from running.
    *forced, by_time = gpu_checks.tile_choices("triton")
    assert forced == [None, *range(5)]
    with gpu_checks.forced_tile(by_time):
        assert not torch.are_deterministic_algorithms_enabled()
        assert triton_tools.fixed_tile(kernel, constants) == usual


def test_a_graph_is_kept_with_the_call_whose_tensors_it_reads(monkeypatch):
    class Graph:
        def replay(self):
            replayed.append(True)

    replayed = []
    monkeypatch.setattr(clock, "graph_of", lambda call: Graph())
    x = torch.zeros(3)
    alive, contender = weakref.ref(x), clock.captured(clock.Contender(lambda x=x: x.add_(1.0)))
    del x
    gc.collect()
    contender.run()
    assert replayed == [True]
    assert alive() is not None
    del contender
    gc.collect()
    assert alive() is None


def test_gradients_of_ssa_are_judged_where_rounding_moves_no_pair_over_its_edge():
    case = next(one for one in gpu_session.CASES if one.op == "selective_synchronization")
    raw = case.make(2, 2, 77, 64, torch.Generator().manual_seed(7))
    assert nearest_to_its_edge(raw) < gpu_cases.OFF_THE_EDGE
    inputs = gpu_checks.check_inputs(case, 77, 64)
    assert nearest_to_its_edge(inputs) > 0.9 * gpu_cases.OFF_THE_EDGE
    for name, value in inputs.items():
        assert torch.equal(value, value.bfloat16().double()), name
    assert float(inputs["omega"].std()) == pytest.approx(float(raw["omega"].std()), rel=0.05)


def nearest_to_its_edge(inputs):
    """The least |S²| of all pairs, by the law written down pair by pair, with the order of all tokens and of those so far."""
    omega, theta = inputs["omega"], inputs["theta"]
    phases = torch.polar(torch.ones_like(theta), theta)
    seen = torch.arange(1, theta.shape[2] + 1)[:, None]
    orders = (phases.mean(2, keepdim=True).abs().mean(-1), (phases.cumsum(2) / seen).abs().mean(-1))
    gap = (omega[:, :, :, None] - omega[:, :, None]).norm(dim=-1)
    law = gpu_cases.SSA_LAW
    coupled = torch.exp(-law["alpha"] * gap**2)
    return min(
        float((coupled**2 - (gap / (law["coupling"] * order[..., None])) ** 2).abs().min())
        for order in orders
    )
