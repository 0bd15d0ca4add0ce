"""Killed at any step and gone on, the record is the same bit for bit except for times."""

from __future__ import annotations

import json
import re

import pytest
from command_line import breaking_suite, records, run, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oscbench import catalog
from oscbench.records.ledger import is_trial
from oscbench.runner.cell import run_cell
from oscbench.runner.plan import make_plan
from oscbench.runner.training.checkpoint import STOPPED, Checkpoints, prove_usable
from oscbench.runner.training.search import searches
from oscbench.suite import load_suite

STEPS = 21
"""Three epochs of seven batches."""


def complain(text):
    """No word is wanted but that a cell goes on."""
    if not text.startswith("goes on from step "):
        pytest.fail(text)


class KilledError(BaseException):
    """As when a process dies: nothing may catch it."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """One cell a mechanism, with dropout and augmentation on, and its record from a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("suite") / "law.yaml"
    path.write_text(
        "task: {name: digits, shift: 2, fraction: 0.4}\n"
        "model: {width: 16, heads: 2, layers: 2, patch: 4, dropout: 0.2}\n"
        "match: {by: none}\n"
        "train: {epochs: 3, batch_size: 64, warmup: 0.1, weight_decay: 0.1}\n"
        f"mechanisms: [{', '.join(catalog.names('mechanisms'))}]\n"
        "measures: [health, {name: training_dynamics, points: 6}]\nseeds: 1\n"
    )
    cells = {
        cell.spec["mechanism"]["name"]: cell
        for cell in make_plan(load_suite(str(path)), only=[], device="cpu")
    }
    whole: dict[str, object] = {}

    def undisturbed(name):
        if name not in whole:
            whole[name] = said(run_cell(cells[name], lambda done, total: None))
        return cells[name], whole[name]

    return undisturbed


def said(record):
    """All that a record says but for times, as text, so that every bit counts."""
    kept = values(record)
    dumped = record.model_dump(mode="json", include=set(kept))
    dumped["measures"] = {name: dumped["measures"][name] for name in kept["measures"]}
    return json.dumps(dumped, sort_keys=True)


def killed(cell, folder, at, every, steps=STEPS):
    """Run a cell that dies when it has done `at` steps, with a checkpoint after every so many steps."""
    now = 0.0

    def progress(done, total):
        nonlocal now
        assert total == steps
        now = 60.0 * done
        if done == at:
            raise KilledError

    with pytest.raises(KilledError):
        run_cell(cell, progress, Checkpoints(str(folder), cell.identity, every, complain, lambda: now))


def gone_on(cell, folder, tell=complain):
    """The cell's record, and the steps that were done for it."""
    steps = []
    record = run_cell(
        cell, lambda done, _: steps.append(done), Checkpoints(str(folder), cell.identity, 1e9, tell)
    )
    assert record.status == "ok", record.reason
    return record, steps


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(at=st.integers(2, STEPS), every=st.integers(1, 8))
def test_killed_at_any_step_and_gone_on_the_record_is_the_same(planned, tmp_path_factory, name, at, every):
    cell, whole = planned(name)
    folder = tmp_path_factory.mktemp("kept")
    killed(cell, folder, at, every)
    last = (at - 1) // every * every  # killed before the checkpoint of its own step
    record, steps = gone_on(cell, folder)
    assert steps == list(range(last + 1, STEPS + 1)), "and not more was done again than since the checkpoint"
    assert said(record) == whole


