"""What every mechanism promises, as checks that anybody can run on one: `oscbench check`, and the tests over the catalog.

Each looks at a small trunk in float64, untrained, with two heads, and gives a sentence on what it found broken, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from oscbench.errors import kind_and_line
from oscbench.mechanisms import Context, Mechanism, Positions, Shape
from oscbench.mechanisms.softmax import Softmax
from oscbench.models.trunk import Trunk, initialise
from oscbench.ops.dispatch import observe_choices
from oscbench.ops.flops import flop_counter

WIDTH, HEADS, LAYERS, TOKENS, BATCH, HIDDEN = 16, 2, 3, 9, 2, 24
EXACT = 1e-9
SHARED_STEP = 2e-2
"""How far an adaptive solver, whose steps all tokens share, lets one token feel another."""
PRECISIONS = {torch.float32: 1e-4, torch.bfloat16: 0.12}
"""How far from float64 the features may be, over their norm."""


@dataclass(frozen=True)
class Case:
    """A mechanism under settings.

    Attributes:
        mechanism: its class.
        settings: beside its defaults.
    """

    mechanism: type[Mechanism]
    settings: Mapping[str, Any]

    def trunk(self, *, axes: int = 1, dtype: torch.dtype = torch.float64, layers: int = LAYERS) -> Trunk:
        """Some blocks of it, started as a model starts them."""
        generator = torch.Generator().manual_seed(5)
        shape = Shape(WIDTH, HEADS, layers, 2 * TOKENS, axes, generator)
        made = self.mechanism(self.mechanism.Config.model_validate(dict(self.settings)), shape)
        trunk = Trunk(made, hidden=HIDDEN)
        initialise(trunk, seed=3)
        return trunk.to(dtype)


@dataclass(frozen=True)
class Law:
    """A promise.

    Attributes:
        name: in a word or two.
        says: the promise.
        check: what is broken of it, or None.
    """

    name: str
    says: str
    check: Callable[[Case], str | None]


def positions(axes: int = 1, tokens: int = TOKENS) -> Positions:
    """Places of so many tokens, none of them special."""
    coordinates = [torch.arange(tokens, dtype=torch.float64) // (1 + 2 * axis) for axis in range(axes)]
    return Positions(torch.stack(coordinates, dim=-1), torch.zeros(tokens, dtype=torch.bool))


def embeddings(tokens: int = TOKENS, seed: int = 0) -> Tensor:
    """Tokens (B, N, D) drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, tokens, WIDTH, generator=generator, dtype=torch.float64)


def _tolerance(trunk: Trunk) -> float:
    config = trunk.mechanism.config
    adaptive = trunk.mechanism.traits.iterative and getattr(config, "solver", "") == "dopri5"
    return SHARED_STEP if adaptive else EXACT


def _causal(case: Case) -> str | None:
    trunk = case.trunk()
    if not trunk.mechanism.traits.causal:
        return "says of itself that it cannot run causally (`Traits(causal=False)`)"
    context, x = Context(positions(), is_causal=True), embeddings()
    trunk.calibrate(x, context)
    before, _ = trunk(x, context)
    for changed in (1, TOKENS - 1):
        other = x.clone()
        other[:, changed:] += embeddings(seed=1)[:, changed:]
        after, _ = trunk(other, context)
        by = (after - before)[:, :changed].abs().max().item()
        if not by <= _tolerance(trunk):
            return f"tokens before token {changed} changed by {by:.2g} when it and what follows did: it hears the future"
        if torch.allclose(before[:, changed:], after[:, changed:], atol=1e-3):
            return f"tokens from {changed} on are the same whatever they hold"
    return None


def _padded(case: Case) -> str | None:
    trunk, x, real = case.trunk(), embeddings(), TOKENS - 4
    mask = torch.zeros(BATCH, TOKENS, dtype=torch.bool)
    mask[:, real:] = True
    for is_causal in (False, True) if trunk.mechanism.traits.causal else (False,):
        how = "causally" if is_causal else "not causally"
        padded, _ = trunk(x, Context(positions(), is_causal=is_causal, key_padding_mask=mask))
        cut, _ = trunk(x[:, :real], Context(positions(tokens=real), is_causal=is_causal))
        by = (padded[:, :real] - cut).abs().max().item()
        if not by <= _tolerance(trunk):
            return f"{how}, real tokens change by {by:.2g} with padding behind them"
        nobody = Context(positions(), is_causal=is_causal, key_padding_mask=torch.ones_like(mask))
        if not torch.isfinite(trunk(x, nobody)[0]).all():
            return f"{how}, what comes out is not finite where all tokens are padding"
    return None


def _ordered(case: Case) -> str | None:
    trunk, context, x = case.trunk(), Context(positions()), embeddings()
    trunk.calibrate(x, context)
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(2))
    plain, _ = trunk(x, context)
    permuted, _ = trunk(x[:, order], context)
    sensitive = not torch.allclose(plain[:, order], permuted, atol=EXACT)
    declared = trunk.mechanism.traits.order_sensitive
    if sensitive == declared:
        return None
    does = "tells order apart" if sensitive else "does not tell order apart"
    return f"it {does} by itself, and its traits say order_sensitive={declared}"


