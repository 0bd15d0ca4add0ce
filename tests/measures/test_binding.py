"""Binding: synchrony and attention by their literal sums, phases that are planted are found, and floors that are what they say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from measure_subjects import make_subject

from oscbench import catalog
from oscbench.instruments.synchrony import (
    attention_inside,
    gini,
    mean_of_givers,
    synchrony,
    walked,
    weighted_synchrony,
)
from oscbench.measures import Findings, History, Subject
from oscbench.measures.binding import Binding, BindingConfig
from oscbench.measures.training_dynamics import TrainingDynamics, TrainingDynamicsConfig
from oscbench.models.trunk import Output
from oscbench.runner.training.kind import Gathering
from oscbench.tasks.support.segments.grouping import patch_objects

CONFIG = BindingConfig(examples=24, clustered=12)


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path_factory.getbasetemp() / "binding-store"))


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def objects_of(seed, images=4, tokens=9, kinds=4):
    """Objects -1 to kinds - 2."""
    return torch.randint(kinds, (images, tokens), generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("seed", range(4))
def test_synchrony_is_the_mean_over_pairs(seed):
    phases, objects = 7 * drawn(4, 2, 9, 3, seed=seed), objects_of(seed)
    objects[3] = torch.tensor([0] * 5 + [-1] * 4)  # no two objects: it does not count
    within, between = [], []
    for image in range(3):
        same, other = [], []
        for i in range(9):
            for j in range(9):
                one, two = int(objects[image, i]), int(objects[image, j])
                if i != j and one >= 0 and two >= 0:
                    cos = float((phases[image, :, i] - phases[image, :, j]).cos().mean())
                    (same if one == two else other).append(cos)
        within.append(sum(same) / len(same))
        between.append(sum(other) / len(other))
    found = synchrony(phases, objects)
    assert found.images == 3
    assert found.within == pytest.approx(sum(within) / 3)
    assert found.between == pytest.approx(sum(between) / 3)
    assert found.gain == pytest.approx(found.within - found.between)
    assert synchrony(phases, torch.full((4, 9), -1)) is None
    assert synchrony(phases[3:], objects[3:]) is None


@pytest.mark.parametrize("seed", range(4))
def test_attention_inside_is_a_share_of_what_others_get(seed):
    weights, objects = drawn(4, 2, 9, 9, seed=seed), objects_of(seed)
    masses, shares = [], []
    for image in range(4):
        for i in range(9):
            mates = [j for j in range(9) if j != i and objects[image, j] == objects[image, i]]
            if objects[image, i] >= 0 and mates:
                others = [j for j in range(9) if j != i]
                rows = weights[image, :, i]
                masses.append(float((rows[:, mates].sum(1) / rows[:, others].sum(1)).mean()))
                shares.append(len(mates) / 8)
    found = attention_inside(weights, objects)
    assert found.tokens == len(masses)
    assert found.mass == pytest.approx(sum(masses) / len(masses))
    assert found.share == pytest.approx(sum(shares) / len(shares))
    even = attention_inside(torch.full((4, 2, 9, 9), 1 / 9), objects)
    assert even.mass == pytest.approx(even.share)
    assert attention_inside(weights, torch.arange(9).expand(4, 9)) is None


def test_who_gives_others_nothing_says_nothing():
    """Attention to oneself alone is neither kept in an object nor sent out of it, and no row of zeros is even."""
    objects = torch.tensor([[0, 0, 0, 1, 1, -1]])
    even, alone = torch.full((1, 1, 6, 6), 1 / 6), torch.eye(6)[None, None]
    assert attention_inside(alone, objects) is None
    whole = attention_inside(even, objects)
    assert attention_inside(torch.cat((even, alone), 1), objects) == whole
    half = even.clone()
    half[0, 0, 3:] = torch.eye(6)[3:]
    found = attention_inside(half, objects)
    assert found is not None
    assert (found.tokens, found.mass) == (3, pytest.approx(2 / 5))
    rows = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert mean_of_givers(gini(rows), rows) == 0.5
    assert math.isnan(mean_of_givers(gini(0 * rows), 0 * rows))


def test_gini_and_weighted_synchrony_are_the_papers_sums():
    rows = drawn(2, 3, 4, 5)
    for row, value in zip(rows.flatten(0, 2), gini(rows).flatten(), strict=True):
        pairs = sum(abs(float(a - b)) for a in row for b in row)
        assert float(value) == pytest.approx(pairs / (2 * 5 * float(row.sum())))
    assert gini(torch.full((6,), 0.2)).item() == pytest.approx(0.0, abs=1e-12)
    assert gini(torch.tensor([0.0, 0.0, 1.0, 0.0])).item() == pytest.approx(3 / 4)
    rows, phases = rows / rows.sum(-1, keepdim=True), 7 * drawn(2, 3, 5, 6, seed=1)
    heard = torch.polar(rows[0, 1, 2][:, None].expand(-1, 6), phases[0, 1]).sum(0)
    assert weighted_synchrony(rows, phases)[0, 1, 2].item() == pytest.approx(heard.abs().mean().item())


def test_a_walk_takes_steps_as_long_from_the_same_start():
    phases = [3 * drawn(2, 2, 6, 4)]
    for seed in (1, 2):
        phases.append(phases[-1] + 0.4 * (drawn(2, 2, 6, 4, seed=seed) - 0.5) + 2 * math.pi)
    walk = walked(phases, torch.Generator().manual_seed(0))
    assert torch.equal(walk[0], phases[0])
    for taken, mine in (((walk[i + 1] - walk[i]), (phases[i + 1] - phases[i])) for i in range(2)):
        around = torch.atan2(mine.sin(), mine.cos())
        assert torch.allclose(taken.abs(), around.abs(), atol=1e-9)
        assert 0.3 < float((taken * around > 0).double().mean()) < 0.7
    assert torch.equal(walk[2], walked(phases, torch.Generator().manual_seed(0))[2])


def subject(mechanism, settings=None, task="scene_segmentation", backbone="dense", **model):
    task_class, backbone_class = catalog.load("tasks", task), catalog.load("backbones", backbone)
    sizes = {"train_scenes": 8, "validation_scenes": 4, "test_scenes": 24, "min_digits": 2, "size": 32}
    made_task = task_class(task_class.Config(**sizes))
    mechanism_class = catalog.load("mechanisms", mechanism)
    config = backbone_class.Config(**{"width": 16, "heads": 2, "layers": 3, "patch": 4, **model})
    made = backbone_class(
        config,
        made_task.inputs,
        mechanism_class,
        mechanism_class.Config(**(settings or {})),
        hidden=8,
        seed=0,
    )
    return Subject(made, made_task, next(made_task.batches("validation", 4)), torch.device("cpu"), 4)


def looked(where):
    measure = Binding(CONFIG)
    assert measure.before(where).measures == {}
    return measure.after(where).measures


class Planted(torch.nn.Module):
    """Phases that are the object's number, and attention that stays inside."""

    def __init__(self, model, task, layers=2):
        super().__init__()
        self.context, self.layers = model.context, layers
        _, maps = task.objects("test", 24)
        self.objects = patch_objects(maps, 4, any_pixel=True)
        self.majority = patch_objects(maps, 4)
        self.given = 0

    def forward(self, inputs, *, diagnostics):
        assert diagnostics
        rows = slice(self.given, self.given + len(inputs))
        objects, majority = self.objects[rows], self.majority[rows]
        self.given = (self.given + len(inputs)) % len(self.objects)
        phases = (2.0 * objects)[:, None, :, None].expand(-1, 2, -1, 3)
        inside = (majority[:, :, None] == majority[:, None]).double()[:, None].expand(-1, 2, -1, -1)
        layer = {"phases": phases, "attention": inside / inside.sum(-1, keepdim=True)}
        return Output(torch.zeros(1), [layer] * self.layers)


