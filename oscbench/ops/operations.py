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
from typing import Any


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


def attention_operations(
    op_name: str, batch: int, heads: int, tokens: int, width: int, **sizes: Any
) -> Operations:
    """Operations of one forward call of an op; B, H, N, d and other sizes as in `oscbench.ops.flops.attention_flops`.

    Raises:
        ValueError: no such op, or a size that its cost depends on is missing.
    """
    from oscbench import ops

    return ops.op_of(op_name).operations(batch, heads, tokens, width, **sizes)


def pair_products(heads: int, tokens: int, channels: int) -> Operations:
    """Products of matrices over all pairs of tokens, so many channels a pair and head: scores d, values d_v."""
    return Operations(multiply_adds=heads * tokens * tokens * channels)
