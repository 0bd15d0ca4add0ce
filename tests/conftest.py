"""A tiny suite, the command line in this process, and a run of the tiny suite that tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import TINY

os.environ["OSCBENCH_ALLOW_IMPORTS"] = "1"  # throwaway mechanisms of tests are modules of their own


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What a test captured, as text that a worker of pytest-xdist can send: a path that is no text may stand in it."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def process_as_it_was():
    """Cells prepare the process that they run in; other tests share it, and get its settings back."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True
        torch.set_float32_matmul_precision("highest")
        if threads and threads != torch.get_num_threads():
            torch.set_num_threads(threads)


@pytest.fixture
def tiny(tmp_path):
    """Write the tiny suite, with lines of one's own instead of its mechanisms or recipe."""

    def write(name="tiny", **changes):
        path = tmp_path / f"{name}.yaml"
        path.write_text("\n".join(f"{key}: {value}" for key, value in (TINY | changes).items() if value))
        return path

    return write


@pytest.fixture
def oscbench(monkeypatch, capfd, tmp_path):
    """The command line without a new process: loading torch for each of many mistakes would take minutes."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments):
        from oscbench.cli import main

        monkeypatch.setattr(sys, "argv", ["oscbench", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(ended.value.code or 0, out, err)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A results folder that holds the tiny suite with two seeds; read it, do not change it."""
    from oscbench.runner.session import run_suite

    folder = tmp_path_factory.mktemp("finished")
    suite = folder / "tiny.yaml"
    suite.write_text("\n".join(f"{key}: {value}" for key, value in (TINY | {"seeds": 2}).items()))
    assert run_suite(str(suite), results=folder / "results", only=[], overrides=[], jobs=2) == 0
    return Path(folder / "results")
