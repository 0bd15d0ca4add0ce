"""Laws that every mechanism in the catalog keeps; a new file is tested without writing a test."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import draws
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from oscbench import catalog
from oscbench.mechanisms import Context, Mechanism, Positions, Shape
from oscbench.models.trunk import Trunk, initialise

WIDTH, HEADS, LAYERS, TOKENS, BATCH = 16, 2, 3, 9, 2
HEADINGS = ("Idea", "Equation", "Symbols", "Deviations", "Cost")


def cases() -> list[Any]:
    found = []
    for name in catalog.names("mechanisms"):
        for settings in ({}, *catalog.load("mechanisms", name).examples):
            label = "+".join(f"{key}={value}" for key, value in settings.items()) or "default"
            found.append(pytest.param(name, settings, id=f"{name}-{label}"))
    return found


def positions(axes: int = 1, tokens: int = TOKENS) -> Positions:
    coordinates = torch.stack(
        [torch.arange(tokens, dtype=torch.float64) // (1 + 2 * a) for a in range(axes)], dim=-1
    )
    return Positions(coordinates, torch.zeros(tokens, dtype=torch.bool))


def make_trunk(
    name: str,
    settings: dict[str, Any],
    *,
    axes: int = 1,
    dtype: torch.dtype = torch.float64,
    layers: int = LAYERS,
) -> Trunk:
    mechanism_class = catalog.load("mechanisms", name)
    shape = Shape(WIDTH, HEADS, layers, 2 * TOKENS, axes, draws.generator(5))
    mechanism: Mechanism = mechanism_class(mechanism_class.Config.model_validate(settings), shape)
    trunk = Trunk(mechanism, hidden=24)
    initialise(trunk, seed=3)
    return trunk.to(dtype)


def embeddings(tokens: int = TOKENS, seed: int = 0) -> Tensor:
    generator = draws.generator(seed)
    return torch.randn(BATCH, tokens, WIDTH, generator=generator, dtype=torch.float64)


def tolerance(trunk: Trunk) -> float:
    """An adaptive solver's step is shared by all positions: the laws hold to its tolerance only, as its trait says."""
    config = trunk.mechanism.config
    adaptive = trunk.mechanism.traits.iterative and getattr(config, "solver", "") == "dopri5"
    return 2e-2 if adaptive else 1e-9


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_docstring_has_the_headings_in_order_and_a_citation(name: str) -> None:
    text = catalog.docstring("mechanisms", name)
    places = [text.find(f"\n{heading}:\n") for heading in HEADINGS]
    missing = [heading for heading, place in zip(HEADINGS, places, strict=True) if place < 0]
    assert not missing, f"{name}: its docstring lacks the headings {', '.join(missing)}"
    assert places == sorted(places)
    assert re.search(r"arXiv \d{4}\.\d{5}", catalog.section(text, "Equation"))
    assert catalog.section(text, "Idea").count(".") >= 1


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        catalog.load("mechanisms", name).Config.model_validate({"no_such_setting": 1})


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_file_stays_readable(name: str) -> None:
    lines = (catalog._folder("mechanisms") / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert lines[-1].startswith("mechanism = ")


@pytest.mark.parametrize(("name", "settings"), cases())
def test_causality(name: str, settings: dict[str, Any]) -> None:
    trunk = make_trunk(name, settings)
    assert trunk.mechanism.traits.causal
    context = Context(positions(), is_causal=True)
    x = embeddings()
    trunk.calibrate(x, context)
    before, _ = trunk(x, context)
    for changed in (1, TOKENS - 1):
        other = x.clone()
        other[:, changed:] += embeddings(seed=1)[:, changed:]
        after, _ = trunk(other, context)
        assert torch.allclose(before[:, :changed], after[:, :changed], rtol=0, atol=tolerance(trunk))
        assert not torch.allclose(before[:, changed:], after[:, changed:], atol=1e-3)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("name", "settings"), cases())
def test_padding_changes_no_real_token(name: str, settings: dict[str, Any], is_causal: bool) -> None:
    trunk = make_trunk(name, settings)
    real = TOKENS - 4
    x = embeddings()
    mask = torch.zeros(BATCH, TOKENS, dtype=torch.bool)
    mask[:, real:] = True
    padded, _ = trunk(x, Context(positions(), is_causal=is_causal, key_padding_mask=mask))
    cut, _ = trunk(x[:, :real], Context(positions(tokens=real), is_causal=is_causal))
    assert torch.allclose(padded[:, :real], cut, rtol=0, atol=tolerance(trunk))
    everything, _ = trunk(
        x, Context(positions(), is_causal=is_causal, key_padding_mask=torch.ones_like(mask))
    )
    assert torch.isfinite(everything).all()


