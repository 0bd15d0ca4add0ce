"""Binding: do phases group what belongs together, and does attention stay with it, more than places alone would have it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from oscbench import words
from oscbench.analysis.dynamics import dynamics
from oscbench.analysis.experiment import Experiment, Standing, identify
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, Prose, per_experiment
from oscbench.reporting.page.dynamics import draw_dynamics
from oscbench.reporting.page.figure import Picture, Plan, canvas, finish
from oscbench.reporting.page.style import MUTED, look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Reads, Table, sorted_by

PREFIX = "binding_"
FLOORS = {
    "start_phases": "phases at the first layer",
    "random_walk": "random walk of equal steps",
    "other_image": "another image",
    "coordinates": "coordinates",
    "bright_places": "coordinates of bright patches",
    "even_attention": "even attention",
}
PLACES = ("bright_places", "coordinates")
"""What phases that find objects are held against: the strongest of these that records have."""
DRAWN = {
    "synchrony": ("Synchrony within objects minus between", ("start_phases",)),
    "mixed_synchrony": ("Synchrony within objects minus between, mixed phases", ("start_phases",)),
    "fg_ari": ("FG-ARI of clustered phases", PLACES),
    "mixed_fg_ari": ("FG-ARI of clustered phases, mixed", PLACES),
    "attention": ("Attention inside the asking patch's object", ("other_image",)),
}
"""What is drawn by layer, and the floor that is drawn with it: the first of these that records have."""


@dataclass(frozen=True)
class Reading:
    """A quantity of one entry: [cells, layers], before and after training, and each floor's [cells, layers or 1]."""

    quantity: str
    standing: Standing
    start: np.ndarray
    end: np.ndarray
    floors: dict[str, np.ndarray]
    ceiling: float | None

    def last(self, floor: str) -> np.ndarray:
        """The last layer's value of a floor, by cell."""
        return self.floors[floor][:, -1]


def reading(standing: Standing, quantity: str) -> Reading | None:
    """What the finished cells of an entry say of a quantity; None where none does."""
    kept = [r.measures[PREFIX + quantity] for r in standing.finished if PREFIX + quantity in r.measures]
    details = [m.details for m in kept if m.value is not None and m.details.get("end")]
    if not details:
        return None
    names = [name for name in FLOORS if all(name in one.get("floors", {}) for one in details)]
    start = [one.get("start") or [np.nan] * len(one["end"]) for one in details]
    ceilings = [one["ceiling"] for one in details if "ceiling" in one]
    return Reading(
        quantity,
        standing,
        np.array(start, dtype=np.float64),
        np.array([one["end"] for one in details], dtype=np.float64),
        {name: np.array([one["floors"][name] for one in details], dtype=np.float64) for name in names},
        float(np.mean(ceilings)) if ceilings else None,
    )


def quantities(experiment: Experiment) -> list[str]:
    """What was measured of any entry, in the order of the drawings, the rest behind."""
    found = {
        name.removeprefix(PREFIX)
        for s in experiment.standings
        for r in s.finished
        for name, m in r.measures.items()
        if name.startswith(PREFIX) and m.value is not None
    }
    return [*(name for name in DRAWN if name in found), *sorted(found - set(DRAWN))]


