"""What the law tests need to know about each op: its inputs, its variants, and how its errors are judged.

Backends are not named here: every backend that `oscbench.ops.backends(op, "cpu")` lists is tested, and under `-m cuda` every backend that
there is on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import draws
import pytest
import torch
from torch import Tensor

from oscbench import ops
from oscbench.ops.dispatch import call_of
from oscbench.ops.op import OpSize, Sample

Inputs = dict[str, Tensor]

ON_CUDA = (
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
)
"""Of tests that want a GPU: `pytest -m cuda`."""


@dataclass(frozen=True)
class Size:
    """B, H, N, d of a test call."""

    batch: int = 2
    heads: int = 2
    tokens: int = 19
    width: int = 16

    def normal(self, generator: torch.Generator, width: int | None = None) -> Tensor:
        shape = (self.batch, self.heads, self.tokens, width or self.width)
        return torch.randn(shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Variant:
    """A set of options of an op."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    extra: Callable[[Size, torch.Generator], Inputs] = lambda size, generator: {}
    positions_enter: bool = False
    padding_law: bool = True


@dataclass(frozen=True)
class Case:
    """An op: how its inputs are drawn and what is allowed."""

    op: str
    draw: Callable[[Size, torch.Generator, float], Inputs]
    variants: list[Variant]
    float32: float = 1e-5
    gradient_float32: float = 1e-5
    bfloat16: float = 2e-2
    gradient_options: dict[str, Any] = field(default_factory=dict)
    floor: float = 0.0
    leading: str = "q"
    device: str = "cpu"

    def inputs(
        self,
        size: Size,
        variant: Variant,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        sharp: float = 1.0,
    ) -> Inputs:
        """Random inputs in a dtype; `sharp` multiplies the logits."""
        generator = draws.generator(seed)
        drawn = self.draw(size, generator, sharp) | variant.extra(size, generator)
        return {name: x.to(dtype) for name, x in drawn.items()}

    def run(self, inputs: Inputs, backend: str, **options: Any) -> Tensor:
        """The op on inputs, which go to the case's device and whose result comes back; two results are stacked."""
        given = {
            name: x.to(self.device) if isinstance(x, Tensor) else x for name, x in (inputs | options).items()
        }
        out = FUNCTIONS[self.op](**given, backend=backend)
        return (torch.cat(out, dim=-1) if isinstance(out, tuple) else out).cpu()

    def skip_unless_runs(self, backend: str, inputs: Inputs, **options: Any) -> None:
        """Ask dispatch, as the op does, whether a backend can run a call."""
        asked = DEFAULTS.get(self.op, {"is_causal": False}) | {"key_padding_mask": None} | options
        asked |= {name: inputs[name] for name in ("drift", "lag") if name in inputs}
        if "anchors" in inputs:
            asked["oscillator_width"] = inputs["anchors"].shape[-1]
        reason = (
            ops.op_of(self.op)
            .backends[backend]
            .why_not(call_of(inputs[self.leading].to(self.device), **asked))
        )
        if reason is not None:
            pytest.skip(reason)

    def error(self, out: Tensor, expected: Tensor, floor: float = 0.0) -> float:
        """‖out - ref‖ / max(‖ref‖, the op's floor · √count, floor) in float64; NaN stays NaN."""
        return relative_error(out, expected, max(floor, self.floor * math.sqrt(expected.numel())))

    def allowed(self, dtype: torch.dtype, *, gradient: bool = False) -> float:
        """The largest error of a dtype."""
        if dtype == torch.float64:
            return 1e-9 if gradient else 1e-10
        if dtype == torch.float32:
            return self.gradient_float32 if gradient else self.float32
        return self.bfloat16


