"""The cases of a GPU session: each op with inputs that stand for its use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from oscbench import ops
from oscbench.ops.synchronization.order import order_parameter


@dataclass(frozen=True)
class Case:
    """An op with inputs that stand for its use: names, tensors, and how it is called."""

    op: str
    label: str
    make: Callable[[int, int, int, int, torch.Generator], dict[str, Tensor]]
    call: Callable[[dict[str, Tensor], dict[str, Any]], Any]
    causal: tuple[bool, ...] = (False, True)


def slug(case: Case) -> str:
    """A case's name on the command line and in file names."""
    return case.label.lower().replace(",", "").replace(" ", "-")


def _normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _qkv(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    return {name: _normal(b, h, n, d, generator=g) for name in ("q", "k", "v")}


def _kope(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    angle = 3 * _normal(b, h, n, d // 2, generator=g)
    return {**_qkv(b, h, n, d, g), "cos": angle.cos(), "sin": angle.sin()}


def _torus(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    # Width 2n is the matmul width, so n = d/2 makes the same product as softmax attention of d channels.
    return {"theta": 3 * _normal(b, h, n, d // 2, generator=g), "gate": _normal(h, 1, d // 2, generator=g)}


def _ssa(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    # Half of all pairs lock when a component of omega has this spread (mechanisms.md).
    spread = 0.64 / (2 * d) ** 0.5
    return {
        "omega": spread * _normal(b, h, n, d, generator=g),
        "theta": 0.3 * _normal(b, h, n, d, generator=g),
        "v": _normal(b, h, n, d, generator=g),
    }


SSA_LAW = {"coupling": 1.3133, "alpha": 1.3133, "edge": 0.05}
OFF_THE_EDGE = 2e-5
"""S² of no pair is nearer to 0 in what gradients are checked with; its rounding is some 1e-6 in float32."""


def off_the_edge(x: dict[str, Tensor], g: torch.Generator) -> dict[str, Tensor]:
    """The same, rounded to bfloat16, with other frequencies for tokens that all but lock with another, causal or not.

    A pair that rounding moves over its locking edge gains or loses a slope of 1/(2 edge) at once: any two correct implementations differ
    there, so that a comparison would say which side rounding fell on and no more.
    """
    x = {name: value.bfloat16().double() for name, value in x.items()}
    omega, spread = x["omega"].clone(), x["omega"].std()
    orders = [order_parameter(x["theta"], is_causal=causal) for causal in (False, True)]
    while True:
        gap2 = torch.cdist(omega, omega, compute_mode="use_mm_for_euclid_dist") ** 2
        decay = torch.exp(-2 * SSA_LAW["alpha"] * gap2)
        squares = [decay - gap2 / (SSA_LAW["coupling"] * order)[..., None] ** 2 for order in orders]
        near = torch.stack([square.abs() < OFF_THE_EDGE for square in squares]).any(0).any(-1)
        if not near.any():
            return {**x, "omega": omega}
        drawn = spread * _normal(*omega.shape, generator=g)
        omega = torch.where(near[..., None], drawn.bfloat16().double(), omega)


def _fixed(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    return {**_qkv(b, h, n, d, g), "anchors": normalize(_normal(h, n, 8, generator=g), dim=-1)}


def _fixed_case(coupling: str) -> Case:
    def call(x: dict[str, Tensor], o: dict[str, Any]) -> Any:
        return ops.fixed_query_attention(
            x["q"], x["k"], x["v"], x["anchors"], coupling=coupling, validate=False if _fast(o) else None, **o
        )

    return Case("fixed_query_attention", f"fixed query, {coupling}", _fixed, call)


def _fast(options: dict[str, Any]) -> bool:
    return options.get("backend") not in (None, "auto", "reference")


CASES = [
    Case(
        "softmax_attention", "softmax", _qkv, lambda x, o: ops.softmax_attention(x["q"], x["k"], x["v"], **o)
    ),
    Case(
        "kope_attention",
        "KoPE attention",
        _kope,
        lambda x, o: ops.kope_attention(x["q"], x["k"], x["v"], x["cos"], x["sin"], **o),
    ),
    Case(
        "kuramoto_step",
        "Kuramoto step",
        _kope,
        lambda x, o: torch.cat(
            ops.kuramoto_step(x["q"], x["k"], x["cos"], x["sin"], gamma=0.05, **o), dim=-1
        ),
    ),
    Case(
        "torus_attention",
        "torus, others only",
        _torus,
        lambda x, o: ops.torus_attention(x["theta"], x["gate"], include_self=False, **o),
    ),
    Case(
        "torus_attention",
        "torus, with self",
        _torus,
        lambda x, o: ops.torus_attention(x["theta"], x["gate"], **o),
    ),
    Case(
        "selective_synchronization",
        "SSA, half locked",
        _ssa,
        lambda x, o: ops.selective_synchronization(x["omega"], x["theta"], x["v"], **SSA_LAW, **o),
    ),
    *(_fixed_case(coupling) for coupling in ("softplus", "elu", "relu")),
]
