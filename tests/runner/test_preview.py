"""A dry run takes seconds, however large the steps of the suite are; a run of many cells costs little beside them."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import pytest
import torch
from command_line import PATIENCE_S, environment

from oscbench import catalog
from oscbench.measures import FEW_EXAMPLES, Findings, robustness
from oscbench.records import Store, identity, protocol
from oscbench.runner.cell import run_cell
from oscbench.runner.plan import make_plan
from oscbench.runner.terminal.preview import preview
from oscbench.runner.training import preview as previewing
from oscbench.runner.training import room
from oscbench.runner.training.preview import TIMED_FLOPS, timed_batch
from oscbench.suite import load_suite


@pytest.mark.parametrize(
    ("flops", "expected"), [(1e6, 128), (TIMED_FLOPS / 3 / 128, 128), (TIMED_FLOPS / 31, 10), (1e15, 1)]
)
def test_a_large_step_is_timed_on_fewer_examples_on_a_processor_alone(flops, expected):
    assert timed_batch(128, round(flops), torch.device("cpu")) == expected
    assert timed_batch(128, round(flops), torch.device("cuda")) == 128


def test_fewer_examples_are_counted_up_to_the_whole_step(tiny, tmp_path, monkeypatch):
    loaded = load_suite(str(tiny(mechanisms="[softmax]")))
    cells, store = make_plan(loaded, only=[], device="cpu"), Store(tmp_path)
    taken = []

    def train(subject, settings, seed, progress):
        taken.append((settings["batch_size"], subject.batch_size))
        subject.history.step_seconds.append(100.0)

    monkeypatch.setattr(previewing, "train", train)
    (whole,) = preview(cells, store)
    monkeypatch.setattr(previewing, "TIMED_FLOPS", 3 * whole.flops * 16)
    (part,) = preview(cells, store)
    assert taken == [(128, 128), (16, 16)]
    assert whole.steps == part.steps
    # What is not a step is counted once; here steps take no time, so it is what they claim to have taken, below nothing.
    assert part.estimate + 100 == pytest.approx(8 * (whole.estimate + 100), rel=0.01)


def test_what_measures_take_is_counted_up_from_a_part_of_it(tiny, tmp_path, monkeypatch):
    asked = []

    def after(self, subject):
        asked.append(self.config.examples)
        clock.append(clock[-1] + 0.5 * self.config.examples)
        return Findings()

    clock = [0.0]
    monkeypatch.setattr(robustness.Robustness, "after", after)
    monkeypatch.setattr(previewing.time, "perf_counter", lambda: clock[-1])
    monkeypatch.setattr(previewing, "train", lambda subject, *_: subject.history.step_seconds.append(1e-9))
    seconds = []
    for measures in ("[params]", "[params, {name: robustness, examples: 160}]"):
        cells = make_plan(
            load_suite(str(tiny(mechanisms="[softmax]", measures=measures))), only=[], device="cpu"
        )
        seconds.append(preview(cells, Store(tmp_path))[0].estimate)
    assert asked == [FEW_EXAMPLES]
    assert seconds[1] - seconds[0] == pytest.approx(80)


@pytest.mark.parametrize("name", catalog.names("measures"))
def test_a_smaller_measure_has_the_same_settings_but_for_how_much_it_does(name):
    measure_class = catalog.load("measures", name)
    measure = measure_class(measure_class.Config())
    small = measure.smaller()
    if small is not None:
        config, times = small
        assert type(config) is type(measure.config)
        assert times > 1
        assert measure_class(config).smaller()[1] == pytest.approx(1), "nothing is left to make smaller"


def test_a_model_that_its_machine_cannot_hold_is_not_allocated(tiny, tmp_path, monkeypatch):
    (cell,) = make_plan(load_suite(str(tiny(mechanisms="[softmax]"))), only=[], device="cpu")
    (fits,) = preview([cell], Store(tmp_path))
    assert fits.trouble is None
    needed = 16 * fits.params
    told = "needs 0 of 0 GiB for weights, gradients and moments"
    built = []
    start = torch.nn.Module.__init__
    monkeypatch.setattr(
        torch.nn.Module,
        "__init__",
        lambda self: (built.append(torch.get_default_device().type), start(self))[1],
    )
    monkeypatch.setattr(room, "memory_of", lambda device: needed - 1)
    record = run_cell(cell, lambda done, total: None)
    assert (record.status, record.reason) == ("oom", told)
    (refused,) = preview([cell], Store(tmp_path))
    assert (refused.trouble, refused.params, refused.estimate) == (told, fits.params, 0.0)
    assert set(built) == {"meta"}
    monkeypatch.setattr(room, "memory_of", lambda device: needed)
    assert preview([cell], Store(tmp_path))[0].trouble is None


def test_a_seed_more_asks_no_catalog_and_holds_no_copy_of_its_entry(tiny, monkeypatch):
    load, asked = catalog.load, []
    monkeypatch.setattr(catalog, "load", lambda *wanted: asked.append(wanted) or load(*wanted))

    def planned(seeds):
        loaded = load_suite(str(tiny(seeds=seeds)))
        asked.clear()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            cells = make_plan(loaded, only=[], device=None)
            return cells, len(asked), tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()

    planned(2)  # what is imported once
    few, few_asked, few_bytes = planned(2)
    many, many_asked, many_bytes = planned(1000)
    assert (len(few), len(many)) == (4, 2000)
    assert many_asked == few_asked
    assert (many_bytes - few_bytes) / (2000 - 4) < 3000, "bytes a cell"
    assert len({cell.identity for cell in many}) == 2000
    for cell in (many[0], many[999], many[-1]):
        assert (cell.identity, cell.protocol) == (identity(cell.spec), protocol(cell.spec))


PLANNED = """
import json, re, sys, time
from pathlib import Path
import torch

def peak():  # of this process alone: `ru_maxrss` is inherited
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024

before, begun = peak(), time.process_time()
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite
cells = make_plan(load_suite(sys.argv[1]), only=[], device="cpu")
told = {"cells": len(cells), "seconds": time.process_time() - begun, "bytes": peak() - before}
print(json.dumps(told | {"loaded": [name for name in ("sklearn", "scipy", "pandas") if name in sys.modules]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_ten_thousand_cells_are_planned_within_twenty_seconds_and_500_megabytes(tiny):
    """Of processor time, which other work on the machine does not count in; PyTorch itself is 220 of the 500 MB."""
    ten = [f"{{name: kope, variant: v{i}, settings: {{coupling_rate: {i + 1}.0}}}}" for i in range(10)]
    suite = tiny(mechanisms=f"[{', '.join(ten)}]", seeds=1000)
    done = subprocess.run(
        [sys.executable, "-c", PLANNED, suite],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(told)
    assert told["cells"] == 10_000
    assert told["seconds"] < 20.0
    assert told["bytes"] < 280e6
    assert told["loaded"] == [], "what only data and floors need is loaded with them"