def relative_error(found: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    """‖found - expected‖ / max(‖expected‖, floor) in float64, ‖found‖ where that is 0 / 0; NaN stays NaN."""
    found, expected = found.double(), expected.double()
    scale = max(float(expected.norm()), floor)
    return float((found - expected).norm()) / scale if scale else float(found.norm())


def gradient_floor(out: Tensor, weight: Tensor, x: Tensor, bound: float) -> float:
    """The norm below which a gradient of Σ weight·out to x is judged as rounding: 4 ε u / bound.

    Such a gradient is a sum of terms as large as u = ‖weight·out‖ / rms(x), by the chain rule. Every term is rounded to
    ε of itself, so however much of the sum cancels (at N = 1 all of it does in a softmax's queries and keys, and the true
    gradient is 0) a few ε u are left. Errors are held to `bound` of a gradient above the floor, and to 4 ε u below it.

    Args:
        out: what the op gave, with what the loss leaves out set to 0.
        weight: of the loss, shaped like out.
        x: what the gradient is taken to.
        bound: largest relative error allowed.
    """
    # Sums are in float32 at least, whatever the inputs are.
    rounding = torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps
    size = float(x.detach().double().square().mean().sqrt())
    unit = float((weight.double() * out.detach().double()).norm()) / size if size else 0.0
    return 4.0 * rounding * unit / bound


FUNCTIONS = {name: ops.function_of(name) for name in ops.op_names()}
"""Found once: a compiler that looks into a case would trace the search."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax_attention": {"is_causal": False},
    "kope_attention": {"is_causal": False, "rotate_values": True},
    "kuramoto_step": {"is_causal": False, "gamma": 0.5},
    "torus_attention": {"is_causal": True, "include_self": True, "drift": None, "lag": None},
    "selective_synchronization": {"is_causal": False, "top_k": None, "edge": 0.0},
    "fixed_query_attention": {
        "is_causal": False,
        "coupling": "softplus",
        "exponent": 1,
        "mask_readout": True,
    },
}


def _attention(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
    return {
        "q": size.normal(generator) * sharp,
        "k": size.normal(generator),
        "v": size.normal(generator),
    }


def _phases(size: Size, generator: torch.Generator) -> Inputs:
    angle = size.normal(generator, size.width // 2) * 2
    return {"cos": angle.cos(), "sin": angle.sin()}


def _kope(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
    return _attention(size, generator, sharp) | _phases(size, generator)


def _kuramoto(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
    drawn = _kope(size, generator, sharp)
    del drawn["v"]
    return drawn


def _torus(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
    gate = torch.rand(size.heads, 1, size.width, generator=generator, dtype=torch.float64) * 0.5 * sharp
    return {"theta": size.normal(generator) * 2, "gate": gate}


def _torus_position(size: Size, generator: torch.Generator) -> Inputs:
    drift = torch.rand(size.width, generator=generator, dtype=torch.float64)
    lag = torch.randn(size.heads, 1, size.width, generator=generator, dtype=torch.float64)
    return {"drift": drift, "lag": lag}


def _token_gate(size: Size, generator: torch.Generator) -> Inputs:
    return {"gate": size.normal(generator)}


def _synchronization(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
    # About half of the pairs lock when a component has this spread (design/mechanisms.md).
    spread = 0.45 / math.sqrt(size.width) * sharp
    return {
        "omega": size.normal(generator) * spread,
        "theta": size.normal(generator) * 0.5,
        "v": size.normal(generator),
        "coupling": torch.tensor(1.3, dtype=torch.float64),
        "alpha": torch.linspace(0.8, 1.4, size.heads, dtype=torch.float64),
    }


def _fixed_query(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
    anchors = torch.randn(size.heads, size.tokens, 6, generator=generator, dtype=torch.float64)
    return _attention(size, generator, sharp) | {"anchors": torch.nn.functional.normalize(anchors, dim=-1)}


CASES = {
    case.op: case
    for case in (
        Case("softmax_attention", _attention, [Variant("plain"), Variant("scaled", {"scale": 0.3})]),
        Case(
            "kope_attention",
            _kope,
            [Variant("plain"), Variant("rope", {"rotate_values": False})],
        ),
        Case("kuramoto_step", _kuramoto, [Variant("step", {"gamma": 0.5})]),
        Case(
            "torus_attention",
            _torus,
            [
                Variant("self"),
                Variant("others", {"include_self": False}),
                Variant("token_gate", {"include_self": False}, extra=_token_gate),
                Variant("position", {"include_self": False}, extra=_torus_position, positions_enter=True),
            ],
            floor=1e-4,
            leading="theta",
        ),
        Case(
            "selective_synchronization",
            _synchronization,
            [Variant("plain"), Variant("top_k", {"top_k": 3}), Variant("bounded", {"edge": 0.1})],
            float32=2e-5,
            gradient_float32=1e-4,
            gradient_options={"edge": 0.1},
            leading="omega",
        ),
        Case(
            "fixed_query_attention",
            _fixed_query,
            [
                Variant("softplus"),
                Variant("relu", {"coupling": "relu"}),
                Variant("elu_squared", {"coupling": "elu", "exponent": 2}),
                Variant("fourth_power", {"exponent": 4}),
                Variant("published", {"mask_readout": False}, padding_law=False),
            ],
        ),
    )
}


def _sampled(op_name: str) -> Case:
    """The case of an op that has none of its own: the inputs that its file gives as a sample."""
    op = ops.op_of(op_name)

    def sample(size: Size, generator: torch.Generator) -> Sample:
        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        return op.sampled(OpSize(size.batch, size.heads, size.tokens, size.width, False), draw)

    def inputs(size: Size, generator: torch.Generator, sharp: float) -> Inputs:
        drawn = sample(size, generator)
        tensors = drawn.leaves | {k: v for k, v in drawn.options.items() if isinstance(v, Tensor)}
        return tensors | {leading: tensors[leading] * sharp}

    found = sample(Size(), draws.generator(0))
    leading = next(iter(found.leaves))
    options = {key: value for key, value in found.options.items() if not isinstance(value, Tensor)}
    return Case(op_name, inputs, [Variant("sample", options)], leading=leading)


CASES |= {name: _sampled(name) for name in ops.op_names() if name not in CASES}


def grid(ways: tuple[bool, ...] = (False, True)) -> list[Any]:
    """Every op, backend, variant, and causal or not: those that run on the CPU, and on a GPU all there are."""
    return [
        pytest.param(
            replace(case, device=device),
            backend,
            variant,
            way,
            id=f"{op}-{backend}-{variant.name}-{'causal' if way else 'all'}{'-cuda' if marks else ''}",
            marks=marks,
        )
        for device, marks in (("cpu", ()), ("cuda", ON_CUDA))
        for op, case in CASES.items()
        for backend in (ops.backends(op, "cpu") if device == "cpu" else ops.op_of(op).backends)
        for variant in case.variants
        for way in ways
    ]
