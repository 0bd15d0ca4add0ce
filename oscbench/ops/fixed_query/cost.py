"""What fixed-query attention costs by closed form: as computed here, and as it could be built with physics."""

from __future__ import annotations

from math import comb
from typing import Literal

from oscbench.ops.operations import Operations, pair_products

Implementation = Literal["digital", "hybrid", "physical"]
IMPLEMENTATIONS: tuple[Implementation, ...] = ("digital", "hybrid", "physical")


def counted(
    heads: int,
    tokens: int,
    width: int,
    *,
    value_width: int | None = None,
    oscillator_width: int | None = None,
    exponent: int = 1,
    coupling: str = "softplus",
    clamped: bool = False,
) -> Operations:
    """Operations of one sequence: scores, pull, and the cheapest exact read-out.

    Scores and pull are 2HN²(d + d_osc) FLOPs. The read-out is 4HN·F(d_v + 1) where F = C(d_osc + p, p) is the number of monomials
    in the polynomial (1 + x·r)^p, d_osc + 1 for p = 1. For p = 2 and 4 the quadratic read-out 2HN²(d_osc + d_v + 1) is taken
    instead where it is cheaper. Where 1 + x·r can be negative it is cut off at 0, which no polynomial is: only the quadratic one is exact.

    Args:
        heads: H.
        tokens: N.
        width: d.
        value_width: d_v, `width` by default.
        oscillator_width: d_osc, which is required.
        exponent: p of the read-out.
        coupling: what makes scores positive: a comparison a pair for `relu`, else an exponential.
        clamped: whether anchors are longer than 1, so that the read-out may cut off.

    Raises:
        ValueError: no `oscillator_width`.
    """
    if oscillator_width is None:
        raise ValueError("fixed_query_attention: FLOPs need oscillator_width, the dimension of the anchors")
    value_width = width if value_width is None else value_width
    rows, pairs = heads * tokens, heads * tokens * tokens
    linear = 2 * rows * comb(oscillator_width + exponent, exponent) * (value_width + 1)
    # Of p = 2 and 4 the row's sum is a column of the product, but in the literal form, which alone cuts off.
    quadratic = pairs * (oscillator_width + value_width + (exponent > 1 and not clamped))
    read_out = Operations(multiply_adds=linear)
    if clamped or (exponent > 1 and quadratic < linear):
        # A comparison a pair, and a product for each doubling of the power: 1, 2 and 3 for p = 1, 2 and 4.
        read_out = Operations(multiply_adds=quadratic, elementwise=pairs * exponent.bit_length())
    products = pair_products(heads, tokens, width + oscillator_width) + read_out
    coupled = Operations(elementwise=pairs) if coupling == "relu" else Operations(exponentials=pairs)
    # Norm of the pull and sum of the read-out a row.
    return products + coupled + Operations(reductions=2 * rows, divisions=2 * rows)


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