def test_what_is_planted_is_found():
    where = subject("kope")
    found = looked(Subject(Planted(where.model, where.task), where.task, where.probe, where.device, 4))
    assert found["binding_attention"].value == pytest.approx(1.0)
    assert found["binding_synchrony"].value > 1.0 - math.cos(2.0)
    # Pixels of two objects may share a patch, so it is not quite 1.
    assert 0.75 < found["binding_fg_ari"].value < 1.0
    assert found["binding_fg_ari"].value == pytest.approx(found["binding_fg_ari"].details["ceiling"])
    floors = found["binding_fg_ari"].details["floors"]
    assert floors["coordinates"][0] < found["binding_fg_ari"].value - 0.1
    assert floors["coordinates"][0] < floors["bright_places"][0] < found["binding_fg_ari"].value
    assert abs(found["binding_synchrony"].details["floors"]["other_image"][0]) < 0.5
    assert found["binding_attention"].details["floors"]["even_attention"][0] < 0.3


def test_frozen_phases_are_their_own_floor_and_kope_tells_mixed_from_carried():
    found = looked(subject("kope", {"dynamics": "frozen"}))
    for name in ("synchrony", "fg_ari"):
        entry = found[f"binding_{name}"]
        assert entry.details["end"] == entry.details["start"] == 3 * entry.details["floors"]["start_phases"]
        assert entry.details["floors"]["random_walk"] == pytest.approx(entry.details["end"])
        assert found[f"binding_mixed_{name}"].details["end"] != entry.details["end"]
    moving = looked(subject("kope", {"gamma": 0.5}))["binding_synchrony"]
    assert moving.details["end"][0] == pytest.approx(found["binding_synchrony"].details["end"][0])
    assert moving.details["end"][2] != pytest.approx(found["binding_synchrony"].details["end"][2], abs=1e-4)
    assert moving.value == moving.details["end"][-1]
    assert moving.n == 24
    assert found["binding_fg_ari"].n == 12


