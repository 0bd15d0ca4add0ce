"""Pictures from Python: what came out (`forest`), and a mechanism at work on one input (`attention`, `phases`, `order`, `locking`).

Every function gives a Matplotlib figure, drawn without pyplot, so that a script or notebook may save or show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oscbench import words
from oscbench.analysis.selection import Entry
from oscbench.reporting.page.style import INK, MUTED, look_of

if TYPE_CHECKING:
    from torch import Tensor

    from oscbench.models.backbones import Backbone

ROW = 0.28  # inches for one dot and its interval
NOTHING = "no picture: {}"


def forest(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Differences with their intervals, grouped by task; better is to the right.

    Args:
        table: Of `oscbench.compare`; rows without a difference are left out.
        title: Above all.

    Returns:
        One panel for each unit, so that points and bits never share an axis.

    Raises:
        ValueError: No row has a difference.
    """
    shown = table[table["difference"].notna()]
    if shown.empty:
        raise ValueError(NOTHING.format("no comparison in the table has a difference"))
    units = list(dict.fromkeys(shown["unit"]))
    parts = [shown[shown["unit"] == unit] for unit in units]
    heights = [len(part) + part["task"].nunique() + 1 for part in parts]
    figure = Figure(figsize=(7.2, ROW * sum(heights) + 0.9 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, part, unit in zip(panels, parts, units, strict=True):
        _forest_panel(axes, part, unit)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    return figure


def _forest_panel(axes: Axes, part: pd.DataFrame, unit: str) -> None:
    """One unit's differences, rows from the top."""
    factor = 100.0 if unit == "fraction" else 1.0
    place, places, names = 0, [], []
    for task, rows in part.groupby("task", sort=False):
        axes.text(
            0.0,
            place,
            str(task),
            transform=axes.get_yaxis_transform(),
            fontsize=9,
            fontweight="bold",
            color=INK,
            va="center",
        )
        place -= 1
        for row in rows.to_dict("records"):
            sign = factor if row["direction"] == "higher" else -factor
            ends = sorted((sign * row["low"], sign * row["high"]))
            look = look_of(_entry(row["treatment"]))
            axes.plot(ends, [place, place], color=look.colour, linewidth=1.6, solid_capstyle="round")
            axes.plot(
                [sign * row["difference"]], [place], marker=look.marker, color=look.colour, markersize=6
            )
            places.append(place)
            names.append(
                f"{_short(row['treatment'])} {words.MINUS} {_short(row['baseline'])}, {row['n']} seeds"
            )
            place -= 1
    axes.axvline(0.0, color=MUTED, linewidth=0.9)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(place + 0.4, 0.6)
    shown = "points" if unit == "fraction" else unit
    axes.set_xlabel(f"difference [{shown}], 95 % interval; better to the right")
    sns.despine(ax=axes, left=True)
    axes.tick_params(axis="y", length=0)


def attention(model: Backbone, inputs: Tensor, *, sample: int = 0, query: int = 0) -> Figure:
    """Who one token hears, layer by layer: its attention, the mean over heads, over the patches of an image, or along a sequence.

    Args:
        model: Of `build_model` or `load_model`.
        inputs: A batch as the model takes it.
        sample: Of the batch.
        query: Token that hears; 0 is CLS where there is one.
    """
    layers = _diagnostics(model, inputs, "attention")
    rows = [found[sample, :, query].mean(0) for found in layers]
    places = _places(model, inputs)
    figure, panels = _row(len(rows), f"attention of token {query}, mean over heads")
    for axes, row, layer in zip(panels, rows, range(len(rows)), strict=True):
        field = _field(row, places)
        sns.heatmap(
            field,
            ax=axes,
            cmap="mako",
            vmin=0.0,
            cbar=layer == len(rows) - 1,
            xticklabels=False,
            yticklabels=False,
            square=True,
        )
        axes.set_title(f"layer {layer + 1}", fontsize=9)
    return figure


def phases(model: Backbone, inputs: Tensor, *, sample: int = 0, head: int = 0, oscillator: int = 0) -> Figure:
    """One oscillator's phase at every token as a hue, layer by layer; hues go round with the circle.

    Phases are those that a block attends with: KoPE mixes them within a head first, unless `mix` is off.

    Args:
        model: A model whose mechanism has phases.
        inputs: A batch as the model takes it.
        sample: Of the batch.
        head: Of the mechanism.
        oscillator: Within the head.

    Raises:
        ValueError: The mechanism has no phases.
    """
    layers = _diagnostics(model, inputs, "phases")
    places = _places(model, inputs)
    figure, panels = _row(len(layers), f"phase of oscillator {oscillator} in head {head}")
    for axes, found, layer in zip(panels, layers, range(len(layers)), strict=True):
        field = _field(found[sample, head, :, oscillator], places)
        axes.imshow(field, cmap="twilight", vmin=-np.pi, vmax=np.pi)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"layer {layer + 1}", fontsize=9)
    return figure


def order(models: Mapping[str, Backbone], inputs: Tensor) -> Figure:
    """How much phases agree over depth: the order parameter |mean_j e^{iθ_j}|, mean over samples, heads and oscillators.

    Phases are as in `phases`: to see what the steps alone do, turn KoPE's `mix` off.

    Args:
        models: Name -> model whose mechanism has phases.
        inputs: A batch as the models take it.

    Raises:
        ValueError: A mechanism has no phases.
    """
    rows = [
        {"model": name, "layer": layer + 1, "order": float(np.abs(np.exp(1j * found).mean(-2)).mean())}
        for name, model in models.items()
        for layer, found in enumerate(_diagnostics(model, inputs, "phases"))
    ]
    figure = Figure(figsize=(4.6, 2.8), layout="constrained")
    axes = figure.subplots()
    sns.lineplot(pd.DataFrame(rows), x="layer", y="order", hue="model", style="model", markers=True, ax=axes)
    axes.set_ylim(0.0, 1.0)
    axes.set_ylabel("order parameter")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    sns.despine(ax=axes)
    return figure


def locking(model: Backbone, inputs: Tensor, *, sample: int = 0, head: int = 0) -> Figure:
    """Which tokens hear each other at all, layer by layer: pairs with no attention are left white.

    Args:
        model: Any; of use where attention is exactly sparse, as selective synchronization's is.
        inputs: A batch as the model takes it.
        sample: Of the batch.
        head: Of the mechanism.
    """
    layers = _diagnostics(model, inputs, "attention")
    figure, panels = _row(len(layers), f"attention of all pairs in head {head}")
    for axes, found, layer in zip(panels, layers, range(len(layers)), strict=True):
        pairs = found[sample, head]
        share = float((pairs > 0)[~np.eye(len(pairs), dtype=bool)].mean())
        sns.heatmap(
            pairs,
            mask=pairs == 0,
            ax=axes,
            cmap="mako_r",
            vmin=0.0,
            cbar=False,
            xticklabels=False,
            yticklabels=False,
            square=True,
        )
        axes.set_title(f"layer {layer + 1}: {share:.0%} of pairs", fontsize=9)
    return figure


def _entry(name: str) -> Entry:
    mechanism, _, variant = name.partition(":")
    return Entry(mechanism, variant or "default")


def _short(name: str) -> str:
    """`kope:default` -> `kope`."""
    return name.removesuffix(":default")


def _diagnostics(model: Backbone, inputs: Tensor, name: str) -> list[np.ndarray[Any, Any]]:
    """A quantity of every layer, in evaluation mode."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        layers = model(inputs, diagnostics=True).diagnostics
    model.train(was_training)
    if not layers or any(name not in found for found in layers):
        raise ValueError(NOTHING.format(f"the mechanism has no {name}"))
    return [found[name].double().cpu().numpy() for found in layers]


def _places(model: Backbone, inputs: Tensor) -> list[tuple[int, int] | None]:
    """(row, column) of each token, (0, index) along a sequence; None for CLS and registers."""
    positions = model.context(inputs).positions
    found: list[tuple[int, int] | None] = []
    for coordinates, special in zip(positions.coordinates.tolist(), positions.special.tolist(), strict=True):
        row, column = coordinates if len(coordinates) == 2 else (0.0, coordinates[0])
        found.append(None if special else (int(row), int(column)))
    return found


def _field(values: np.ndarray[Any, Any], places: Sequence[tuple[int, int] | None]) -> np.ndarray[Any, Any]:
    """Values by token as a field over rows and columns; special tokens are left out."""
    known = [place for place in places if place is not None]
    field = np.full((1 + max(row for row, _ in known), 1 + max(column for _, column in known)), np.nan)
    for value, place in zip(values, places, strict=True):
        if place is not None:
            field[place] = value
    return field


def _row(count: int, title: str) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side under a title."""
    figure = Figure(figsize=(1.9 * count + 0.6, 2.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    return figure, list(figure.subplots(1, count, squeeze=False)[0])