def _looked_at(case: Case) -> str | None:
    trunk, context, x = case.trunk(), Context(positions()), embeddings()
    plain, nothing = trunk(x, context)
    looked, found = trunk(x, replace(context, diagnostics=True))
    if nothing:
        return "gives diagnostics that nobody asked for"
    if len(found) != LAYERS:
        return f"gives diagnostics of {len(found)} of {LAYERS} layers"
    if not torch.equal(plain, looked):
        off = (plain - looked).abs().max().item()
        return (
            f"gives another result when diagnostics are asked for (differs by up to {off:.2g}; the same bits are wanted: work out the update "
            "as ever, and weights beside it)"
        )
    wanted = (BATCH, HEADS, TOKENS, TOKENS)
    for layer in found:
        if "attention" not in layer:
            return "gives no `attention` among its diagnostics"
        weights = layer["attention"]
        if weights.shape != wanted:
            return f"its attention is {tuple(weights.shape)}; wanted: (B, H, N, N), here {wanted}"
        if not (weights >= -1e-12).all():
            return f"its attention has weights below 0, down to {weights.min().item():.2g}"
        if not torch.allclose(weights.sum(-1), torch.ones(()).double(), atol=1e-6):
            return f"rows of its attention add up to {weights.sum(-1).min().item():.4g} to {weights.sum(-1).max().item():.4g}, not to 1"
        if "phases" in layer and layer["phases"].shape[:3] != wanted[:3]:
            return f"its phases are {tuple(layer['phases'].shape)}; wanted: (B, H, N, …), here {wanted[:3]} and m"
    return None


def _learns(case: Case) -> str | None:
    trunk, context, x = case.trunk(), Context(positions()), embeddings()
    trunk.calibrate(x, context)
    out, _ = trunk(x, context)
    (
        out * torch.randn(out.shape, generator=torch.Generator().manual_seed(4), dtype=out.dtype)
    ).sum().backward()
    for name, parameter in trunk.named_parameters():
        if parameter.grad is None:
            return f"{name} gets no gradient: nothing reads it"
        if not torch.isfinite(parameter.grad).all():
            return f"{name} gets a gradient that is not finite"
    return None


def _rounds(case: Case) -> str | None:
    context = Context(positions())
    exact, _ = case.trunk()(embeddings(), context)
    for dtype, limit in PRECISIONS.items():
        near, _ = case.trunk(dtype=dtype)(embeddings().to(dtype), context)
        if near.dtype != dtype:
            return f"of {dtype} it makes {near.dtype}"
        off = ((near.double() - exact).norm() / exact.norm()).item()
        if not off < limit:
            return f"in {dtype} it is {off:.2g} of its norm from float64; at most {limit:g}"
    return None


def _sees(case: Case) -> str | None:
    trunk, special = case.trunk(axes=2), torch.arange(TOKENS) == 0
    where = Positions(positions(axes=2).coordinates, special)
    out, _ = trunk(embeddings(), Context(where))
    if out.shape != (wanted := (BATCH, TOKENS, trunk.output_width)):
        return f"of an image's patches it makes {tuple(out.shape)}; wanted: {wanted}"
    one, _ = trunk(embeddings(tokens=1), Context(Positions(where.coordinates[:1], special[:1])))
    return None if torch.isfinite(one).all() else "what comes out of a single token is not finite"


def _starts(case: Case) -> str | None:
    first, second = case.trunk().state_dict(), case.trunk().state_dict()
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            return f"{name} starts otherwise each time: draw it from shape.generator"
    softmax: dict[str, nn.Parameter] = dict(Case(Softmax, {}).trunk().named_parameters())
    for name, value in first.items():
        same = softmax.get(name)
        if same is not None and same.shape == value.shape and not torch.equal(same, value):
            return f"{name} starts otherwise than softmax's, which has one of that name and shape"
    return None


def _grows(case: Case) -> str | None:
    trunk = case.trunk()
    small, large = trunk.flops(10), trunk.flops(20)
    if not isinstance(small, int):
        return f"its FLOPs are {small!r}; wanted: a whole number"
    if not 2 * small <= large < 4 * small:  # the first is equal where no pairs are compared
        return f"twice the tokens cost {large / small:.3g} times the FLOPs; wanted: 2 to 4 times"
    return None


def _counts(case: Case) -> str | None:
    """Where an op ran only as its literal reference, what it did is not the cheapest exact algorithm, and nothing is held to it."""
    trunk, context = case.trunk(dtype=torch.float32), Context(positions())
    x = embeddings().float()
    if trunk.mechanism.traits.iterative:  # as often as its solver asks
        return None
    with observe_choices() as ran, flop_counter() as counter:
        trunk(x, context)
    if any("reference" in names for names in ran.values()):
        return None
    seen, said = counter.get_total_flops(), BATCH * trunk.flops(TOKENS)
    if seen == said:
        return None
    return (
        f"PyTorch counts {seen / BATCH:,.0f} FLOPs a sample in {LAYERS} blocks of {TOKENS} tokens, and `operations` says {said / BATCH:,.0f} "
        f"({seen / said - 1:+.1%})"
    )


LAWS = (
    Law("causal", "a token hears nothing that comes after it", _causal),
    Law("padding", "padding changes no real token", _padded),
    Law("order", "it tells order apart exactly where its traits say so", _ordered),
    Law("diagnostics", "attention is rows of weights, and looking changes nothing", _looked_at),
    Law("gradients", "every parameter gets a finite gradient", _learns),
    Law("precision", "float32 and bfloat16 stay near float64", _rounds),
    Law("images", "places may have two axes, and a token may be alone", _sees),
    Law("start", "start values repeat, and those that softmax has too are its", _starts),
    Law("cost", "FLOPs grow with tokens, linearly to quadratically", _grows),
    Law(
        "flops", "declared FLOPs are what PyTorch counts, unless a solver or a literal reference ran", _counts
    ),
)


def broken(mechanism: type[Mechanism], settings: Mapping[str, Any]) -> list[str | None]:
    """What a mechanism under settings breaks of each of `LAWS`; what raises is broken too, and says its last line."""
    case, found = Case(mechanism, settings), []
    for law in LAWS:
        try:
            found.append(law.check(case))
        except Exception as error:  # what stands in somebody's file
            found.append(kind_and_line(error))
    return found
