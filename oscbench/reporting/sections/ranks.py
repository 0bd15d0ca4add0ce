"""Ranks over several tasks as tables, with who is left out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, anchor, measure_label, median_of, speed_measure
from oscbench.analysis.ranking import RESAMPLES, Placed, Ranking, chances, draws, placed, rankings
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import FRONT, Block, Folded
from oscbench.reporting.page.scores import score_axis, score_cell
from oscbench.reporting.page.table import Bar, Cell, Reads, Table, number_cell, sorted_by
from oscbench.roles import basis


def leaderboards(study: Study) -> list[Table]:
    """Mean ranks over tasks, one table for each way of matching and each set of tasks that share entries.

    Ranks come from the means over seeds, 1 is best, ties share. Every task weighs once, the suites of one task alike. A bootstrap draws seeds
    anew in each task (the same draw for all entries and suites, as far as they share seeds) and ranks again. The tasks are taken as given:
    it says nothing about other tasks.
    """
    found, left = rankings(study)
    last = len(found) - 1
    # What is left out of all of them is said once, under the last.
    costs = cost_ratios(study)
    return [_table(one, _name(i, found), left if i == last else (), costs) for i, one in enumerate(found)]


COSTS = ("Training step", "FLOPs")
_SHOWN = ("Mechanism", "Mean rank", "Mean rank [95 %]", "P(first)", *COSTS)
Ratios = tuple[float, float]


def cost_ratios(study: Study) -> dict[str, Ratios]:
    """Time of a training step and FLOPs of each entry over the cheapest one's, median over all experiments that have both."""
    found: dict[str, list[Ratios]] = {}
    for experiment in study.experiments:
        speed = speed_measure(experiment)
        pairs = {
            s.name: (median_of(s, speed)[0] if speed else math.nan, median_of(s, basis("compute"))[0])
            for s in experiment.standings
            if s.finished
        }
        least = [min((p[i] for p in pairs.values() if p[i] > 0), default=math.nan) for i in (0, 1)]
        for name, (step, flops) in pairs.items():
            found.setdefault(name, []).append((step / least[0], flops / least[1]))
    return {
        name: (_median([a for a, _ in rows]), _median([b for _, b in rows])) for name, rows in found.items()
    }


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan


def _name(place: int, found: Sequence[Ranking]) -> str:
    mode = found[place].columns[0].matching
    before = sum(ranking.columns[0].matching == mode for ranking in found[:place])
    return f"leaderboard-{words.slug(mode)}" + (f"-{before + 1}" if before else "")


def _cell(place: Placed) -> Cell:
    tail = f" [{place.ends.low:.3g}, {place.ends.high:.3g}]" if place.ends else ""
    return Cell(f"{place.rank:.3g}{tail}", place.rank)


@dataclass(frozen=True)
class _Row:
    """One entry of a ranking: its mean rank, and those in each task."""

    name: str
    places: list[Placed]
    chance: float | None
    ends: tuple[float, float]

    @property
    def mean(self) -> Placed:
        return self.places[0]

    def shown(self) -> Cell:
        """The mean rank with its interval as a bar."""
        inside = self.mean.ends
        bar = Bar(inside.low, self.mean.rank, inside.high, self.ends) if inside else None
        return _cell(self.mean)._replace(bar=bar)


def _table(ranking: Ranking, name: str, left: Sequence[str], costs: Mapping[str, Ratios]) -> Table:
    drawn = draws(ranking)
    places = placed(ranking, drawn)
    first = None if ranking.alone else chances(ranking, drawn)
    ends = (1.0, float(len(ranking.names)))
    rows = [
        _Row(entry, places[i], None if first is None else float(first[i]), ends)
        for i, entry in enumerate(ranking.names)
    ]
    rows.sort(key=lambda row: (row.mean.rank, row.name))
    columns = [
        Reads("Mechanism", lambda row: row.name, "left"),
        Reads("Mean rank" if first is None else "Mean rank [95 %]", _Row.shown),
        *(
            []
            if first is None
            else [Reads("P(first)", lambda row: sorted_by(f"{row.chance:.2f}", row.chance or 0.0))]
        ),
        *(_rank(c.title, place) for place, c in enumerate(ranking.columns, 1)),
        *(_cost(heading, costs, place) for place, heading in enumerate(COSTS)),
    ]
    return Table.of(
        name,
        _caption(ranking, left),
        columns,
        rows,
        lambda row: [_raw(row.name, ranking, place) for place in row.places],
    )


def _rank(title: str, place: int) -> Reads[_Row]:
    return Reads(title, lambda row: _cell(row.places[place]))


def _cost(heading: str, costs: Mapping[str, Ratios], place: int) -> Reads[_Row]:
    def read(row: _Row) -> Cell:
        ratio = costs.get(row.name, (math.nan, math.nan))[place]
        return sorted_by(words.times(ratio), ratio)

    return Reads(heading, read)


