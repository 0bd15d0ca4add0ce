"""Suites that are legal and rare: what varies as a whole, positions crossed with switches, narrow ranges, ends that nothing lies beyond."""

from __future__ import annotations

import pytest
import torch
from trial_records import record_of

from oscbench.measures import Subject
from oscbench.measures.disorder import DisorderConfig, DisorderMeasure
from oscbench.measures.robustness import Robustness, RobustnessConfig
from oscbench.models.trunk import Output
from oscbench.runner.plan import make_plan
from oscbench.runner.training.entries import position_of
from oscbench.runner.training.loop import learning_rate_factor, steps_per_epoch
from oscbench.runner.training.search import search, searches
from oscbench.runner.training.space import beyond, own_space, rounded, trial_spec
from oscbench.runner.training.specs import as_reference, request_key
from oscbench.suite import SuiteError, expand, load_points, load_suite
from oscbench.suite.tune import Axis
from oscbench.tasks import UnscoredError
from oscbench.tasks.captions import Captions, CaptionsConfig
from oscbench.tasks.self_supervised import SelfSupervised, SelfSupervisedConfig


def planned(path):
    return make_plan(load_suite(str(path)), only=[], device="cpu")


def test_what_is_set_below_what_varies_as_a_whole_is_refused(tiny):
    path = tiny(vary="{task: [digits, {name: digits, shift: 0}], train: [{steps: 3}, {steps: 4}]}")
    for change, place in (("task.fraction=0.1", "task"), ("train.batch_size=16", "train")):
        with pytest.raises(SuiteError, match=f"--set {change.split('=')[0]}: {place} varies as a whole"):
            load_points(str(path), [change])
    assert len(load_points(str(path), ["model.width=16"])) == 4


@pytest.mark.parametrize(
    ("axis", "end", "expected"),
    [
        (Axis(choices=[0.999, 0.9995, 0.9999]), "low", [0.9985, 0.998]),
        (Axis(low=1, high=8, log=True), "low", []),
        (Axis(low=2, high=8, log=True), "low", [1]),
        (Axis(choices=[0.1, 0.2, 0.3, 0.4]), "high", [0.5, 0.6]),
        (Axis(choices=[0.05, 0.1, 0.15, 0.2]), "high", [0.25, 0.3]),
        (Axis(choices=[0.02, 0.04, 0.06, 0.08]), "low", [0.0, -0.02]),
    ],
)
def test_values_beyond_an_end_are_others_and_can_be(axis, end, expected):
    assert beyond(axis, end) == pytest.approx(expected, abs=1e-12)


def test_a_narrow_range_keeps_the_digits_that_tell_its_values_apart():
    narrow = Axis(low=0.999, high=0.9999)
    assert len({rounded(narrow, 0.999 + 0.0001 * step) for step in range(9)}) == 9
    assert rounded(Axis(low=5e-4, high=8e-3, log=True), 0.0021370) == 0.00214, "as in every search until now"


def test_what_cannot_be_built_is_not_tried(tiny):
    tune = "{trials: 3, seeds: 1, space: {settings.dimension: {choices: [2, 4, 8]}}}"
    loaded = load_suite(
        str(
            tiny(
                mechanisms="[akorn]", model="{width: 16, heads: 2, layers: 1}", match="{by: none}", tune=tune
            )
        )
    )
    (one,) = searches(loaded.suite, loaded.source, make_plan(loaded, only=[], device="cpu"))

    def larger_is_better(cells):
        made = []
        for cell in cells:
            record = record_of(cell)
            metric = record.measures["validation_accuracy"]
            better = metric.model_copy(update={"value": cell.spec["mechanism"]["dimension"] / 100})
            made.append(
                record.model_copy(update={"measures": {**record.measures, "validation_accuracy": better}})
            )
        return made

    search([one], larger_is_better)
    assert [row.values["settings.dimension"] for row in one.rows][3:] == [16], "32 does not divide 16"


@pytest.mark.parametrize(
    ("mechanisms", "positions", "axis"),
    [
        ("[ssa]", "[learned]", "settings.position: {choices: [learned, none]}"),
        ("[{name: akorn, position: own}]", "", "settings.rotary: {choices: [true, false]}"),
        ("[torus]", "[none, own]", "settings.drift: {choices: [true, false]}"),
    ],
)
def test_a_search_leaves_a_position_that_is_said(mechanisms, positions, axis, tiny):
    space = f"{{{axis}, train.learning_rate: {{low: 1e-4, high: 1e-2, log: true}}}}"
    tune = f"{{trials: 2, seeds: 1, space: {space}}}"
    loaded = load_suite(str(tiny(mechanisms=mechanisms, positions=positions, tune=tune)))
    cells = make_plan(loaded, only=[], device="cpu")
    for request in expand(loaded.suite, loaded.source):
        assert set(own_space(loaded.suite, request)) == {"train.learning_rate"}
    for cell in cells:
        trial = trial_spec(cell.spec, {"train.learning_rate": 1e-3}, 100)
        assert position_of(trial) == position_of(cell.spec)


