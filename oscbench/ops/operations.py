"""Operations by kind: what sines, exponentials and divisions add to the matrix products that FLOPs count.

The conventions are those of the operation accounting in arXiv 2606.12059 (Table 7), carried over to every op
so that all are counted alike: a product in a matrix multiplication is one multiply-add; a sum or a norm over
a row is one reduction and what divides by it one division, whatever the row's length; scaling, masking,
subtracting the row's largest score and adding a residual count nothing. The matrix products are those of the
cheapest exact algorithm, so `multiply_adds` is half of the op's FLOPs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from oscbench.ops.flops import attention_flops

Implementation = Literal["digital", "hybrid", "physical"]
IMPLEMENTATIONS: tuple[Implementation, ...] = ("digital", "hybrid", "physical")


@dataclass(frozen=True)
class Operations:
    """Counts by kind.

    Attributes:
        multiply_adds: in matrix products.
        elementwise: other multiply-adds and comparisons, as in rotations.
        exponentials: exponentials, logistic and error functions.
        trigonometric: sines and cosines.
        roots: square roots that are not part of a norm.
        divisions: by a row's sum or norm.
        reductions: sums and norms over a row.
    """

    multiply_adds: int = 0
    elementwise: int = 0
    exponentials: int = 0
    trigonometric: int = 0
    roots: int = 0
    divisions: int = 0
    reductions: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(**{kind: getattr(self, kind) + getattr(other, kind) for kind in KINDS})

    def __mul__(self, times: int) -> Operations:
        return Operations(**{kind: getattr(self, kind) * times for kind in KINDS})

    __rmul__ = __mul__

    def as_dict(self) -> dict[str, int]:
        """Counts by kind, as plain values."""
        return {kind: getattr(self, kind) for kind in KINDS}

    def equivalents(self, weights: Mapping[str, float] | None = None) -> float:
        """Multiply-add equivalents Σ weight · count; without a weight given, exp counts 10 and the others 1.

        Raises:
            ValueError: a weight for a kind that there is none of.
        """
        given = dict(weights or {})
        unknown = sorted(set(given) - set(KINDS))
        if unknown:
            raise ValueError(f'no kind of operation "{unknown[0]}" (there are: {", ".join(KINDS)})')
        counts = self.as_dict()
        return float(sum(given.get(kind, DEFAULT_WEIGHTS[kind]) * counts[kind] for kind in KINDS))


KINDS = tuple(field.name for field in fields(Operations))
DEFAULT_WEIGHTS: dict[str, float] = {kind: 10.0 if kind == "exponentials" else 1.0 for kind in KINDS}


def linear_operations(tokens: int, inputs: int, outputs: int) -> Operations:
    """A linear map of so many tokens; biases are not counted."""
    return Operations(multiply_adds=tokens * inputs * outputs)


def softmax_stage(heads: int, tokens: int) -> Operations:
    """What lies between scores and values: an exponential a pair, a sum and a division a row."""
    rows = heads * tokens
    return Operations(exponentials=rows * tokens, reductions=rows, divisions=rows)


def fixed_query_stage(
    heads: int, tokens: int, oscillator_width: int, coupling: str, implementation: Implementation
) -> Operations:
    """What lies between scores and values of fixed-query attention, read out literally (N² products).

    `digital` computes all of it: coupling, pull, norm, read-out, row sum. `hybrid` leaves pull and settling
    to physics, `physical` the read-out too; coupling and row sum stay. A ReLU is one comparison a pair,
    softplus and ELU one exponential.
    """
    rows, pairs = heads * tokens, heads * tokens * tokens
    smooth = coupling in ("softplus", "elu")
    coupled = Operations(exponentials=pairs) if smooth else Operations(elementwise=pairs)
    row_sum = Operations(reductions=rows, divisions=rows)
    products = Operations(multiply_adds=pairs * oscillator_width)
    if implementation == "physical":
        return coupled + row_sum
    if implementation == "hybrid":
        return coupled + products + row_sum
    return coupled + 2 * products + 2 * row_sum


def attention_operations(
    op_name: str,
    batch: int,
    heads: int,
    tokens: int,
    width: int,
    oscillator_width: int | None = None,
    exponent: int = 1,
    coupling: str = "softplus",
    rotated: int = 4,
) -> Operations:
    """Operations of one forward call of an op; B, H, N, d as in `oscbench.ops.flops.attention_flops`.

    Args:
        op_name: one of `oscbench.ops.op_names()`.
        batch: B.
        heads: H.
        tokens: N.
        width: d, channels per head; for torus n, angles per head.
        oscillator_width: d_osc; fixed query only.
        exponent: p of the fixed-query read-out.
        coupling: of fixed query.
        rotated: how many of q, k, v and the output KoPE attention turns: 4, or 2 without values.

    Raises:
        ValueError: no such op, or fixed query without `oscillator_width`.
    """
    flops = attention_flops(
        op_name, 1, heads, tokens, width, oscillator_width=oscillator_width, exponent=exponent
    )
    products = Operations(multiply_adds=flops // 2)
    channels = heads * tokens * width
    if op_name == "softmax_attention":
        one = products + softmax_stage(heads, tokens)
    elif op_name == "kope_attention":
        # A turned channel is c·x ± s·y: two multiply-adds.
        one = products + softmax_stage(heads, tokens) + Operations(elementwise=2 * rotated * channels)
    elif op_name == "kuramoto_step":
        one = products + softmax_stage(heads, tokens) + _kuramoto_update(channels // 2)
    elif op_name == "torus_attention":
        one = products + softmax_stage(heads, tokens) + _torus_angles(channels)
    elif op_name == "selective_synchronization":
        one = products + _synchronization_stage(heads, tokens, width)
    else:
        one = products + _settle_stage(heads, tokens, coupling)
    return batch * one


def _kuramoto_update(oscillators: int) -> Operations:
    """For u = (cos, sin): d·u, d - (d·u)u, u + γt, ‖u‖² and u/‖u‖, two multiply-adds each."""
    return Operations(elementwise=10 * oscillators, reductions=oscillators, divisions=oscillators)


def _torus_angles(angles: int) -> Operations:
    """Sine and cosine of an angle; drift and lag turn them (4 each), gate and tangent scale (2 each)."""
    return Operations(trigonometric=2 * angles, elementwise=12 * angles)


def _synchronization_stage(heads: int, tokens: int, width: int) -> Operations:
    """A pair's S² = exp(-2αΔ²) - Δ²/(Kr)² with Δ² from the products, its root, and the order parameter."""
    rows, pairs, phases = heads * tokens, heads * tokens * tokens, heads * tokens * width
    # Δ² takes two additions beside the product, S² a multiply-add and a comparison.
    stage = Operations(elementwise=4 * pairs, exponentials=pairs, roots=pairs)
    norms_and_sums = Operations(reductions=2 * rows, divisions=rows)
    # Mean cosine, mean sine and their length, a channel.
    order = Operations(trigonometric=2 * phases, reductions=3 * heads * width)
    return stage + norms_and_sums + order


def _settle_stage(heads: int, tokens: int, coupling: str) -> Operations:
    """Coupling a pair; norm of the pull and sum of the read-out a row (their products are in the FLOPs)."""
    rows, pairs = heads * tokens, heads * tokens * tokens
    coupled = Operations(elementwise=pairs) if coupling == "relu" else Operations(exponentials=pairs)
    return coupled + Operations(reductions=2 * rows, divisions=2 * rows)


def mixing_operations(heads: int, tokens: int, pairs: int) -> Operations:
    """Phase mixing by a (pairs × pairs) matrix a head, and ‖u‖² and u/‖u‖ of each oscillator."""
    oscillators = heads * tokens * pairs
    products = 2 * linear_operations(tokens * heads, pairs, pairs)
    return products + Operations(elementwise=4 * oscillators, reductions=oscillators, divisions=oscillators)
