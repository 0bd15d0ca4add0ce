"""Ranks over several tasks, with the uncertainty that the seeds leave in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from oscbench.reporting.frame import headline
from oscbench.reporting.sections import Section
from oscbench.reporting.statistics import LEVEL, Floats, Interval
from oscbench.reporting.tables import Cell, Column, Table

RESAMPLES = 2000


def leaderboard_table(sections: Sequence[Section]) -> Table | None:
    """Mean rank over the tasks of every mechanism that finished in all of them; None with fewer than two tasks or mechanisms.

    Ranks come from the means over seeds, 1 is best, ties share. A bootstrap draws seeds anew in each task (the same draw for all
    mechanisms, as far as they share seeds) and ranks again. The tasks are taken as given: it says nothing about other tasks.
    """
    ranked = [s for s in sections if s.direction in ("higher", "lower") and not s.split and s.standings]
    if len({s.task for s in ranked}) < 2:
        return None
    finished = [{t.name for t in s.standings if t.finished} for s in ranked]
    names = sorted(set.intersection(*finished))
    if len(names) < 2:
        return None
    rng = np.random.default_rng(0)
    points = np.array([_ranks(s, names, None)[0] for s in ranked])
    draws = np.array([_ranks(s, names, rng) for s in ranked])
    absent = sorted(set.union(*finished) - set(names))
    return _table(ranked, names, absent, points, draws)


def _ranks(section: Section, names: Sequence[str], rng: np.random.Generator | None) -> Floats:
    """[draws, mechanisms] ranks of the means; one row, of the seeds as they are, without a generator."""
    cells = {
        t.name: {r.seed: v for r in t.finished if math.isfinite(v := headline(r))} for t in section.standings
    }
    seeds = sorted({seed for name in names for seed in cells[name]})
    # Seeds are drawn by a weight each, so that a mechanism without a seed simply has no weight there.
    weights = (
        np.ones((1, len(seeds)))
        if rng is None
        else rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), RESAMPLES)
    )
    means = np.full((len(weights), len(names)), np.nan)
    for column, name in enumerate(names):
        values = np.array([cells[name].get(seed, 0.0) for seed in seeds])
        there = weights * np.array([seed in cells[name] for seed in seeds])
        total = there.sum(axis=1)
        fallback = float(np.mean(list(cells[name].values())))
        means[:, column] = np.where(total > 0, there @ values / np.maximum(total, 1), fallback)
    return np.asarray(
        stats.rankdata(means if section.direction == "lower" else -means, axis=1), dtype=np.float64
    )


def _interval(draws: Floats) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _table(
    sections: Sequence[Section], names: Sequence[str], absent: Sequence[str], points: Floats, draws: Floats
) -> Table:
    """`points` [tasks, mechanisms], `draws` [tasks, draws, mechanisms]."""
    overall = draws.mean(axis=0)
    first = stats.rankdata(overall, axis=1, method="min") == 1
    order = sorted(range(len(names)), key=lambda i: (points[:, i].mean(), names[i]))
    columns = (
        Column("Mechanism", "left"),
        Column("Mean rank [95 %]"),
        Column("P(first)"),
        *(Column(s.title) for s in sections),
    )
    rows, raw = [], []
    for i in order:
        whole = [(float(points[:, i].mean()), _interval(overall[:, i]))]
        each = [(float(points[t, i]), _interval(draws[t, :, i])) for t in range(len(sections))]
        chance = float((first[:, i] / first.sum(axis=1)).mean())
        shown = [Cell(f"{rank:.3g} [{ends.low:.3g}, {ends.high:.3g}]", rank) for rank, ends in whole + each]
        rows.append((Cell(names[i]), shown[0], Cell(f"{chance:.2f}", chance), *shown[1:]))
        raw += [
            {"mechanism": names[i], "over": over, "rank": rank, "low": ends.low, "high": ends.high}
            for over, (rank, ends) in zip(["all", *(s.title for s in sections)], whole + each, strict=True)
        ]
    caption = (
        f"Ranks over {len(sections)} tasks, 1 is best; intervals and P(first) from {RESAMPLES} bootstrap draws of the seeds inside each "
        "task, so they say nothing about other tasks"
    )
    fewest = min(len({r.seed for t in s.standings for r in t.finished}) for s in sections)
    if fewest < 10:
        caption += f"; with {fewest} seeds such intervals are too narrow"
    if absent:
        caption += f". Not in every task, so not ranked: {', '.join(absent)}"
    return Table("leaderboard", caption, columns, tuple(rows), tuple(raw))