def binding_picture(experiment: Experiment, quantity: str) -> Picture:
    """A quantity by layer after training, and what place alone gives, for every entry that has it."""
    title, floors = DRAWN[quantity]
    found = [(s, one) for s in experiment.standings if (one := reading(s, quantity)) is not None]
    floor = next((name for name in floors if any(name in one.floors for _, one in found)), floors[-1])
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(2.7)
        for standing, one in found:
            look, layers = look_of(standing.entry), range(1, one.end.shape[1] + 1)
            means = one.end.mean(0)
            (line,) = axes.plot(
                layers, means, color=look.colour, linestyle=look.line, marker=look.marker, markersize=4
            )
            line.set_label(standing.name)
            told = (
                f"{standing.name}, layer {layer}: {words.significant(float(value))}"
                for layer, value in zip(layers, means, strict=True)
            )
            hint(line, standing.name, told)
            if floor == "other_image" and floor in one.floors:
                axes.plot(layers, one.floors[floor].mean(0), color=look.colour, linestyle=":", linewidth=1)
        if floor != "other_image":
            value = float(np.mean([one.last(floor).mean() for _, one in found if floor in one.floors]))
            axes.axhline(value, color=MUTED, linestyle=":", label=FLOORS[floor])
        axes.set_xlabel("Layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        axes.set_title(title if floor != "other_image" else f"{title}\n(dotted: {FLOORS[floor]})")
        ends = "; ".join(f"{s.name} {words.significant(float(one.end[:, -1].mean()))}" for s, one in found)
        alt = f"Lines over layers: {title}, after training. In the last layer: {ends}."
        return finish(figure, experiment.slug, f"binding-{quantity}", title, alt)


def over_training_picture(experiment: Experiment) -> Picture:
    """What was followed of phases and attention while entries trained, in some layers."""
    table, shown = followed(experiment)
    there = set(table["entry"])
    entries = {
        str(s.entry): (s.name, look_of(s.entry)) for s in experiment.standings if str(s.entry) in there
    }
    with matplotlib.rc_context(settings()):
        figure = draw_dynamics(table, entries, shown)
        title = "Binding over training"
        alt = f"Lines over training steps, layer by layer: {'; '.join(shown)}. Of {words.listed([name for name, _ in entries.values()])}."
        return finish(figure, experiment.slug, "binding-over-training", title, alt)


def followed(experiment: Experiment) -> tuple[pd.DataFrame, list[str]]:
    """What was looked at while entries trained, by the names that pictures give it, and the rows of a picture of it."""
    table = dynamics(record for standing in experiment.standings for record in standing.finished)
    titles = {f"binding/{name}": title for name, (title, _) in DRAWN.items()}
    table = table[table["quantity"].isin(titles)].replace({"quantity": titles})
    return table, [title for title in titles.values() if (table["quantity"] == title).any()]


def binding_table(experiment: Experiment) -> Table | None:
    """Every quantity of every entry by layer, with its floors in the last layer, mean over finished cells."""
    every = (reading(standing, q) for q in quantities(experiment) for standing in experiment.standings)
    found = [one for one in every if one is not None]
    caption = "Binding: mean over finished cells; floors are those of the last layer"
    raw = partial(_raw, experiment)
    return Table.of(f"{experiment.slug}-binding", caption, COLUMNS, found, raw) if found else None


def _value(value: float | None) -> Cell:
    return Cell("") if value is None else sorted_by(words.significant(value), value)


def _layers(one: Reading) -> Cell:
    means = one.end.mean(0)
    return Cell(" → ".join(words.significant(float(value)) for value in means), float(means[-1]))


def _floor(name: str, one: Reading) -> Cell:
    return _value(float(one.last(name).mean()) if name in one.floors else None)


COLUMNS: tuple[Reads[Reading], ...] = (
    Reads("Quantity", lambda one: one.quantity.replace("_", " ").replace("fg ari", "FG-ARI"), "left"),
    Reads("Mechanism", lambda one: one.standing.name, "left"),
    Reads("Before training, last layer", lambda one: _value(float(one.start[:, -1].mean()))),
    Reads("After, layer by layer", _layers),
    *(Reads(f"Floor: {title}", partial(_floor, name)) for name, title in FLOORS.items()),
    Reads("Ceiling", lambda one: _value(one.ceiling)),
)


def _raw(experiment: Experiment, one: Reading) -> dict[str, Any]:
    start = float(one.start[:, -1].mean())
    return (
        identify(experiment, one.standing)
        | {"quantity": one.quantity, "cells": len(one.end), "start_last_layer": start}
        | {f"layer_{layer}": float(value) for layer, value in enumerate(one.end.mean(0))}
        | {name: float(one.last(name).mean()) for name in one.floors}
        | {"ceiling": one.ceiling}
    )


def phases_told(experiment: Experiment) -> list[str]:
    """For each entry with phases whether they find objects better than places do."""
    found = []
    for standing in experiment.standings:
        one = reading(standing, "fg_ari")
        place = next((name for name in PLACES if one is not None and name in one.floors), None)
        if one is not None and place is not None:
            found.append(
                f"{standing.name}: clusters of its last phases find objects with FG-ARI {_against(one, place, FLOORS[place])}"
            )
    return found


def attention_told(experiment: Experiment) -> list[str]:
    """For each entry whether its attention keeps to objects more than that of another image does."""
    return [
        f"{standing.name}: of a patch's attention, {_against(one, 'other_image', 'with the attention of another image')} "
        "stays in its object"
        for standing in experiment.standings
        if (one := reading(standing, "attention")) is not None and "other_image" in one.floors
    ]


def _against(one: Reading, floor: str, name: str) -> str:
    """`0.61, 0.50 coordinates: +0.11 [+0.08, +0.14]`, and in words which way."""
    values = one.end[:, -1]
    gaps = values - one.last(floor)
    ends = mean_interval(gaps)
    mean, base = (words.significant(float(x.mean())) for x in (values, one.last(floor)))
    gap = words.difference(float(gaps.mean()), "1")
    if not ends.exists:
        return f"{mean} ({base} {name}: {gap}, too few cells for an interval)"
    if not np.ptp(gaps):  # nothing in it depends on the seed, as in phases that never move
        return f"{mean} ({base} {name}: {gap} at every seed)"
    way = "more" if ends.low > 0 else "less" if ends.high < 0 else "no clear difference"
    return f"{mean} ({base} {name}: {gap} {words.interval(ends.low, ends.high, '1')}, {way})"


class Binding:
    """Phases and attention against objects."""

    title = "Do phases bind anything?"
    rank = 46
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Of each experiment that measured it."""
        note = (
            "Patches of an object lie side by side, so whatever follows place groups them: see the floors. Intervals are 95 % t "
            "intervals over seeds and not corrected for their number."
        )
        return per_experiment(study, self._of, note)

    def _of(self, experiment: Experiment) -> Sequence[Block]:
        table = binding_table(experiment)
        if table is None:
            return []
        told = [*phases_told(experiment), *attention_told(experiment)]
        drawn = [
            Plan(4, partial(binding_picture, experiment, q)) for q in quantities(experiment) if q in DRAWN
        ]
        if followed(experiment)[1]:
            drawn.append(Plan(4, partial(over_training_picture, experiment)))
        prose = [Prose(tuple(told))] if told else []
        return [*prose, *drawn, Folded("Binding as a table", (table,))]


section = Binding
