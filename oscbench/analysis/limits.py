"""What a verdict takes; loaded before a run starts, so without SciPy."""

from __future__ import annotations

from oscbench import words

VERDICT_SEEDS = 8
"""Paired seeds that a declared comparison needs for a verdict, and any to be called equivalent; fewer give estimates."""
VERDICT_COMPARISONS = 5
"""Comparisons that one family may declare where verdicts are wanted: with more of them eight seeds can decide nothing."""


def no_verdict(comparisons: int, seeds: int) -> list[str]:
    """Why so many declared comparisons of so many paired seeds each give estimates only; nothing where they can give verdicts."""
    many = f"{comparisons} comparisons are declared, and a verdict takes at most {VERDICT_COMPARISONS}"
    few = f"{words.many(seeds, 'paired seed')}, and a verdict takes at least {VERDICT_SEEDS}"
    return [many] * (comparisons > VERDICT_COMPARISONS) + [few] * (seeds < VERDICT_SEEDS)
