"""What a terminal gets: tables that fit, help with examples, the ranking at the end, and one line for a mistake in a command."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from command_line import environment

import oscbench as package
from oscbench.runner.terminal.estimate import Estimate
from oscbench.runner.terminal.summary import next_command, ranking
from oscbench.terminal import Unfailing, outcome, print_table


@pytest.mark.parametrize("kind", ["mechanisms", "tasks", "measures", "suites", "backends"])
def test_lists_fit_a_hundred_columns(oscbench, monkeypatch, kind):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = oscbench("list", kind).out.splitlines()
    assert len(lines) > 5
    assert max(map(len, lines)) <= 100


def test_what_fits_is_not_wrapped_and_words_are_not_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    print_table([{"name": "a" * 60, "what": "words " * 30}])
    lines = capsys.readouterr().out.splitlines()
    assert "a" * 60 in lines[2]
    assert max(map(len, lines)) <= 100
    monkeypatch.setenv("COLUMNS", "400")
    print_table([{"name": "a" * 60, "what": "words " * 30}])
    assert len(capsys.readouterr().out.splitlines()) == 3
    print_table([])


@pytest.mark.parametrize("command", ["run", "report", "export", "list", "data", "validate", "compare"])
def test_help_shows_examples(oscbench, command):
    for option in ("-h", "--help"):
        ended = oscbench(command, option)
        assert ended.code == 0
        assert "Examples:" in ended.out
        assert f"    oscbench {command}" in ended.out


def test_examples_name_tasks_and_settings_that_there_are(oscbench):
    from oscbench import catalog

    shown = [line.split() for line in oscbench("evaluate", "--help").out.splitlines() if "--task " in line]
    words = [line for line in shown if line[:2] == ["oscbench", "evaluate"]]
    assert words
    for line in words:
        task = catalog.load("tasks", line[line.index("--task") + 1])
        given = (line[i + 1].split("=") for i, word in enumerate(line) if word == "--set")
        task.Config.model_validate({key: int(value) if value.isdigit() else value for key, value in given})


def test_version_and_no_command_at_all(oscbench):
    assert oscbench("--version").out == f"oscbench {package.__version__}\n"
    alone = oscbench()
    assert (alone.code, alone.err) == (0, "")
    assert "oscbench run smoke" in alone.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["list", "mechanism"], 'list: got "mechanism"; allowed: mechanisms, tasks, measures, suites, backends; did'),
        (["export", "--format", "cvs"], 'export: --format: got "cvs"; allowed: csv, json, parquet; did you mean "csv"?'),
        (["report", "--format", ""], '--format: got ""; give at least one, as in html'),
        (["run", "smoke", "--jobs", "10000"], "1024"),
        (["run", "smoke", "--jobs", "0"], 'run: --jobs: got "0"; input should be greater than or equal to 1'),
        (["run", "smoke", "--jobs", "many"], 'run: --jobs: got "many"; input should be a valid integer'),
        (["list", "x"], 'list: got "x"; allowed: mechanisms, tasks, measures, suites, backends\n'),
        (["report", "--format", "pdf"], '--format: got "pdf"; allowed: html, latex, md\n'),
        (["data"], "data: missing argument 'action'. Choose from: list, verify, add"),
        (["report", "--target", "-1"], "--target"),
        (["run", "smoke", "--results", ""], '--results: got ""; give a path; . is this folder'),
        (["run", "smoke", "--checkpoints", ""], '--checkpoints: got ""; give a folder or a URL'),
        (["report", "--output", ""], '--output: got ""; give a path'),
        (["export", "--output", ""], '--output: got ""; give a path'),
        (["pack", "smoke", "--output", ""], '--output: got ""; give a path'),
        (["unpack", ""], 'FILE: got ""; give a path'),
        (["compare", "", ""], 'OLD: got ""; give a path'),
        (["compare", ".", ""], 'NEW: got ""; give a path'),
        (["data", "add", "wikitext2", "--from", ""], '--from: got ""; give a path'),
        (["new", "mechanism", "mine", "--to", ""], '--to: got ""; give a path'),
        (["evaluate", "3f", "--task", ""], '--task: got ""; give the name of one'),
        (["generate", "3f", "--seed", "99999999999999999999999"], "--seed"),
        (["generate", "3f", "--temperature", "inf"], "--temperature: got inf; give a number"),
        (["data", "list", "--from", "."], "data list: --from belongs to data add"),
        (["data", "verify", "--link"], "data verify: --link belongs to data add"),
        (["run"], "missing argument"),
        (["rnu"], 'no command "rnu"; did you mean "run"?'),
        (["run", "smoke", "--frehs"], "no such option"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_command_is_one_line_in_our_words(oscbench, arguments, expected):
    ended = oscbench(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("oscbench: ")
    assert ended.err.count("\n") == 1
    assert expected in ended.err


@pytest.mark.parametrize("way", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--keep", "weihgts"], '--keep: got "weihgts"; did you mean "weights"?'),
        (["--locks", "flok"], '--locks: got "flok"; did you mean "flock"?'),
        (["--executor", "rey"], '--executor: got "rey"; did you mean "ray"?'),
        (["--log", "tensorbord"], '--log: got "tensorbord"; did you mean "tensorboard"?'),
        (["--results", "here.txt"], "here.txt: results folder cannot be written (it is a file)"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(oscbench, tmp_path, option, expected, way):
    (tmp_path / "here.txt").touch()
    ended = oscbench("run", "smoke", *option, *way)
    assert (ended.code, ended.out, ended.err) == (2, "", f"oscbench: {expected}\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("seeds=true", "seeds: got True; seeds are how many, as in 5, a list"),
        ("seeds=[true]", "seeds: got [True]; seeds are how many"),
        ("seeds=[]", "seeds: got []; at least 1 must be given"),
        ("mechanisms=[]", "mechanisms: got []; at least 1 must be given"),
        ("train.final_learning_rate=5", "train: final_learning_rate 5.0 is more than learning_rate 0.002\n"),
    ],
)
def test_a_mistake_in_a_suite_is_told_in_our_words(oscbench, change, expected):
    ended = oscbench("run", "smoke", "--set", change, "--dry-run")
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("95", "--target 95: test accuracy is a fraction, at most 1; 95 % is 0.95"),
        ("nan", "--target"),
        ("inf", "--target inf: a level is a number of at least 0"),
    ],
)
def test_a_target_that_nothing_can_reach_is_refused(oscbench, finished, target, expected):
    ended = oscbench("report", "--results", finished, "--target", target)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err


def test_a_report_ends_in_three_lines_with_the_answer(oscbench, finished, tmp_path):
    ended = oscbench(
        "report", "--results", finished, "--output", tmp_path / "page", "--compare", "kope,softmax"
    )
    assert (ended.code, ended.err) == (0, "")
    answer, careful, path = ended.out.splitlines()
    assert answer.startswith("Against softmax, ")
    assert "KoPE" in answer
    assert careful.startswith("4 cells, 2 entries, records of 20")
    assert path == str(tmp_path / "page" / "index.html")
    alone = oscbench("report", "--results", finished, "--output", tmp_path / "page")
    assert alone.out.splitlines()[0].startswith("Against softmax, "), (
        "by the reference that models were matched to"
    )


def test_suites_complete(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from oscbench.cli import main; main()"],
        env=environment()
        | {
            "_OSCBENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "oscbench run smo",
            "COMP_CWORD": "2",
            "_TYPER_COMPLETE_ARGS": "oscbench run smo",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "smoke" in done.stdout.split(), done


def test_a_run_ends_with_the_ranking_and_the_next_command(oscbench, finished, tmp_path):
    ended = oscbench("run", finished.parent / "tiny.yaml", "--results", finished)
    assert ended.code == 0
    lines = ended.err.splitlines()
    assert lines[-1] == f"next: oscbench report tiny --results {finished}"
    table = [line.split() for line in lines if line.startswith(("softmax", "kope"))]
    scores = [float(row[1]) for row in table]
    assert len(table) == 2
    assert scores == sorted(scores, reverse=True)
    assert all(row[5:8] == ["2", "of", "2"] for row in table)
    assert next_command(["a b", "a b"], tmp_path.__class__("results")) == "oscbench report 'a b'"


def test_the_ranking_says_who_did_not_finish_and_follows_the_direction(finished):
    from oscbench.records import Store

    records, _ = Store(finished).read_all()
    metric = records[0].metric

    def scored(record, value):
        measured = record.measures[metric].model_copy(update={"value": value, "direction": "lower"})
        return record.model_copy(update={"measures": {metric: measured}})

    values = {"softmax": 0.5, "kope": 0.2}
    lower = [scored(record, values[record.mechanism]) for record in records]
    assert [row["mechanism"] for row in ranking(lower)] == ["kope", "softmax"]
    lost = [r if r.mechanism == "softmax" else r.model_copy(update={"measures": {}}) for r in lower]
    (first, last) = ranking(lost)
    assert (first["mechanism"], last["mechanism"], last["seeds"]) == ("softmax", "kope", "0 of 2")
    failed = [r if r.mechanism == "softmax" else r.model_copy(update={"status": "failed"}) for r in lower]
    assert [row["seeds"] for row in ranking(failed)] == ["2 of 2", "0 of 2"], "as in a report"
    assert ranking([record.model_copy(update={"measures": {}}) for record in records]) == []


def test_fresh_dry_run_counts_what_would_be_computed_again(oscbench, finished):
    suite = finished.parent / "tiny.yaml"
    assert "0 of 4 cells to run" in oscbench("run", suite, "--results", finished, "--dry-run").out
    again = oscbench("run", suite, "--results", finished, "--dry-run", "--fresh")
    assert "4 of 4 cells to run" in again.out
    assert not (finished / ".nothing").exists()


def test_a_model_that_no_machine_holds_is_no_traceback_in_a_dry_run(oscbench, tiny):
    ended = oscbench("run", tiny(), "--dry-run", "--set", "model.width=1000000")
    assert ended.code == 1, "as a run would end"
    assert "needs" in ended.out
    assert "GiB" in ended.out
    assert "; 2 of them cannot run here, for the reason that stands in the table\n" in ended.out


def test_a_training_without_end_and_a_batch_beyond_the_data_are_warned_of(oscbench, tiny, tmp_path):
    said = oscbench("run", tiny(train="{steps: 1, batch_size: 100000}", mechanisms="[softmax]"))
    assert said.code == 0
    assert "batches of 100,000 are larger than the data: every step sees all" in said.err
    ended = oscbench("run", tiny(train="{epochs: 1000000000}"), "--dry-run")
    assert "train.epochs: 1,000,000,000 are a great many; is that meant?" in ended.err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused (ConnectionRefusedError)"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe (BrokenPipeError)"),
        (PermissionError(13, "Permission denied", "/a/file"), "/a/file: Permission denied"),
        (OSError(28, "No space left on device", "/a/file"), "/a/file: cannot be written (No space left on device)"),
    ],
)  # fmt: skip
def test_only_what_standard_output_refuses_is_told_as_its_error(capsys, error, told):
    def command(**_):
        raise error

    assert outcome(command) == 2
    assert capsys.readouterr().err == f"oscbench: {told}\n"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def planned(finished):
    from oscbench.runner.plan import make_plan
    from oscbench.suite import load_suite

    return make_plan(load_suite(str(finished.parent / "tiny.yaml")), only=[], device="cpu")


def test_the_time_left_is_learnt_from_steps_and_from_cells_that_ended(planned):
    clock = Clock()
    left = Estimate(len(planned), planned, jobs=1, clock=clock)
    fast, slow, fast_again, slow_again = planned
    assert left.left() is None
    left.started(fast)
    assert left.left() is None
    clock.now = 1.0
    left.progress(fast, 1, 10)
    assert left.left() == pytest.approx(9 + 3 * 10), "a tenth took a second"
    clock.now = 10.0
    left.finished(fast, 10.0)
    left.started(slow)
    clock.now = 20.0
    left.progress(slow, 1, 10)
    assert left.left() == pytest.approx(90 + 10 + 100), "the other mechanism takes a hundred"
    left.finished(slow, 100.0)
    left.finished(fast_again, None)
    assert left.left() == pytest.approx(100.0)
    left.finished(slow_again, 100.0)
    assert left.left() == 0.0


def test_cells_at_once_share_the_time_left_and_unknown_ones_take_the_usual(planned):
    left = Estimate(7, (), jobs=2, clock=Clock())
    left.started(planned[0])
    left.finished(planned[0], 10.0)
    assert left.left() == pytest.approx(30.0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")  # noqa: PTH110
def test_a_stream_on_a_full_disk_ends_nothing():
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        stream = Unfailing(full)
        for _ in range(3):
            assert stream.write("lost") == 4
            stream.flush()
        assert not stream.isatty()


def test_what_nobody_foresaw_is_a_line_with_its_place(monkeypatch, capfd):
    def breaks(**_):
        raise ZeroDivisionError("a plug-in's\nown")

    assert outcome(breaks) == 2
    assert re.fullmatch(
        r"oscbench: ZeroDivisionError: a plug-in's \(test_terminal.py:\d+\); a mistake of ours or of a plug-in, "
        r"which OSCBENCH_TRACEBACK=1 shows whole\n",
        capfd.readouterr().err,
    )
    monkeypatch.setenv("OSCBENCH_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        outcome(breaks)


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_ends_nothing(closed):
    command = f"'{sys.executable}' -m oscbench.cli list suites {closed}"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