def test_a_position_and_the_switch_that_it_says_are_not_both_searched(tiny):
    space = "{model.position: {choices: [own, learned]}, settings.drift: {choices: [true, false]}}"
    with pytest.raises(SuiteError, match=r"model\.position and settings\.drift are both searched"):
        planned(tiny(mechanisms="[torus]", tune=f"{{trials: 4, seeds: 1, space: {space}}}"))


def test_positions_are_crossed_with_what_each_setting_of_a_grid_can_have(tiny):
    found = planned(
        tiny(mechanisms="[{name: torus, grid: {drift: [true, false]}}]", positions="[learned, own]", seeds=1)
    )
    assert sorted((cell.spec["mechanism"]["drift"], position_of(cell.spec)) for cell in found) == [
        (False, "learned"),
        (True, "own"),
    ]


def test_a_setting_of_a_grid_that_no_position_suits_is_refused(tiny):
    with pytest.raises(SuiteError, match="torus with drift=true can have none of the suite's positions"):
        planned(tiny(mechanisms="[{name: torus, grid: {drift: [true, false]}}]", positions="[learned]"))


def test_an_entry_that_searches_neither_may_stand_beside_a_search_of_both(tiny):
    space = "{model.position: {choices: [own, learned]}, settings.drift: {choices: [true, false]}}"
    tune = f"{{trials: 2, seeds: 1, space: {space}}}"
    assert planned(tiny(mechanisms="[{name: torus, position: own}]", tune=tune))
    assert planned(tiny(mechanisms="[{name: torus, settings: {drift: true}}]", tune=tune))


def test_a_warm_up_of_less_than_half_a_step_is_none_and_of_a_part_at_most_doubles():
    for steps, warmup in ((100, 0.001), (20, 0.01), (1000, 1e-5), (2, 0.1)):
        assert learning_rate_factor(0, steps, warmup) == 1.0
        assert max(learning_rate_factor(step, steps, warmup) for step in range(steps)) == 1.0
    assert max(learning_rate_factor(step, 21, 0.05) for step in range(21)) < 2.0
    assert learning_rate_factor(0, 18, 0.05) == pytest.approx(1 / 0.9), "as in every record until now"


def test_an_epoch_of_captions_has_the_batches_that_it_makes():
    small = {"images_per_meaning": 3, "validation_images": 1, "test_images": 1, "single_digits": 10}
    task = Captions(CaptionsConfig.model_validate(small))
    for size in (64, 100):
        streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        assert steps_per_epoch(task, {"batch_size": size}) == len(list(task.training_batches(size, *streams)))


def test_nothing_is_searched_where_validation_is_the_test(tiny):
    changes = {
        "task": "{name: char_lm, split: 90-10, length: 16}",
        "model": "{width: 16, heads: 2, layers: 1}",
        "mechanisms": "[softmax]",
    }
    assert planned(tiny(**changes))
    tune = "{trials: 2, seeds: 1, space: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}"
    with pytest.raises(SuiteError, match="a search would choose on the test"):
        planned(tiny(**changes, tune=tune))


def test_views_have_no_robustness_and_lose_no_cell_for_it():
    task = SelfSupervised(SelfSupervisedConfig(images="digits", flip=False))
    probe = next(task.batches("validation", 8))

    class Model(torch.nn.Module):
        def forward(self, inputs):
            return Output(torch.zeros(len(inputs), 2, 4), [])

    model = Model()
    model.trunk = type("Trunk", (), {"mechanism": type("Mechanism", (), {"disorders": (), "label": "m"})()})()
    subject = Subject(model, task, probe, torch.device("cpu"), 8)
    found = Robustness(RobustnessConfig(noise=[0.1], occlusion=[], contrast=[], pgd=[])).after(subject)
    found.measures |= DisorderMeasure(DisorderConfig(strengths=[0.1])).after(subject).measures
    for measured in found.measures.values():
        assert measured.value is None
        assert measured.method == "unavailable"
        assert measured.reason


def test_matching_by_time_tells_a_searched_clip(tiny):
    cell = planned(
        tiny(mechanisms="[softmax, kope]", match="{by: time, reference: softmax, tolerance: 0.1}")
    )[0]
    without, clipped = ({**cell.spec, "tuned": {"clip": clip}} for clip in (None, 1.0))
    assert request_key(without) != request_key(clipped)
    assert request_key(clipped) == request_key(cell.spec)


def test_a_control_leaves_its_reference_the_suites_clip(tiny):
    control = "{name: kope, variant: control, match: {by: time, reference: softmax}}"
    cells = planned(tiny(mechanisms=f"[softmax, kope, {control}]"))
    spec = {**next(cell.spec for cell in cells if "own_match" in cell.spec), "tuned": {"clip": None}}
    assert "tuned" not in as_reference(spec)


def test_what_is_scored_over_a_gallery_is_not_scored_by_batch():
    small = {"images_per_meaning": 1, "validation_images": 1, "test_images": 1, "single_digits": 10}
    task = Captions(CaptionsConfig.model_validate(small))
    batch = next(task.batches("validation", 4))
    with pytest.raises(UnscoredError, match="over a gallery"):
        task.scored([(torch.zeros(4, 2, 8), batch)])
