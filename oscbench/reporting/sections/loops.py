"""The headline metric against how long a model is let think: loops in training and at the test, and votes over several views."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, anchor, identify, values_of
from oscbench.analysis.floors import is_floor
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.figure import (
    Picture,
    Plan,
    axis_label,
    canvas,
    finish,
    line_of_means,
    name_ends,
    scaled,
)
from oscbench.reporting.page.scores import mean_cell
from oscbench.reporting.page.style import look_of, settings
from oscbench.reporting.page.table import Cell, Reads, Table

_LOOPS = re.compile(r"_(\w+)_loops_(\d+)$")
_VOTE = "_vote_"
_STARTS = "starts_"
"""Ways to choose among answers from several starts of the same example, where others choose among views of it."""
BOUNDS = {"random": "one {} at random", "any": "some {} right"}
"""Columns of votes that no vote can give: what picking blindly, or knowing the truth, would."""


def kinds_of(experiment: Experiment) -> dict[str, list[int]]:
    """Kinds of examples that were scored after several numbers of loops, and those numbers."""
    found: dict[str, set[int]] = {}
    for name in _names(experiment):
        if match := _LOOPS.fullmatch(name.removeprefix(experiment.metric)):
            found.setdefault(match[1], set()).add(int(match[2]))
    return {kind: sorted(loops) for kind, loops in sorted(found.items(), reverse=True)}


def loops_table(experiment: Experiment, kind: str, loops: Sequence[int]) -> Table:
    """A row an entry, a column a number of loops."""
    caption = (
        f"{experiment.metric_label}: {kind} examples after so many loops, mean ± 95 % t interval over seeds"
    )
    headings = {_after(experiment, kind, count): f"{count} loops" for count in loops}
    return _table(experiment, f"loops-{kind}", caption, headings)


def _after(experiment: Experiment, kind: str, loops: int) -> str:
    """The measure of a kind of examples after so many loops."""
    return f"{experiment.metric}_{kind}_loops_{loops}"


def ways_of(experiment: Experiment) -> dict[str, str]:
    """Measures of the ways to choose among answers to several views, and to several starts; of each the bounds stand outside."""
    prefix = f"{experiment.metric}{_VOTE}"
    ways = sorted(
        {n.removeprefix(prefix) for n in _names(experiment) if n.startswith(prefix)}, key=_bounds_outside
    )
    return {prefix + way: _told(way) for way in ways}


def _told(way: str) -> str:
    """How a way chooses."""
    plain, starts = way.removeprefix(_STARTS), way.startswith(_STARTS)
    return BOUNDS.get(plain, f"starts by {plain}" if starts else f"by {plain}").format(
        "start" if starts else "view"
    )


def votes_table(experiment: Experiment) -> Table | None:
    """A row an entry, a column a way to choose among its answers to several views; None where nothing was voted on."""
    headings = ways_of(experiment)
    if not headings:
        return None
    caption = "Choosing among answers to several views or starts without looking at the rules; one at random and some right are bounds"
    return _table(experiment, "votes", caption, headings)


def _bounds_outside(way: str) -> tuple[bool, int, str]:
    return (way.startswith(_STARTS), {"random": 0, "any": 2}.get(way.removeprefix(_STARTS), 1), way)


def _table(experiment: Experiment, name: str, caption: str, headings: Mapping[str, str]) -> Table:
    """A row an entry that has any of the measures, a column a measure."""
    columns = [
        Reads[Standing]("Mechanism", lambda s: s.name, "left"),
        *(Reads(text, partial(_cell, experiment.unit, measure)) for measure, text in headings.items()),
    ]

    def raw(standing: Standing) -> list[dict[str, Any]]:
        return [identify(experiment, standing) | _raw(standing, measure) for measure in headings]

    shown = [s for s in _entries(experiment) if any(values_of(s, measure) for measure in headings)]
    return Table.of(f"{experiment.slug}-{name}", caption, columns, shown, raw, anchor)


def _raw(standing: Standing, measure: str) -> dict[str, Any]:
    values = values_of(standing, measure)
    ends, mean = mean_interval(values), float(np.mean(values)) if values else None
    return {"measure": measure, "mean": mean, "t_low": ends.low, "t_high": ends.high, "n": len(values)}


def _cell(unit: str, measure: str, standing: Standing) -> Cell:
    values = values_of(standing, measure)
    return mean_cell(values, unit) if values else Cell(words.MISSING)


def _entries(experiment: Experiment) -> list[Standing]:
    """Finished entries that think; a floor says the same after every loop."""
    return [s for s in experiment.standings if s.finished and not is_floor(s.cells[0])]


def _names(experiment: Experiment) -> set[str]:
    return {
        name
        for s in _entries(experiment)
        for r in s.finished
        for name in r.measures
        if name.startswith(experiment.metric)
    }


def loops_picture(experiment: Experiment, kind: str, loops: Sequence[int]) -> Picture:
    """One line an entry: the mean over seeds after each number of loops."""
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        ends, told = [], []
        for standing in _entries(experiment):
            found = [(n, v) for n in loops if (v := values_of(standing, _after(experiment, kind, n)))]
            if not found:
                continue
            look = look_of(standing.entry)
            points = [(float(np.mean(values)), mean_interval(values)) for _, values in found]
            x = np.array([count for count, _ in found], dtype=np.float64)
            line_of_means(axes, x, points, experiment.unit, standing.name, look)
            ends.append((float(scaled(points[-1][0], experiment.unit)), standing.name, look.colour))
            told.append(
                f"{standing.name} " + ", ".join(words.quantity(mean, experiment.unit) for mean, _ in points)
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(loops, [str(count) for count in loops])
        axes.minorticks_off()
        axes.autoscale_view()
        name_ends(figure, axes, ends)
        axes.set_xlabel("Loops at the test")
        title = f"{words.capitalised(kind)} examples against loops"
        axes.set_title(f"{title}\n{axis_label(experiment.metric_label, experiment.unit)}")
        numbers = ", ".join(map(str, loops))
        alt = f"Lines: {experiment.metric_label}, {kind} examples, after {numbers} loops. {'; '.join(told)}."
        return finish(figure, experiment.slug, f"loops-{kind}", title, alt)


class Loops:
    """A figure and a table for each kind of examples, and votes."""

    title = "More time to think"
    rank = 42
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Nothing where no task was scored after several numbers of loops."""
        note = (
            "A loop is one pass through all blocks; an entry's first number of them is that of its training."
        )
        return per_experiment(study, self._of, note)

    def _of(self, experiment: Experiment) -> list[Block]:
        kinds = {kind: loops for kind, loops in kinds_of(experiment).items() if len(loops) > 1}
        found: list[Block] = []
        for kind, loops in kinds.items():
            found += [
                Plan(1, partial(loops_picture, experiment, kind, loops)),
                loops_table(experiment, kind, loops),
            ]
        votes = votes_table(experiment)
        return found + ([votes] if votes else [])


section = Loops