def _raw(name: str, ranking: Ranking, place: Placed) -> dict[str, object]:
    low, high = (place.ends.low, place.ends.high) if place.ends else (None, None)
    matching = ranking.columns[0].matching
    return {
        "mechanism": name,
        "matching": matching,
        "over": place.over,
        "rank": place.rank,
        "low": low,
        "high": high,
    }


def _caption(ranking: Ranking, left: Sequence[str]) -> str:
    mode = ranking.columns[0].matching
    matched = "of models that were not matched" if mode == "none" else f"of models matched by {mode}"
    once = len(ranking.columns) > len(ranking.tasks)
    sentences = [
        f"Ranks over {len(ranking.tasks)} tasks {matched}, 1 is best"
        + ("; each task weighs once in the mean, its suites alike" if once else ""),
        _certainty(ranking),
        *_left_out(ranking),
    ]
    if left:
        sentences.append(
            f"In no ranking, which takes two tasks with the same entries, matched alike, and a better side: {', '.join(left)}"
        )
    return ". ".join(sentences)


def _certainty(ranking: Ranking) -> str:
    """What the intervals are, or that there is none with one seed."""
    if ranking.alone:
        told = ", ".join(ranking.alone[:3]) + (" and others" if len(ranking.alone) > 3 else "")
        return f"One seed ({told}), so the mean ranks have no interval and there is no P(first)"
    fewest = min(len(c.by_entry[name]) for c in ranking.columns for name in ranking.names)
    narrow = f"; with {fewest} seeds such intervals are too narrow" if fewest < 10 else ""
    return (
        f"Intervals and P(first) come from {RESAMPLES} bootstrap draws of the seeds inside each task, so they say nothing about other "
        f"tasks{narrow}"
    )


def _left_out(ranking: Ranking) -> list[str]:
    """Entries of these tasks that are not ranked, and cells that did not finish."""
    columns = ranking.columns
    absent = {name for c in columns for name in (*c.by_entry, *c.absent)} - set(ranking.names)
    otherwise = sorted({name for c in columns for name in c.otherwise} - set(ranking.names))
    unlike = [f"{name} in {c.title}" for c in columns for name in sorted(c.unlike)]
    lost = [f"{name} {count} in {c.title}" for c in columns for name, count in sorted(c.lost.items())]
    found = [f"Not in every task, so not ranked: {', '.join(sorted(absent))}"] if absent else []
    found += [f"Matched otherwise, so not ranked here: {', '.join(otherwise)}"] if otherwise else []
    if unlike:
        found.append(f"Not on the data, device and protocol of most, so not ranked: {', '.join(unlike)}")
    found += (
        [f"Cells that did not finish are left out, which may favour their entry: {', '.join(lost)}"]
        if lost
        else []
    )
    return found


def _narrow(table: Table) -> Table:
    """The mean ranks and costs of a leaderboard, without the ranks in each task."""
    ranks = [i for i, column in enumerate(table.columns) if column.heading in _SHOWN]
    rows = tuple(tuple(row[i] for i in ranks) for row in table.rows)
    about = table.caption.partition(". ")[0]
    columns = tuple(table.columns[i] for i in ranks)
    return replace(table, name=f"{table.name}-short", caption=about, columns=columns, rows=rows, raw=())


_ALONE = 3
"""So many single experiments show their scores where no ranking over tasks can be made."""


def scores_table(experiment: Experiment) -> Table:
    """Every entry of one experiment: its score, the time of a step, and FLOPs."""
    speed, ends = speed_measure(experiment), score_axis(experiment.standings, experiment.direction)
    better = f", {experiment.direction} is better" if experiment.direction in ("higher", "lower") else ""
    columns: list[Reads[Standing]] = [
        Reads("Mechanism", lambda s: s.name, "left"),
        Reads(
            f"{experiment.metric_label}, mean ± 95 %",
            lambda s: score_cell(s.summary, experiment.unit, ends) if s.summary else "no finished cell",
        ),
        Reads("Seeds", lambda s: sorted_by(f"{len(s.finished)}/{len(s.cells)}", float(len(s.finished)))),
        *(
            [Reads[Standing](measure_label(experiment, speed), lambda s: number_cell(*median_of(s, speed)))]
            if speed
            else []
        ),
        Reads("FLOPs", lambda s: number_cell(*median_of(s, basis("compute")))),
    ]
    caption = f"{experiment.title}: {words.lowered(experiment.metric_label)} over seeds{better}"
    # No CSV: all of it stands in the results of the suite's page.
    return Table.of(f"{experiment.slug}-scores", caption, columns, experiment.standings, link=anchor)


class Ranks:
    """Who does best over several tasks, at what cost: for each way of matching, and each set of tasks that share entries."""

    title = "Ranks"
    rank = 30
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """The widest ranking; the others behind a fold."""
        found = leaderboards(study)
        if not found:
            return [scores_table(experiment) for experiment in study.single[:_ALONE]]
        # A way of matching is a question of its own; further sets of tasks stand behind the fold.
        first = [table for table in found if not re.search(r"-\d+$", table.name)]
        return [*map(_narrow, first), Folded(f"Ranks in each task, {len(found)} in all", tuple(found))]


section = Ranks
