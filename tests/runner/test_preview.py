"""A dry run takes seconds, however large the steps of the suite are."""

from __future__ import annotations

import pytest
import torch

from oscbench import catalog
from oscbench.measures import FEW_EXAMPLES, Findings, robustness
from oscbench.records import Store
from oscbench.runner.cell import run_cell
from oscbench.runner.plan import make_plan
from oscbench.runner.preview import preview
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
