"""Quantities of single layers while models trained: a row of panels a quantity, a column a layer, a line an entry."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, SymmetricalLogLocator

from oscbench.analysis.statistics.seeds import t_interval
from oscbench.reporting.page.figure import WIDTH
from oscbench.reporting.page.style import INK, MUTED, Look

QUANTITIES = {
    "order_parameter": "Order of all phases",
    "weighted_synchrony": "Synchrony, weighted by attention",
    "gini": "Concentration of attention (Gini)",
}
"""What the picture shows unless told otherwise, as far as there is any: 0 to 1, by the name that curves give it."""
LETTERS = 20
"""Of a quantity's name, beside its row."""
MOST_COLUMNS, LINE, LEGEND = 4, 6, 62
"""Of the legend: columns at most, and in letters what a line takes beside its name, and the width of all."""
MOST_LAYERS = 4
"""Columns that a phone has room for; of more layers, the first, the last, and some evenly between."""


def draw_dynamics(
    table: pd.DataFrame, named: Mapping[str, tuple[str, Look]], quantities: Sequence[str]
) -> Figure:
    """Means over seeds with their 95 % t intervals against the optimiser step.

    Args:
        table: of `oscbench.analysis.dynamics.dynamics`, of one suite and task, with the quantities in it.
        named: of each entry its name for people, and its look.
        quantities: a row each.
    """
    layers = shown_layers(table)
    figure = Figure(figsize=(WIDTH, 0.75 + 1.35 * len(quantities)), layout="constrained")
    panels = figure.subplots(len(quantities), len(layers), squeeze=False, sharex=True, sharey="row")
    for row, quantity in zip(panels, quantities, strict=True):
        of_quantity = table[table["quantity"] == quantity]
        for axes, layer in zip(row, layers, strict=True):
            _panel(axes, of_quantity[of_quantity["layer"] == layer], named)
        name = QUANTITIES.get(quantity, quantity.replace("_", " ").capitalize())
        row[0].set_ylabel("\n".join(textwrap.wrap(name, LETTERS)), fontsize=8)
        if quantity in QUANTITIES:
            row[0].set_ylim(0.0, 1.02)
    for above, below, layer in zip(panels[0], panels[-1], layers, strict=True):
        above.set_title(f"layer {layer + 1}", fontsize=8, fontweight="normal", loc="center", color=MUTED)
        _by_step(below, table["step"])
    figure.supxlabel("training steps", fontsize=8.5, color=INK)
    handles = [
        panels[0, 0].plot([], [], color=look.colour, linestyle=look.line, label=name)[0]
        for entry, (name, look) in named.items()
        if (table["entry"] == entry).any()
    ]
    columns = _columns([str(handle.get_label()) for handle in handles])
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
    return figure


def _columns(names: Sequence[str]) -> int:
    """As many columns of a legend, four at most, as names of these lengths leave room for beside their lines."""
    for count in range(min(MOST_COLUMNS, len(names)), 1, -1):
        parts = np.array_split(np.array([len(name) for name in names]), count)
        if sum(int(part.max()) + LINE for part in parts) <= LEGEND:
            return count
    return 1


LONG, FEW_TICKS = 1000, 3
"""Steps from which on every power of ten beside the next would run into it, and how many are told then."""


def shown_layers(table: pd.DataFrame) -> list[int]:
    """The layers that have a column."""
    layers = sorted(int(layer) for layer in table["layer"].unique())
    places = np.unique(np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS)).round().astype(int))
    return [layers[place] for place in places]


def _panel(axes: Axes, table: pd.DataFrame, named: Mapping[str, tuple[str, Look]]) -> None:
    """One quantity in one layer."""
    for entry, (_, look) in named.items():
        own = table[table["entry"] == entry]
        if own.empty:
            continue
        sns.lineplot(
            own,
            x="step",
            y="value",
            color=look.colour,
            linestyle=look.line,
            linewidth=1.2,
            errorbar=_interval,
            err_kws={"alpha": 0.15, "linewidth": 0.0},
            ax=axes,
        )
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.tick_params(labelsize=7)


def _interval(values: pd.Series) -> tuple[float, float]:
    low, high = t_interval(values.to_numpy())
    return float(low), float(high)


def _by_step(axes: Axes, steps: pd.Series) -> None:
    """A logarithmic axis, 0 at its left end, where the steps are spaced so."""
    gaps = np.diff(np.unique(steps))
    if len(gaps) and np.median(gaps) < np.mean(gaps) / 2:
        axes.set_xscale("symlog", linthresh=1.0)
        ticks = SymmetricalLogLocator(base=10.0, linthresh=1.0)
        if steps.max() >= LONG:
            ticks.set_params(numticks=FEW_TICKS)
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
