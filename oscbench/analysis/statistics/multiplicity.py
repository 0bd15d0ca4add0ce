"""Several comparisons at once: corrected p values, the intervals that belong to them, and what so many seeds can decide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oscbench.analysis.statistics.seeds import ALPHA


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction over all p values that exist; NaN stays NaN and does not count."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    ordered = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(ordered), 0, -1)
    adjusted[ordered] = np.minimum(np.maximum.accumulate(p[ordered] * factors), 1.0) if len(ordered) else []
    return [float(value) for value in adjusted]


def can_pass(seeds: Sequence[int], alpha: float = ALPHA) -> list[bool]:
    """Which of several sign-flip tests take part in the correction: those that so many seeds let pass it at all.

    A comparison of three seeds, p ≥ 1/4, can never be called different, so it need not cost the others of eight seeds anything. With K
    the smallest number such that no more than K of the tests could reach alpha/K, these are kept. The choice depends on the seeds
    alone and not on what they showed. Tarone, A modified Bonferroni method for discrete data, Biometrics 46 (1990).

    Args:
        seeds: Paired seeds of each comparison; a test needs two.
        alpha: Of the whole family.
    """
    smallest = np.array([2.0 / 2**n if n > 1 else np.inf for n in seeds])
    allowed = next(k for k in range(1, len(smallest) + 2) if (smallest <= alpha / k).sum() <= k)
    return [bool(value) for value in smallest <= alpha / allowed]


def seeds_needed(comparisons: int, alpha: float = ALPHA) -> int:
    """The fewest paired seeds with which a sign-flip test can reach `alpha` after Holm: m·2/2ⁿ ≤ alpha."""
    n = 1
    while max(comparisons, 1) * 2 / 2**n > alpha:
        n += 1
    return n


def simultaneous_level(comparisons: int, alpha: float = ALPHA) -> float:
    """Coverage that each of several intervals needs so that all of them together cover with 1 - alpha (Bonferroni).

    Holm's test has no two-sided intervals of its own that say more than on which side of 0 a difference lies, so these stand beside its p
    values: they hold whatever the dependence, and may still reach 0 where Holm's later steps reject.
    """
    return 1.0 - alpha / max(comparisons, 1)
