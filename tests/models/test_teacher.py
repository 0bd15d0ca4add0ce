"""A slow teacher by a loop written out, smaller views at their own positions, and the numbers that each costs."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate

from oscbench import catalog
from oscbench.models.backbones.views import Views, ViewsConfig
from oscbench.models.matching import num_parameters
from oscbench.models.positions import OtherGrid, image_positions, resampling, sinusoidal
from oscbench.models.rates import cosine
from oscbench.models.teacher import Teacher
from oscbench.runner.training.learner import InParts
from oscbench.tasks import ViewInputs

INPUTS = ViewInputs(1, 8, 8, teacher=0.9)
WITH_LOCAL = replace(INPUTS, local=(3, 4))
MECHANISMS = catalog.names("mechanisms")


def built(
    mechanism: str = "softmax", inputs: ViewInputs = INPUTS, settings: Any = None, **model: Any
) -> Views:
    found = catalog.load("mechanisms", mechanism)
    config = ViewsConfig(
        **{"width": 16, "heads": 2, "layers": 2, "patch": 2, "embedding": 8, "head_width": 16, **model}
    )
    return Views(config, inputs, found, found.Config(**(settings or {})), hidden=None, seed=0)


def rows(count: int = 4, inputs: ViewInputs = WITH_LOCAL) -> torch.Tensor:
    numbers = 2 * inputs.height * inputs.width + (
        inputs.local[0] * inputs.local[1] ** 2 if inputs.local else 0
    )
    made = torch.randn(count, numbers, generator=torch.Generator().manual_seed(0))
    return made if inputs.local else made.view(count, 2, inputs.height, inputs.width)


def test_momentum_goes_from_its_start_to_one_by_a_cosine() -> None:
    found = [cosine(step, 10, 0.9, 1.0) for step in range(10)]
    written = [1.0 + 0.5 * (0.9 - 1.0) * (1.0 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert found == pytest.approx(written, abs=1e-15)
    assert found[0] == pytest.approx(0.9)
    assert found == sorted(found)
    assert 0.99 < found[-1] < 1.0


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_teacher_is_the_moving_average_of_its_students_parameters(mechanism: str) -> None:
    model = built(mechanism).double()
    assert model.teacher is not None
    average = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for step in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        model.stepped(step + 1, 5)
        m = cosine(step, 5, 0.9, 1.0)
        for name, parameter in model.named_parameters():
            average[name] = m * average[name] + (1.0 - m) * parameter.detach()
    found = dict(model.teacher.own.named_buffers())
    for name, expected in average.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-13, atol=1e-13)


def test_a_teacher_is_no_parameter_and_stays_in_evaluation_mode() -> None:
    model, plain = built(dropout=0.5).train(), built(inputs=replace(INPUTS, teacher=None), dropout=0.5)
    assert model.teacher is not None
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert num_parameters(model) == num_parameters(plain)
    assert not any(module.training for module in model.teacher.modules())
    views = rows(inputs=INPUTS)
    predicted = model(views).prediction
    assert predicted.shape == (4, 4, 8)
    assert torch.equal(predicted[:, 2:], model(views).prediction[:, 2:]), "no dropout"
    assert not torch.equal(predicted[:, :2], model(views).prediction[:, :2])
    assert torch.equal(predicted[:, 2:], plain.eval()(views).prediction), "it begins as its student"
    (gradient,) = torch.autograd.grad(predicted[:, 2:].sum() + 0.0 * predicted.sum(), [model.patches.weight])
    assert not gradient.any(), "nothing flows back through it"


@pytest.mark.parametrize("student", [False, True])
def test_what_is_evaluated_is_the_teacher_unless_the_student_is_asked_for(student: bool) -> None:
    model = built(inputs=replace(INPUTS, student_features=student)).eval()
    assert model.teacher is not None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    model.stepped(1, 10)
    whole = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    before = copy.deepcopy(model.state_dict())
    own, taught = model(whole).prediction, model.teacher(whole)
    assert not torch.equal(own, taught)
    expected = own if student else taught
    with model.as_evaluated():
        assert torch.equal(model(whole).prediction, expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model(whole).prediction, own)
    model.finish()
    assert torch.equal(model(whole).prediction, expected)


def test_an_exchange_leaves_every_value_in_its_own_memory() -> None:
    model = built()
    places = [parameter.data_ptr() for parameter in model.parameters()]
    with model.as_evaluated():
        assert [parameter.data_ptr() for parameter in model.parameters()] != places
    assert [parameter.data_ptr() for parameter in model.parameters()] == places


def test_start_values_that_were_set_are_the_teachers_too() -> None:
    found = catalog.load("mechanisms", "ssa")
    model = built("ssa", settings={**found.examples[0], "position": "none"})
    assert model.teacher is not None
    assert model.calibrate(rows(inputs=INPUTS))
    for parameter, average in model.teacher.pairs(model):
        assert torch.equal(parameter, average)


@pytest.mark.parametrize("position", ["none", "learned", "sinusoidal"])
def test_smaller_views_stand_on_a_grid_of_their_own(position: str) -> None:
    """Their embeddings are those of a model of such images whose positions are the resampled ones."""
    model = built("rope", WITH_LOCAL, position=position).eval()
    small = built("rope", ViewInputs(1, 4, 4), position=position).eval()
    kept = {name: tensor for name, tensor in model.state_dict().items() if name in small.state_dict()}
    if position == "learned":
        table = model.added.table.weight.detach()
        grid = table.T.reshape(1, 16, 4, 4)
        resized = interpolate(grid, size=(2, 2), mode="bicubic", align_corners=False)
        kept["added.table.weight"] = resized[0].flatten(1).T
    small.load_state_dict(kept)
    inputs = rows()
    found = model(inputs).prediction[:, 2:5]
    views = inputs[:, 128:].view(4, 3, 4, 4)
    for place in range(3):
        pair = torch.cat((views[:, place : place + 1], views[:, place : place + 1]), dim=1)
        expected = small(pair).prediction[:, 0]
        torch.testing.assert_close(found[:, place], expected, rtol=1e-5, atol=1e-6)


def test_resampled_positions_are_means_of_those_around() -> None:
    weights = resampling((14, 14), (6, 6))
    assert weights.shape == (36, 196)
    torch.testing.assert_close(weights.sum(1), torch.ones(36))
    torch.testing.assert_close(resampling((3, 5), (3, 5)), torch.eye(15))
    table = torch.randn(14, 14, 5, generator=torch.Generator().manual_seed(0))
    literal = interpolate(table.permute(2, 0, 1)[None], size=(6, 6), mode="bicubic", align_corners=False)
    torch.testing.assert_close(weights @ table.flatten(0, 1), literal[0].flatten(1).T, rtol=1e-5, atol=1e-5)


def test_waves_and_angles_of_smaller_views_count_patches_from_their_own_corner() -> None:
    model = built("rope", WITH_LOCAL, position="sinusoidal")
    local = model.local
    assert isinstance(local, OtherGrid)
    assert local.positions.coordinates.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    torch.testing.assert_close(local.waves, sinusoidal(image_positions(2, 2, 0), 16))


@pytest.mark.parametrize(
    ("mechanism", "local", "told"),
    [
        ("softmax", (2, 3), "patch 2 does not divide local views of 3 × 3"),
        ("softmax", (2, 10), "local views of 10 × 10 are larger than images of 8 × 8"),
        (
            "fixed_query",
            (2, 4),
            "has parameters for each place of 4 × 4 patches, and none for local views of 2 × 2",
        ),
    ],
)
def test_smaller_views_that_cannot_be_are_refused(mechanism: str, local: tuple[int, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        built(mechanism, replace(INPUTS, local=local))


@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "fixed_query"])
def test_every_other_mechanism_embeds_smaller_views_and_has_gradients(mechanism: str) -> None:
    model = built(mechanism, WITH_LOCAL)
    predicted = model(rows()).prediction
    assert predicted.shape == (4, 2 + 3 + 2, 8)
    torch.testing.assert_close(predicted.norm(dim=-1), torch.ones(4, 7))
    predicted[:, 2:5].sum().backward()
    assert model.patches.weight.grad is not None
    assert model.patches.weight.grad.any()


def test_a_batch_in_parts_has_the_same_gradient_and_asks_the_teacher_once_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The backward pass predicts a part again, and stops before the teacher, of which it needs nothing."""
    asked = []
    ask = Teacher.forward
    monkeypatch.setattr(Teacher, "forward", lambda teacher, inputs: asked.append(1) or ask(teacher, inputs))
    model = built(inputs=WITH_LOCAL)
    found = {}
    for parts, learns in ((1, model), (2, InParts(model, 2))):
        asked.clear()
        predicted = learns(rows()).prediction
        weights = torch.arange(predicted[:, :5].numel()).view(4, 5, 8).sin()
        gradients = torch.autograd.grad((predicted[:, :5] * weights).sum(), [*model.parameters()])
        found[parts] = [predicted, *gradients]
        assert len(asked) == parts
    for one, two in zip(found[1], found[2], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_flops_count_every_view_and_the_teacher_once() -> None:
    plain = built(inputs=replace(INPUTS, teacher=None))
    pair, small = plain.flops(), built(inputs=ViewInputs(1, 4, 4)).flops()
    assert plain.training_flops() == 3 * pair
    taught, local = built(), built(inputs=WITH_LOCAL)
    assert taught.flops() == 2 * pair
    assert taught.training_flops() == 3 * pair + pair
    assert local.flops() == 2 * pair + 3 * small // 2
    assert local.training_flops() == 3 * (pair + 3 * small // 2) + pair


def test_a_deeper_head_is_the_same_model_with_a_map_more() -> None:
    inputs = replace(INPUTS, teacher=None)
    two, three = built(inputs=inputs), built(inputs=inputs, head_layers=3)
    assert num_parameters(three) - num_parameters(two) == 16 * 16 + 16
    assert three.flops() - two.flops() == 2 * 2 * 16 * 16
    assert "head_layers" not in str(ViewsConfig(head_layers=2).model_dump(exclude_defaults=True))
