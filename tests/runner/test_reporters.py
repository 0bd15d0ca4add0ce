"""What a run tells: its progress on the terminal, and every record to services that keep it; none can end a run."""

from __future__ import annotations

import importlib.util
import io
import sqlite3
import subprocess
import sys

import pytest
from command_line import environment, records, run
from synthetic_records import make_record

from oscbench import catalog
from oscbench.errors import UserError
from oscbench.runner.reporters import RecordReporters, curves_of, name_of, results_of, settings_of
from oscbench.runner.terminal import progress

SERVICES = ("wandb", "trackio", "mlflow")


def test_every_file_of_the_folder_is_a_reporter():
    assert {"tensorboard", *SERVICES} <= set(catalog.names("reporters"))


def test_what_is_told_is_what_the_record_says():
    record = make_record("wave", 3)
    assert name_of(record) == f"wave-default-seed3-{record.identity[:8]}"
    settings = settings_of(record)
    assert settings["train.epochs"] == 3
    assert settings["mechanism.name"] == "wave"
    assert results_of(record)["accuracy"] == record.measures["accuracy"].value
    assert "energy" not in results_of(record), "what was not measured is no number"
    steps = curves_of(record)
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert steps[-1][1]["validation_accuracy"] == record.curves["validation_accuracy"].y[-1]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="pip install 'oscbench[tensorboard]'"
)
def test_tensorboard_reads_back_curves_and_measures_of_a_run(tiny, tmp_path):
    results = tmp_path / "results"
    assert (
        run(tiny(mechanisms="[softmax]", train="{epochs: 2, batch_size: 256}"), results, log=["tensorboard"])
        == 0
    )
    (record,) = records(results).values()
    folder = results / ".reporters" / "tensorboard" / "tiny" / name_of(record)
    # TensorBoard warns of its own past as it is imported, which is an error among tests.
    script = (
        "import sys\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "found = EventAccumulator(sys.argv[1]).Reload()\n"
        "for tag in found.Tags()['scalars']:\n"
        "    print(tag, [(event.step, event.value) for event in found.Scalars(tag)], sep='\\t')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    told = {
        tag: eval(points) for tag, _, points in (line.partition("\t") for line in done.stdout.splitlines())
    }
    curve = record.curves["validation_accuracy"]
    assert told["validation_accuracy"] == [
        (round(x), pytest.approx(y)) for x, y in zip(curve.x, curve.y, strict=True)
    ]
    assert told["measures/accuracy"][0][1] == pytest.approx(record.measures["accuracy"].value)
    assert len(records(results)) == 1, "what reporters keep is no record"
    before = sorted(folder.iterdir())
    assert (
        run(tiny(mechanisms="[softmax]", train="{epochs: 2, batch_size: 256}"), results, log=["tensorboard"])
        == 0
    )
    assert sorted(folder.iterdir()) == before, "what is there already is not told again"


def test_an_unknown_reporter_and_a_missing_package_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match='--log: got "tensorbord"; did you mean "tensorboard"'):
        RecordReporters(["tensorbord"], tmp_path, print)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="--log wandb: needs the package wandb: pip install wandb"):
        RecordReporters(["wandb"], tmp_path, print)


def test_a_reporter_that_fails_is_told_nothing_more_and_costs_a_line(tmp_path):
    class Fails:
        package, asked = "fails", 0

        def told(self, record):
            self.asked += 1
            raise ConnectionError("no such host")

        def close(self):
            raise AssertionError

    said: list[str] = []
    reporters = RecordReporters([], tmp_path, said.append)
    reporters.running["fails"] = failing = Fails()
    reporters.told(make_record())
    reporters.told(make_record())
    reporters.close()
    assert failing.asked == 1
    assert said == ["--log fails: ConnectionError: no such host; it is told nothing more"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_keeps_what_it_was_told_offline(name, tmp_path):
    """In a process of its own, as these packages warn, start threads and change what is global."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; tox -e loggers has it")
    code = (
        "import sys; from pathlib import Path\n"
        "from synthetic_records import make_record\n"
        "from oscbench.runner.reporters import RecordReporters\n"
        "told = RecordReporters([sys.argv[1]], Path(sys.argv[2]), lambda line: sys.exit(line))\n"
        "told.told(make_record('wave', 3, value=0.875)); told.close()\n"
    )
    offline = {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(tmp_path)],
        env=environment() | offline | {"HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    CHECKS[name](tmp_path)


def _wandb_kept(folder):
    (kept,) = folder.rglob("run-*.wandb")
    content = kept.read_bytes()
    assert b"wave-default-seed3" in content
    assert b"validation_accuracy" in content
    assert b"0.875" in content


def _trackio_kept(folder):
    content = b"".join(path.read_bytes() for path in (folder / "trackio").rglob("*") if path.is_file())
    assert b"wave-default-seed3" in content
    assert b"0.875" in content


def _mlflow_kept(folder):
    with sqlite3.connect(folder / ".reporters" / "mlflow" / "mlflow.db") as database:
        metrics = dict(database.execute("select key, value from latest_metrics").fetchall())
        steps = database.execute("select count(*) from metrics where key = 'train_loss'").fetchone()[0]
        epochs = database.execute("select value from params where key = 'train.epochs'").fetchone()[0]
    assert metrics["accuracy"] == 0.875
    assert steps == 40
    assert epochs == "3"


CHECKS = {"wandb": _wandb_kept, "trackio": _trackio_kept, "mlflow": _mlflow_kept}


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
