"""Kill it, interrupt it, run it twice at once: at most the cells in progress are lost, and the values stay the same."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from command_line import end, family, records, run, start, values, wait_until


@pytest.fixture
def gated(tiny, tmp_path):
    """A suite whose second mechanism waits until `open_gate` is called, and a way to know that it waits."""

    class Gate:
        suite = tiny(
            mechanisms=f"[softmax, {{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}]"
        )
        results = tmp_path / "results"

        def open_gate(self):
            (tmp_path / "open").touch()

        def reached(self):
            return wait_until(lambda: list(tmp_path.glob("reached-*")), "the cell runs")

        def recorded(self, count):
            return wait_until(lambda: len(list(self.results.rglob("*.json"))) == count, f"{count} records")

    return Gate()


@pytest.fixture
def begin(gated, tmp_path):
    """Start a run of the gated suite in a session of its own; what is left of it is killed at the end."""
    begun = []

    def call(*arguments):
        begun.append(start("run", gated.suite, "--results", gated.results, *arguments, cwd=tmp_path))
        return begun[-1]

    yield call
    for process in begun:
        for number in family(process.pid):
            os.kill(number, signal.SIGKILL)
        process.communicate()


def undisturbed(gated, tmp_path):
    """The same suite, run once from beginning to end."""
    gated.open_gate()
    assert run(gated.suite, tmp_path / "undisturbed") == 0
    return records(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda how: how.name
)
def test_interrupted_run_leaves_no_process_and_goes_on_to_the_same_values(gated, begin, tmp_path, how):
    (tmp_path / "with_child").touch()
    process = begin("--jobs", "2")
    gated.reached()
    gated.recorded(1)
    assert len(family(process.pid)) >= 3, "the run, its cell and what the cell has started"
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: to the run and to all of its cells
    else:
        process.send_signal(how)
    code, _, err = end(process)
    assert code == (-how if how is signal.SIGKILL else 130)
    assert "Traceback" not in err
    if how is not signal.SIGKILL:
        assert err.endswith("oscbench: interrupted; the same command goes on where this one stopped\n")
    wait_until(lambda: not family(process.pid), "every process of the run is gone")
    assert [name for name, _, _ in records(gated.results)] == ["softmax"]
    (tmp_path / "with_child").unlink()
    (done,) = gated.results.rglob("*.json")
    before = done.stat().st_mtime_ns
    expected = undisturbed(gated, tmp_path)
    assert run(gated.suite, gated.results) == 0
    assert done.stat().st_mtime_ns == before, "a finished cell is not computed again"
    resumed = records(gated.results)
    assert {key: values(record) for key, record in resumed.items()} == {
        key: values(record) for key, record in expected.items()
    }


@pytest.mark.parametrize("ending", ["goes on", "is killed"])
def test_two_runs_at_once_share_the_work_and_the_living_inherits_from_the_dead(
    gated, begin, tmp_path, ending
):
    other = begin("--only", "mechanism=throwaway_mechanisms:Gated", "--jobs", "1")
    (first,) = gated.reached()
    codes = []
    mine = threading.Thread(target=lambda: codes.append(run(gated.suite, gated.results, jobs=2)))
    mine.start()
    try:
        gated.recorded(1)
        assert codes == [], "the cell that the other run holds is waited for"
        assert list(tmp_path.glob("reached-*")) == [first], "and not computed a second time"
        if ending == "is killed":
            other.kill()
            wait_until(lambda: len(list(tmp_path.glob("reached-*"))) == 2, "this run takes the cell over")
    finally:
        gated.open_gate()
        mine.join()
    code, _, err = end(other)
    assert codes == [0]
    assert len(records(gated.results)) == 2
    assert all(record.status == "ok" for record in records(gated.results).values())
    if ending == "goes on":
        assert (code, "Traceback" in err) == (0, False)
        assert list(tmp_path.glob("reached-*")) == [first]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_ctrl_c_while_things_are_still_loading_is_130_and_no_traceback(tiny, tmp_path, monkeypatch, how):
    reached = tmp_path / "reached"
    monkeypatch.setenv("SLOW_REACHED", str(reached))
    process = start("run", tiny(mechanisms="['throwaway_slow:Slow']"), cwd=tmp_path)
    wait_until(reached.exists, "the import has begun")
    os.killpg(process.pid, how)
    code, out, err = end(process)
    assert (code, out, err) == (130, "", "\noscbench: interrupted\n")
    assert not Path(tmp_path, "results").exists()


def test_ctrl_c_in_the_pool_is_raised_where_nothing_is_half_done_and_a_second_one_at_once():
    from oscbench.runner.interrupt import Interrupt

    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.noted
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_what_is_ignored_from_outside_stays_ignored():
    from oscbench.runner.interrupt import ending_signals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup, where these tests may run too
    try:
        assert ending_signals() == (signal.SIGINT, signal.SIGTERM)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in ending_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
