"""Cells that train on several devices: the curve of one device, the law of checkpoints, and one record whatever breaks."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch
from command_line import PATIENCE_S, end, family, records, run, start, values, wait_until
from device_processes import trained

from oscbench import catalog
from oscbench.machine.environment import cores
from oscbench.records import Store
from oscbench.runner.cell_spec import Keeping
from oscbench.runner.executors import Died, Job, Machine, Place, Recorded, _child, local
from oscbench.runner.executors._child import Child, listen, modules
from oscbench.runner.placement import Placement, needs_of
from oscbench.runner.plan import make_plan
from oscbench.runner.training.weights import load_trained
from oscbench.suite import load_suite

TASKS = {
    # Seven batches an epoch, the last of 34.
    "digits": {
        "task": "{name: digits, shift: 2, fraction: 0.4}",
        "model": "{width: 16, heads: 2, layers: 2, patch: 4}",
        "train": "{steps: 10, batch_size: 64}",
        "mechanisms": f"[{', '.join(catalog.names('mechanisms'))}]",
    },
    # A mean over queries, of which examples have unlike numbers; the last batch is one example, which a process goes without.
    "recall": {
        "task": "{name: recall, num_pairs: [2, 8], length: 32, train_examples: 65, validation_examples: 32, test_examples: 32}",
        "model": "{width: 16, heads: 2, layers: 1}",
        "train": "{steps: 9, batch_size: 16}",
        "mechanisms": "[softmax]",
    },
    # All pairs of a batch.
    "captions": {
        "task": "{name: captions, images_per_meaning: 1, validation_images: 1, test_images: 1, single_digits: 10}",
        "model": "{width: 16, heads: 2, layers: 1, patch: 8}",
        "train": "{steps: 4, batch_size: 31}",
        "mechanisms": "[softmax]",
    },
}


@pytest.fixture
def planned(tmp_path):
    """Cells of a suite in YAML, changed by `--set`."""

    def cells(parts, *overrides):
        path = tmp_path / "suite.yaml"
        suite = {"match": "{by: none}", "measures": "[]", "seeds": 1, "floors": "false"} | parts
        path.write_text("\n".join(f"{key}: {value}" for key, value in suite.items()))
        return make_plan(load_suite(str(path), list(overrides)), only=[], device="cpu")

    return cells


@pytest.mark.parametrize("name", TASKS)
def test_two_processes_give_the_curve_of_one(planned, name):
    alone = trained(planned(TASKS[name]))
    shared = trained(planned(TASKS[name], "train.devices=2"))
    assert len(alone) == len(shared) > 0
    for one, two in zip(alone, shared, strict=True):
        assert (one.status, two.status) == ("ok", "ok"), two.reason
        assert one.mechanism == two.mechanism
        (losses,) = (key for key in one.curves if key == "train_loss")
        assert two.curves[losses].x == one.curves[losses].x
        assert two.curves[losses].y == pytest.approx(one.curves[losses].y, abs=1e-6), one.mechanism
        assert one.data_hash == two.data_hash
        assert one.identity != two.identity
        assert one.protocol != two.protocol, "part of what a fair comparison shares"


@pytest.mark.parametrize(("devices", "at", "every"), [(2, 9, 4), (2, 14, 7), (3, 12, 5)])
def test_killed_at_any_step_and_gone_on_the_record_is_the_same(planned, tmp_path, devices, at, every):
    drawing = TASKS["digits"] | {
        "model": "{width: 16, heads: 2, layers: 2, patch: 4, dropout: 0.2}",
        "train": f"{{epochs: 3, batch_size: 64, devices: {devices}}}",
        "mechanisms": "[{name: akorn, settings: {start: noise, redraw: true}}]",
    }
    cells = planned(drawing)
    (whole,) = trained(cells)
    assert whole.status == "ok", whole.reason
    (again,) = trained(cells)
    assert said(again) == said(whole), "whoever comes first"
    assert trained(cells, tmp_path / "kept", every=every, killed_at=at) == []
    assert [one.name for one in (tmp_path / "kept").iterdir()] == [f"{cells[0].identity}.checkpoint"]
    (gone_on,) = trained(cells, tmp_path / "kept", every=every)
    assert said(gone_on) == said(whole)


def said(record):
    """All that a record says but for times, as text, so that every bit counts."""
    kept = values(record)
    dumped = record.model_dump(mode="json", include=set(kept))
    dumped["measures"] = {name: dumped["measures"][name] for name in kept["measures"]}
    return json.dumps(dumped, sort_keys=True)


GATED = {
    "task": "digits",
    "model": "{width: 16, heads: 2, layers: 1, patch: 4, dropout: 0.1}",
    "train": "{steps: 5, batch_size: 128, devices: 2}",
}


@pytest.fixture
def gated(planned, tmp_path):
    """A cell of two processes, which wait in their first step until `open` is there, and how it is started and followed to its end."""

    class Gate:
        (cell,) = planned(
            GATED
            | {"mechanisms": f"[{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}]"}
        )
        suite = tmp_path / "suite.yaml"

        def open(self):
            (tmp_path / "open").touch()

        def begin(self, checkpoints=None):
            job = Job(1, self.cell, Place("here", 2))
            child = Child(job, Keeping(checkpoints=checkpoints, minutes=1e9), modules(self.cell))
            begun.append(child)
            return child

        def reached(self, count):
            wait_until(lambda: len(list(tmp_path.glob("reached-*"))) >= count, f"{count} processes train")

    begun = []
    yield Gate()
    for child in begun:
        child.kill()


def followed(child):
    """All that a child says, to its end."""
    events, limit = [], time.monotonic() + PATIENCE_S
    while not child.ended:
        assert time.monotonic() < limit
        listen([child], 0.3)
        events += child.events()
    return events


def pids(child):
    return [one.process.pid for one in (child._first, *child._others)]


def gone(*numbers):
    def none_lives():
        return not any(
            psutil.pid_exists(one) and psutil.Process(one).status() != psutil.STATUS_ZOMBIE for one in numbers
        )

    wait_until(none_lives, "its processes are gone")


@pytest.mark.parametrize("number", [0, 1])
def test_the_death_of_one_process_ends_the_cell_and_is_told_as_what_it_was(gated, number):
    child = gated.begin()
    gated.reached(2)
    both, folder = pids(child), child._folder.name
    os.kill(both[number], signal.SIGKILL)
    assert followed(child) == [
        Died(1, f"process {number} of 2 was killed by signal 9 (SIGKILL) before it left a record")
    ]
    gone(*both)
    assert not Path(folder).exists(), "nor is the place left where they met"


@pytest.mark.parametrize("number", [0, 1])
def test_sigterm_to_one_process_ends_the_cell_with_a_checkpoint(gated, tmp_path, number):
    (tmp_path / "open").touch()
    (whole,) = [event.record for event in followed(gated.begin()) if isinstance(event, Recorded)]
    (tmp_path / "open").unlink()
    child = gated.begin(str(tmp_path / "kept"))
    gated.reached(4)
    both = pids(child)
    os.kill(both[number], signal.SIGTERM)
    gated.open()
    (death,) = [event for event in followed(child) if isinstance(event, Died)]
    assert death.reason == "process 0 of 2 ended with code 143 before it left a record"
    gone(*both)
    assert list((tmp_path / "kept").glob(f"*/{gated.cell.identity}.checkpoint"))
    (record,) = [
        event.record for event in followed(gated.begin(str(tmp_path / "kept"))) if isinstance(event, Recorded)
    ]
    assert len(json.loads(record)["curves"]["train_loss"]["y"]) == 5
    for one in (json.loads(whole), json.loads(record)):
        assert one["status"] == "ok", one["reason"]
    assert json.loads(record)["curves"] == json.loads(whole)["curves"]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_a_cell_of_two_devices_leaves_one_record_and_its_weights(planned, tmp_path):
    planned(
        GATED
        | {"mechanisms": "[kope]", "measures": "[params, health, training_time, rounding, training_dynamics]"}
    )
    assert run(tmp_path / "suite.yaml", tmp_path / "results", keep=["weights"]) == 0
    (record,) = records(tmp_path / "results").values()
    assert record.status == "ok"
    assert record.spec["train"]["devices"] == 2
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1
    assert record.health
    model = load_trained(record, tmp_path / "results")
    assert sum(one.numel() for one in model.parameters()) == record.measures["params"].value


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("mechanism", "status", "reason"),
    [
        ("Nan", "diverged", "the loss is nan at step 1 of 5"),
        ("Unsupported", "unsupported", "not made for this machine"),
        ("Raises", "failed", "RuntimeError: broken on purpose"),
        # Of one process the cell would begin anew; here the others would wait for ever.
        ("CannotRepeatLater", "failed", r"train\.devices: 1 could begin anew .*, 2 cannot \(put_\)"),
        ("OneOfTwoIsOutOfMemory", "oom", "memory"),
        ("Exits", "failed", r"process [01] of 2 ended with code 3 before it left a record"),
    ],
)
def test_whatever_breaks_is_recorded_once_and_as_what_it_is(planned, tmp_path, mechanism, status, reason):
    planned(GATED | {"mechanisms": f"['throwaway_mechanisms:{mechanism}']"})
    run(tmp_path / "suite.yaml", tmp_path / "results")
    (record,), damaged = Store(tmp_path / "results").read_all()
    assert not damaged
    assert record.status == status
    assert re.search(reason, record.reason)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("measure", ["training_dynamics", "health"])
def test_a_measure_that_cannot_repeat_itself_before_the_training_ends_the_cell(planned, tmp_path, measure):
    """It looks in the first process alone, while the others are on their way to the first step."""
    planned(
        GATED | {"mechanisms": "['throwaway_mechanisms:CannotRepeatLookedAt']", "measures": f"[{measure}]"}
    )
    run(tmp_path / "suite.yaml", tmp_path / "results")
    (record,), _ = Store(tmp_path / "results").read_all()
    assert record.status == "failed"
    assert re.search(r"train\.devices: 1 could begin anew .*, 2 cannot \(put_\)", record.reason)


@pytest.mark.skipif(cores() < 2, reason="two processes want two cores")
def test_a_run_that_is_ended_leaves_no_process_and_goes_on(gated, tmp_path):
    process = start("run", gated.suite, "--results", tmp_path / "results", cwd=tmp_path)
    gated.reached(2)
    process.send_signal(signal.SIGTERM)
    gated.open()
    code, _, err = end(process)
    assert code == 130
    assert "Traceback" not in err
    wait_until(lambda: not family(process.pid), "every process of the run is gone")
    assert run(gated.suite, tmp_path / "results") == 0
    assert run(gated.suite, tmp_path / "whole") == 0
    (one,), (other,) = records(tmp_path / "results").values(), records(tmp_path / "whole").values()
    assert said(one) == said(other)


def test_a_cell_asks_for_as_many_places_as_it_has_devices(planned):
    (cell,) = planned(GATED | {"mechanisms": "[softmax]", "threads": 3})
    needs = needs_of(cell)
    assert (needs.cpus, needs.gpus, needs.processes) == (6, 0, 2)
    cell.spec["device"] = "cuda"
    assert (needs_of(cell).cpus, needs_of(cell).gpus) == (6, 2)
    placement = Placement()
    placement.update([Machine("small", 1), Machine("large", 4, 4)])
    assert placement.take(needs).machine == "large", "a machine of one core is none for two processes"
    assert placement.take(needs_of(cell)) is None
    placement.free(Place("large", 4))
    assert placement.take(needs_of(cell)).gpus == (0, 1)


def test_the_devices_of_a_process_are_those_that_the_cell_was_given(gated, monkeypatch):
    given = []

    class Nothing:
        def __init__(self, context, job, keeping, gpus, rank):
            given.append((gpus, rank.number, rank.of))

        def kill(self):
            pass

    monkeypatch.setattr(_child, "_begun", Nothing)
    Child(Job(1, gated.cell, Place("here", 2, (4, 7))), Keeping(), [], "4,7").kill()
    assert given == [("4", 0, 2), ("7", 1, 2)]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.devices=2", "train.batch_size=1"], "2 devices cannot share batches of 1"),
        (["train.devices=0"], "train.devices: got 0; input should be greater than or equal to 1"),
        (["train.devices=65"], "train.devices: got 65; input should be less than or equal to 64"),
        (
            ["train.devices=2", "match.by=time"],
            "train.devices: matching by time measures a step on one device; match otherwise",
        ),
        (["train.devices=64"], "train.devices: 64: no machine has more than "),
        (["train.device=2"], 'train.device: unknown key "device"; did you mean "devices"?'),
    ],
)
def test_mistakes_are_one_line(oscbench, tiny, overrides, told):
    ended = oscbench("run", tiny(), *(word for one in overrides for word in ("--set", one)))
    assert ended.code == 2
    assert told in ended.err
    assert ended.err.count("\n") == 1 or "cells\n" in ended.err
    assert "Traceback" not in ended.err


def test_a_cell_of_the_cpu_sees_no_gpu_where_there_is_one(tiny, tmp_path, monkeypatch):
    """One process, and two that train a cell together."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cases = {"one": "{epochs: 1, batch_size: 256}", "two": "{epochs: 1, batch_size: 256, devices: 2}"}
    for name, train in cases.items():
        suite = tiny(
            mechanisms="['throwaway_mechanisms:NeedsNoGpu']", device="cpu", train=train, match="{by: none}"
        )
        assert run(suite, tmp_path / name) == 0, name
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    suite = tiny(mechanisms="['throwaway_mechanisms:NeedsNoGpu']", device="cpu", match="{by: none}")
    assert run(suite, tmp_path / "none") == 1, "where there is no GPU nothing is hidden"