def test_a_trial_of_a_search_is_no_exception(tmp_path):
    """A trial sees no test data, which its record must not gain by going on."""
    path = tmp_path / "search.yaml"
    path.write_text(
        "task: {name: digits, shift: 2, fraction: 0.4}\n"
        "model: {width: 16, heads: 2, layers: 2, patch: 4, dropout: 0.2}\n"
        "match: {by: none}\n"
        "train: {epochs: 3, batch_size: 64, warmup: 0.1, weight_decay: 0.1}\n"
        "mechanisms: [softmax, kope]\nseeds: 1\n"
        "tune: {trials: 2, seeds: 2, steps: 14, extend: 0, space: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}\n"
    )
    loaded = load_suite(str(path))
    for one in searches(loaded.suite, loaded.source, make_plan(loaded, only=[], device="cpu")):
        for cell in one.ask():
            whole = run_cell(cell, lambda done, total: None)
            assert is_trial(whole.suite)
            killed(cell, tmp_path / "kept", 11, 4, steps=14)
            record, steps = gone_on(cell, tmp_path / "kept")
            assert steps == [9, 10, 11, 12, 13, 14]
            assert said(record) == said(whole)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A cell of a student with a slow teacher, smaller views and a weight decay that moves, and its undisturbed record."""
    path = tmp_path_factory.mktemp("suite") / "taught.yaml"
    path.write_text(
        "task: {name: self_supervised, objective: coding_rate, labelled: 200, teacher: 0.9, local_views: 1, local_size: 4}\n"
        "model: {width: 16, heads: 2, layers: 2, patch: 4, dropout: 0.2, head_width: 16, embedding: 8}\n"
        "match: {by: none}\n"
        "train: {epochs: 3, batch_size: 150, learning_rate: 0.003, weight_decay: 0.1, final_weight_decay: 0.9, layer_decay: 0.8}\n"
        "mechanisms: [{name: kope, settings: {coupling_rate: 0.5}}]\n"
        "measures: [health, flops]\nseeds: 1\n"
    )
    (cell,) = make_plan(load_suite(str(path)), only=[], device="cpu")
    return cell, run_cell(cell, lambda done, total: None)


@pytest.mark.parametrize(("at", "every"), [(3, 1), (8, 5), (21, 4)])
def test_a_slow_teacher_and_a_moving_weight_decay_are_no_exception(taught, tmp_path, at, every):
    cell, whole = taught
    assert whole.status == "ok", whole.reason
    killed(cell, tmp_path, at, every)
    record, steps = gone_on(cell, tmp_path)
    assert steps == list(range((at - 1) // every * every + 1, STEPS + 1))
    assert said(record) == said(whole)


def test_the_weights_that_are_kept_are_the_teachers(taught):
    """What is left of a training is what was evaluated."""
    from oscbench.runner.training.specs import parts_of

    cell, whole = taught
    left = []
    again = run_cell(cell, lambda done, total: None, keep=left.append)
    assert said(again) == said(whole)
    (model,) = left
    for parameter, average in model.teacher.pairs(model):
        assert parameter.equal(average)
    parts = parts_of(cell.spec)
    task = parts.task_class.for_seed(parts.task_config, 0)
    found = task.evaluate(model, "test", next(model.parameters()).device)
    assert found["knn_accuracy"].value == whole.measures["knn_accuracy"].value


@pytest.mark.parametrize("at", [7, 8, 14, 15, 20, 21])
def test_the_ends_of_epochs_and_of_training_are_no_exception(planned, tmp_path, at):
    cell, whole = planned("softmax")
    killed(cell, tmp_path, at, 1)
    record, _ = gone_on(cell, tmp_path)
    assert said(record) == whole


def test_killed_again_and_again(planned, tmp_path):
    cell, whole = planned("kope")
    for at in (3, 7, 8, 13, 21):
        killed(cell, tmp_path, at, 1)
    record, steps = gone_on(cell, tmp_path)
    assert steps == [21]
    assert said(record) == whole


def test_a_cell_that_goes_on_says_so_and_counts_what_it_took_before(planned, tmp_path):
    cell, _ = planned("softmax")
    now = [0.0]
    first = Checkpoints(str(tmp_path), cell.identity, 1e9, pytest.fail, lambda: now[0])
    for took, done in ((100.0, 5), (50.0, 9)):
        now[0] += took
        first.save({"place": [done, 0, 0]})
        lines = []
        later = Checkpoints(str(tmp_path), cell.identity, 1e9, lines.append, lambda: now[0])
        assert later.load() == {"place": [done, 0, 0]}
        assert lines == [f"goes on from step {done}, where its checkpoint was made"]
        first = later
    assert later.before == 150.0
    record = run_cell(cell, lambda done, total: None, Before())
    assert record.seconds > 1000.0


class Before(Checkpoints):
    """As if an earlier process had spent a thousand seconds."""

    def __init__(self):
        super().__init__("memory://none", "none", 1e9, complain)

    def load(self):
        self.before = 1000.0


def test_asked_to_stop_it_ends_after_the_step_in_progress_and_goes_on_there(planned, tmp_path):
    cell, whole = planned("rope")
    checkpoints = Checkpoints(str(tmp_path), cell.identity, 1e9, complain)
    with pytest.raises(SystemExit) as stopped:
        run_cell(cell, lambda done, total: checkpoints.stop() if done == 10 else None, checkpoints)
    assert stopped.value.code == STOPPED
    record, steps = gone_on(cell, tmp_path)
    assert steps[0] == 11
    assert said(record) == whole


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda whole: whole[:-100], "is torn"),
        (lambda whole: whole[:50] + b"x" + whole[51:], "is no checkpoint|another version|is torn"),
        (lambda whole: b"", "is no checkpoint"),
        (lambda whole: b"[1]\n" + whole, "is no checkpoint"),
        (
            lambda whole: whole.replace(b'"format": 2', b'"format": 9', 1),
            r"another version \(format 9, here 2\)",
        ),
        (
            lambda whole: re.sub(rb'"data": "[^"]+"', b'"data": "other"', whole, count=1),
            r"another version \(data other, here \w+\)",
        ),
    ],
)
def test_a_torn_or_foreign_checkpoint_is_set_aside_and_named_and_the_cell_begins_anew(
    planned, tmp_path, damage, told
):
    cell, whole = planned("softmax")
    killed(cell, tmp_path, 10, 3)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    lines = []
    record, steps = gone_on(cell, tmp_path, lines.append)
    assert steps[0] == 1
    assert said(record) == whole
    (line,) = lines
    assert re.search(told, line)
    assert "begins anew" in line
    assert [one.name for one in tmp_path.iterdir()] == [f"{cell.identity}.checkpoint.set_aside"]


@pytest.mark.parametrize("place", ["memory://bucket/cells", "{folder}/a::b", "file://{folder}/new/folders"])
def test_a_checkpoint_may_lie_wherever_fsspec_reaches(planned, tmp_path, place):
    cell, whole = planned("softmax")
    place = place.format(folder=tmp_path)
    prove_usable(place)
    killed(cell, place, 10, 3)
    record, steps = gone_on(cell, place)
    assert steps[0] == 10
    assert said(record) == whole


def test_a_checkpoint_that_cannot_be_written_costs_no_training(planned, tmp_path):
    cell, whole = planned("softmax")
    (tmp_path / "file").write_text("in the way")
    lines = []
    record = run_cell(
        cell, lambda done, total: None, Checkpoints(str(tmp_path / "file"), cell.identity, 0, lines.append)
    )
    assert said(record) == whole
    assert "cannot be" in lines[0]


@pytest.mark.parametrize("memory", [False, True], ids=["a mistake", "out of memory"])
def test_a_measure_that_breaks_does_not_cost_the_training(tmp_path, capfd, memory):
    slip, results = tmp_path / "slip", tmp_path / "results"
    slip.touch()
    suite = breaking_suite(tmp_path, slip, memory=memory)
    for goes_on in (False, True):
        assert run(suite, results) == 1
        broken = records(results)["softmax", "default", 0]
        told = "a slip of mine" if memory else "ValueError: a slip of mine (throwaway_parts.py:"
        assert broken.status == ("oom" if memory else "failed")
        assert broken.reason.startswith(told)
        assert ("goes on from step 21" in capfd.readouterr().err) == goes_on
    slip.unlink()
    assert run(suite, results) == 0
    assert "goes on from step 21" in capfd.readouterr().err
    mended = records(results)["softmax", "default", 0]
    assert not list((results / ".checkpoints").rglob("*.checkpoint"))
    assert run(suite, tmp_path / "whole") == 0
    whole = records(tmp_path / "whole")["softmax", "default", 0]
    assert said(mended) == said(whole)