@pytest.mark.parametrize(("name", "settings"), cases())
def test_order_sensitivity_is_as_declared(name: str, settings: dict[str, Any]) -> None:
    trunk = make_trunk(name, settings)
    context = Context(positions())
    x = embeddings()
    trunk.calibrate(x, context)
    order = torch.randperm(TOKENS, generator=draws.generator(2))
    plain, _ = trunk(x, context)
    permuted, _ = trunk(x[:, order], context)
    follows = torch.allclose(plain[:, order], permuted, atol=1e-9)
    assert follows != trunk.mechanism.traits.order_sensitive


@pytest.mark.parametrize(("name", "settings"), cases())
def test_diagnostics_are_rows_of_weights_and_change_nothing(name: str, settings: dict[str, Any]) -> None:
    trunk = make_trunk(name, settings)
    context = Context(positions())
    x = embeddings()
    plain, nothing = trunk(x, context)
    looked, found = trunk(x, replace(context, diagnostics=True))
    assert nothing == []
    assert len(found) == LAYERS
    assert torch.equal(plain, looked)
    for layer in found:
        weights = layer["attention"]
        assert weights.shape == (BATCH, HEADS, TOKENS, TOKENS)
        assert (weights >= -1e-12).all()
        assert torch.allclose(weights.sum(-1), torch.ones(()).double(), atol=1e-6)
        if "phases" in layer:
            assert layer["phases"].shape[:3] == (BATCH, HEADS, TOKENS)


@pytest.mark.parametrize(("name", "settings"), cases())
def test_every_parameter_gets_a_finite_gradient(name: str, settings: dict[str, Any]) -> None:
    trunk = make_trunk(name, settings)
    context = Context(positions())
    x = embeddings()
    trunk.calibrate(x, context)
    out, _ = trunk(x, context)
    weights = torch.randn(out.shape, generator=draws.generator(4), dtype=out.dtype)
    (out * weights).sum().backward()
    for parameter_name, parameter in trunk.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "settings"), cases())
def test_half_precision_stays_near(name: str, settings: dict[str, Any], dtype: torch.dtype) -> None:
    context = Context(positions())
    exact, _ = make_trunk(name, settings)(embeddings(), context)
    near, _ = make_trunk(name, settings, dtype=dtype)(embeddings().to(dtype), context)
    assert near.dtype == dtype
    limit = 1e-4 if dtype == torch.float32 else 0.12
    assert ((near.double() - exact).norm() / exact.norm()).item() < limit


@pytest.mark.parametrize(("name", "settings"), cases())
def test_images_too(name: str, settings: dict[str, Any]) -> None:
    trunk = make_trunk(name, settings, axes=2)
    special = torch.arange(TOKENS) == 0
    where = Positions(positions(axes=2).coordinates, special)
    out, _ = trunk(embeddings(), Context(where))
    assert out.shape == (BATCH, TOKENS, trunk.output_width)
    one, _ = trunk(embeddings(tokens=1), Context(Positions(where.coordinates[:1], special[:1])))
    assert torch.isfinite(one).all()


@pytest.mark.parametrize(("name", "settings"), cases())
def test_start_is_reproducible_and_shared_parts_are_equal(name: str, settings: dict[str, Any]) -> None:
    first, second = make_trunk(name, settings), make_trunk(name, settings)
    for (key, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), key
    softmax = dict(make_trunk("softmax", {}).named_parameters())
    for key, parameter in first.named_parameters():
        if key in softmax and softmax[key].shape == parameter.shape:
            assert torch.equal(parameter, softmax[key]), key


@pytest.mark.parametrize(("name", "settings"), cases())
def test_closed_form_cost_grows_with_tokens(name: str, settings: dict[str, Any]) -> None:
    trunk = make_trunk(name, settings)
    small, large = trunk.flops(10), trunk.flops(20)
    assert isinstance(small, int)
    assert 2 * small <= large < 4 * small  # the first is equal where no pairs are compared


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_compiles_into_one_graph(name: str) -> None:
    """Value checks are off inside the compiler; `ode` and `calibrate` are excepted. Two layers hand a state on; a third only takes longer."""
    trunk, context = make_trunk(name, {}, dtype=torch.float32, layers=2), Context(positions())
    x = embeddings().float()

    def features(tokens: Tensor) -> Tensor:
        return trunk(tokens, context)[0]

    compiled = torch.compile(features, fullgraph=True, backend="aot_eager")
    out = compiled(x)
    assert torch.allclose(out, features(x), atol=1e-5)
    out.sum().backward()
    torch._dynamo.reset()
