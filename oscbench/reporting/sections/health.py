"""Health of each mechanism: diagnostics of every layer at the start and at the end of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure

from oscbench import words
from oscbench.analysis.choices import is_untrained
from oscbench.analysis.experiment import Experiment, Standing, health_means
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, Prose, per_experiment
from oscbench.reporting.page.figure import (
    WIDTH,
    Picture,
    Plan,
    finish,
)
from oscbench.reporting.page.style import GRID, INK, settings
from oscbench.reporting.page.table import Cell, Reads, Table, count_cell

ENDS = ("start", "end")
"""Of training."""
MOST_WRITTEN = 6
"""Layers beside one another in which numbers can be read; a bar tells the colours of more."""


def health_picture(experiment: Experiment, quantity: str) -> Picture:
    """One diagnostic of every entry and layer, at the start and at the end of training, as two heat maps."""
    means = {key[1:]: value for key, value in health_means(experiment).items() if key[0] == quantity}
    names = sorted({name for name, *_ in means})
    layers = sorted({layer for _, layer, _ in means})
    grids = {
        when: np.array([[means.get((n, layer, when), math.nan) for layer in layers] for n in names])
        for when in ENDS
    }
    low, high = min(means.values()), max(means.values())
    written = len(layers) <= MOST_WRITTEN
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(WIDTH, 1.05 + 0.27 * len(names)), layout="constrained")
        both = figure.subplots(1, 2, sharey=True)
        for axes, when in zip(both, ENDS, strict=True):
            seaborn.heatmap(
                grids[when],
                ax=axes,
                vmin=low,
                vmax=high if high > low else low + 1,
                cmap="cividis",
                cbar=not written and when == ENDS[-1],
                annot=written,
                fmt=".2g",
                annot_kws={"fontsize": 7},
                linewidths=0.5,
                linecolor=GRID,
                xticklabels=[str(layer + 1) for layer in layers],
                yticklabels=names,
            )
            axes.set_xlabel("Layer")
            axes.set_title(f"{when.capitalize()} of training", fontsize=8.5, fontweight="normal", color=INK)
            axes.tick_params(length=0, rotation=0)
        title = quantity.replace("_", " ").capitalize()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        phrases = "; ".join(_health_words(name, layers, means) for name in names)
        alt = f"Heat maps: {title} of each layer at the start and end. Mean over layers: {phrases}."
        return finish(figure, experiment.slug, f"health-{quantity}", title, alt)


def _health_words(name: str, layers: Sequence[int], means: Mapping[tuple[str, int, str], float]) -> str:
    ends = []
    for when in ENDS:
        found = [means[name, layer, when] for layer in layers if (name, layer, when) in means]
        ends.append(words.significant(float(np.mean(found))) if found else words.MISSING)
    return f"{name} {ends[0]} to {ends[1]}"


def health_table(experiment: Experiment) -> Table | None:
    """Diagnostics per entry, layer and moment, mean over finished cells."""
    grid = health_means(experiment)
    if not grid:
        return None
    quantities = sorted({quantity for quantity, *_ in grid})
    keys = sorted({(name, layer) for _, name, layer, _ in grid})
    columns = (
        Reads[tuple[str, int]]("Mechanism", lambda key: key[0], "left"),
        Reads("Layer", lambda key: count_cell(key[1] + 1)),
        *(Reads(f"{q}, start → end", partial(_ends_cell, grid, q)) for q in quantities),
    )
    about = {"suite": experiment.suite, "task": experiment.task, "protocol": experiment.protocol}

    def raw(key: tuple[str, int]) -> list[dict[str, Any]]:
        return [
            about
            | {"entry": key[0], "layer": key[1], "when": when, "quantity": q, "mean": grid[q, *key, when]}
            for q in quantities
            for when in ENDS
            if (q, *key, when) in grid
        ]

    caption = "Health of each layer at the start and at the end of training, mean over finished cells"
    return Table.of(f"{experiment.slug}-health", caption, columns, keys, raw)


def _ends_cell(grid: Mapping[tuple[str, str, int, str], float], quantity: str, key: tuple[str, int]) -> Cell:
    """A diagnostic of one layer at the start and at the end, sorted by the latter."""
    start, end = (grid.get((quantity, *key, when)) for when in ENDS)
    shown = [words.MISSING if v is None else words.significant(v) for v in (start, end)]
    return Cell("" if start is None and end is None else " → ".join(shown), end)


class Health:
    """Flags of each mechanism, and the diagnostics behind them."""

    title = "Health of each mechanism"
    rank = 75
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Who is flagged, the others by their number; figures and table of every layer."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        table = health_table(experiment)
        flagged = [s for s in experiment.standings if s.flags]
        if table is None and not flagged:
            return []
        found: list[Block] = [Prose((flags_in_words(experiment.standings),))]
        if flagged:
            found.append(Prose(tuple(f"{s.name}: {'; '.join(s.flags)}" for s in flagged), "caveat"))
        quantities = sorted({quantity for quantity, *_ in health_means(experiment)})
        found += [Plan(6, partial(health_picture, experiment, quantity)) for quantity in quantities]
        return found + ([Folded("Health as a table", (table,))] if table else [])


def flags_in_words(standings: Sequence[Standing]) -> str:
    """`7 healthy, 1 flagged`; of floors nothing is looked at."""
    standings = [one for one in standings if not is_untrained(one.cells[0])]
    flagged = sum(bool(s.flags) for s in standings)
    healthy = sum(bool(s.finished) and not s.flags for s in standings)
    without = sum(not s.finished and not s.flags for s in standings)
    counts = ((healthy, "healthy"), (flagged, "flagged"), (without, "without a finished cell"))
    return f"{', '.join(f'{count} {what}' for count, what in counts if count)}."


section = Health
