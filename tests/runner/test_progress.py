"""Bars with the time that is left on a terminal, whole lines otherwise."""

from __future__ import annotations

import io
import sys

import pytest

from oscbench.runner import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def cells(finished):
    from oscbench.records import Store
    from oscbench.runner.plan import make_plan
    from oscbench.suite import load_suite

    planned = make_plan(load_suite(str(finished.parent / "tiny.yaml")), only=[], device="cpu")
    store = Store(finished)
    return [(cell, store.find(cell.suite, cell.identity)) for cell in planned]


def test_terminal_gets_a_bar_for_the_suite_and_one_for_each_cell_with_the_time_left(cells, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "REFRESH_S", 0.0)
    told = progress.reporter("tiny", len(cells))
    with told:
        (reused, record), (first, other), (second, third), _ = cells
        told.finished(reused, record, reused=True)
        told.started(first)
        told.started(second)
        assert {-bar.pos for bar in told.cells.values()} == {1, 2}
        for done in range(1, 10):
            told.progress(first, done, 9)
            told.progress(second, done, 9)
        assert " 9/9 [" in str(told.cells[first.identity])
        assert "<" in str(told.cells[first.identity]), "the time left"
        assert "2.0/3 cells [" in str(told.suite), "cells in progress count in part"
        told.finished(first, other, reused=False)
        told.started(cells[3][0])
        assert {-bar.pos for bar in told.cells.values()} == {1, 2}, "a freed line is used again"
        told.finished(second, third.model_copy(update={"status": "failed", "reason": "why"}), reused=False)
        assert (told.suite.n, told.suite.total) == (2, 3), "what was there says nothing about the time left"
    text = terminal.getvalue()
    assert f"  {first.name}: " in text
    assert "tiny: " in text
    assert f"{second.name}: failed: why" in text


def test_pipe_gets_a_line_for_each_cell(cells, capsys):
    told = progress.reporter("tiny", len(cells))
    with told:
        for index, (cell, record) in enumerate(cells):
            told.started(cell)
            told.progress(cell, 1, 9)
            told.finished(cell, record, reused=index == 0)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "tiny: 4 cells"
    assert len(lines) == 5
    assert lines[1].startswith("[1/4] softmax seed 0: accuracy ")
    assert lines[1].endswith("(already there)")
    assert lines[4].endswith("0:00:00 left)")
