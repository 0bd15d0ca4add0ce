"""Ranks over several tasks as tables, with who is left out."""

from __future__ import annotations

from collections.abc import Sequence

from oscbench import words
from oscbench.analysis.ranking import RESAMPLES, Placed, Ranking, chances, draws, placed, rankings
from oscbench.analysis.study import Report
from oscbench.reporting.page.table import Cell, Column, Table


def leaderboards(report: Report) -> list[Table]:
    """Mean ranks over tasks, one table for each way of matching and each set of tasks that share entries.

    Ranks come from the means over seeds, 1 is best, ties share. Every task weighs once, the suites of one task alike. A bootstrap draws seeds
    anew in each task (the same draw for all entries and suites, as far as they share seeds) and ranks again. The tasks are taken as given:
    it says nothing about other tasks.
    """
    found, left = rankings(report)
    last = len(found) - 1
    # What is left out of all of them is said once, under the last.
    return [_table(one, _name(i, found), left if i == last else ()) for i, one in enumerate(found)]


def _name(place: int, found: Sequence[Ranking]) -> str:
    mode = found[place].columns[0].matching
    before = sum(ranking.columns[0].matching == mode for ranking in found[:place])
    return f"leaderboard-{words.slug(mode)}" + (f"-{before + 1}" if before else "")


def _cell(place: Placed) -> Cell:
    tail = f" [{place.ends.low:.3g}, {place.ends.high:.3g}]" if place.ends else ""
    return Cell(f"{place.rank:.3g}{tail}", place.rank)


def _table(ranking: Ranking, name: str, left: Sequence[str]) -> Table:
    names, drawn = ranking.names, draws(ranking)
    places = placed(ranking, drawn)
    first = None if ranking.alone else chances(ranking, drawn)
    rows, raw = [], []
    for i in sorted(range(len(names)), key=lambda i: (places[i][0].rank, names[i])):
        shown = [_cell(place) for place in places[i]]
        chance = [] if first is None else [Cell(f"{first[i]:.2f}", float(first[i]))]
        rows.append((Cell(names[i]), shown[0], *chance, *shown[1:]))
        raw += [_raw(names[i], ranking, place) for place in places[i]]
    columns = (
        Column("Mechanism", "left"),
        *([Column("Mean rank")] if first is None else [Column("Mean rank [95 %]"), Column("P(first)")]),
        *(Column(c.title) for c in ranking.columns),
    )
    return Table(name, _caption(ranking, left), columns, tuple(rows), tuple(raw))


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