@pytest.mark.parametrize("name", ["softmax", "rope"])
def test_without_phases_attention_alone_is_told(name):
    found = looked(subject(name))
    assert set(found) == {"binding_attention", "binding_gini"}
    entry = found["binding_attention"]
    assert len(entry.details["end"]) == len(entry.details["floors"]["other_image"]) == 3
    assert found["binding_gini"].details["from"] == "patches"
    even = looked(subject("uniform"))
    assert even["binding_gini"].value == pytest.approx(0.0, abs=1e-9)
    floor = even["binding_attention"].details["floors"]["even_attention"]
    assert even["binding_attention"].value == pytest.approx(floor[0])


@pytest.mark.parametrize("name", ["torus", "akorn", "ssa", "fixed_query"])
def test_every_mechanism_can_be_looked_at(name):
    found = looked(subject(name))
    assert all(entry.value is not None and math.isfinite(entry.value) for entry in found.values())
    assert ("binding_synchrony" in found) == (name == "torus"), (
        "akorn has angles where its oscillators are flat"
    )


def test_a_classifier_of_scenes_is_asked_through_its_cls_token():
    found = looked(subject("kope", task="digit_scenes", backbone="vision"))
    assert found["binding_gini"].details["from"] == "CLS"
    assert found["binding_synchrony"].value is not None


def test_where_nobody_knows_the_objects_it_says_so():
    (entry,) = looked(make_subject()).values()
    assert entry.value is None
    assert entry.reason == "unavailable: this task does not say which objects its images show"


def test_what_is_followed_is_what_is_seen_before_and_after():
    where = subject("kope")
    measure = Binding(BindingConfig(examples=24, clustered=12, points=3))
    assert measure.steps(100) == {0, 1, 10, 100}
    assert Binding(CONFIG).steps(100) == ()
    seen = looked(where)
    followed = measure.during(where)
    ends = {
        name.removeprefix("binding_"): one.details["end"] for name, one in seen.items() if "ari" not in name
    }
    assert followed == {
        f"binding/{name}/{layer}": value for name, end in ends.items() for layer, value in enumerate(end)
    }
    history = History()
    for step in (0, 10):
        for name, value in followed.items():
            history.followed.setdefault(name, []).append((step, value))
    history.followed["gini/0"] = [(0, 0.5)]  # another measure's
    gathering, curves = Gathering(Findings()), {}
    for name, one in (
        ("binding", measure),
        ("training_dynamics", TrainingDynamics(TrainingDynamicsConfig())),
    ):
        gathering.curves(curves, name, one.curves(history))
    assert set(curves) == {*followed, "gini/0"}, "each its own, so that neither takes a name from the other"
    assert curves["binding/synchrony/2"].x == (0, 10)
    assert curves["binding/synchrony/2"].label == "binding synchrony, layer 3"
    assert Binding(BindingConfig(points=3)).during(make_subject("softmax")) == {}


def test_attention_over_the_objects_of_another_image_is_a_floor():
    where = subject("kope")
    found = looked(replace(where, model=Planted(where.model, where.task)))["binding_attention"]
    assert found.value == pytest.approx(1.0)
    assert max(found.details["floors"]["other_image"]) < 0.7


def test_start_phases_under_each_layers_attention_are_a_floor():
    found = looked(subject("kope", {"gamma": 0.5}))["binding_weighted_synchrony"].details
    assert found["floors"]["start_phases"][0] == pytest.approx(found["end"][0])
    assert found["floors"]["start_phases"][2] != pytest.approx(found["end"][2], abs=1e-4)
