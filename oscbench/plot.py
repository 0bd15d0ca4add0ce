"""Pictures from Python: what came out (`forest`), what layers did while they trained (`dynamics`), and a mechanism at work on one input.

`attention`, `phases`, `order`, `locking` and `settling` take a model and a batch of its inputs. Every function gives a Matplotlib figure,
drawn without pyplot, so that a script or notebook may save or show it.
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
from oscbench.errors import nearest
from oscbench.modes import evaluating
from oscbench.records.diagnostics import Diagnostics
from oscbench.reporting.page import at_work
from oscbench.reporting.page.dynamics import QUANTITIES, draw_dynamics
from oscbench.reporting.page.forest import Difference, Heading, Line, draw_forest
from oscbench.reporting.page.style import INK, look_of

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
    if "difference" not in table:
        raise ValueError(NOTHING.format("the table is none of oscbench.compare's: it has no differences"))
    shown = table[table["difference"].notna()]
    if shown.empty:
        raise ValueError(NOTHING.format("no comparison in the table has a difference"))
    headings = shown["task"]
    if "suite" in shown:
        shared = shown.groupby("task")["suite"].transform("nunique") > 1
        headings = headings.where(~shared, headings + " (" + shown["suite"] + ")")
    shown = shown.assign(heading=headings)
    units = list(dict.fromkeys(shown["unit"]))
    parts = [shown[shown["unit"] == unit] for unit in units]
    heights = [len(part) + part["heading"].nunique() + 1 for part in parts]
    figure = Figure(figsize=(7.2, ROW * sum(heights) + 0.9 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, part, unit in zip(panels, parts, units, strict=True):
        _forest_panel(axes, part, unit)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    return figure


def dynamics(table: pd.DataFrame, *, quantities: str | Sequence[str] = ()) -> Figure:
    """Order, synchrony and concentration of each layer while models trained: means over seeds with their 95 % t intervals.

    Args:
        table: Of `oscbench.dynamics`, of one suite and task.
        quantities: A row of panels each, or the name of one; by default order, synchrony and Gini, as far as there are any.

    Raises:
        ValueError: Nothing of the kind is in the table, or something that was asked for is not, or more than one task is.
    """
    if "quantity" not in table:
        raise ValueError(NOTHING.format("the table is none of oscbench.dynamics's: it has no quantities"))
    wanted = [quantities] if isinstance(quantities, str) else list(quantities or QUANTITIES)
    there = set(table["quantity"])
    shown = [quantity for quantity in wanted if quantity in there]
    if quantities and shown and (missing := [one for one in wanted if one not in there]):
        raise ValueError(NOTHING.format(f"the table has no {missing[0]!r}; {nearest(missing[0], there)}"))
    if not shown:
        raise ValueError(NOTHING.format(f"the table has none of {', '.join(wanted)}"))
    if len(table[["suite", "task"]].drop_duplicates()) > 1:
        raise ValueError(NOTHING.format("the table has several suites or tasks; choose one"))
    entries = sorted(table["entry"].unique())
    return draw_dynamics(table, {name: (_short(name), look_of(_entry(name))) for name in entries}, shown)


def _forest_panel(axes: Axes, part: pd.DataFrame, unit: str) -> None:
    """One unit's differences, each task's below its name, its suite told too where several have the task."""
    factor = 100.0 if unit == "fraction" else 1.0
    lines: list[Line] = []
    for heading, rows in part.groupby("heading", sort=False):
        lines.append(Heading(str(heading)))
        for row in rows.to_dict("records"):
            sign = factor if row["direction"] == "higher" else -factor
            low, high = sorted((sign * row["low"], sign * row["high"]))
            name = f"{_short(row['treatment'])} {words.MINUS} {_short(row['baseline'])}, {row['n']} seeds"
            lines.append(
                Difference(name, low, sign * row["difference"], high, look_of(_entry(row["treatment"])))
            )
    draw_forest(axes, lines)
    axes.set_xlabel(f"difference [{words.difference_unit(unit)}], 95 % interval; better to the right")
    sns.despine(ax=axes, left=True)


def attention(model: Backbone, inputs: Tensor, *, sample: int = 0, query: int | None = None) -> Figure:
    """Who one token hears, layer by layer: its attention, the mean over heads, over the patches of an image; every pair of a sequence.

    Args:
        model: Of `build_model` or `load_model`.
        inputs: A batch as the model takes it.
        sample: Of the batch.
        query: Token that hears; by default CLS, in an image without it the mean of all tokens, and in a sequence every token.
    """
    seen = _seen(model, inputs, sample, "attention")
    _there("query", query, seen.of("attention")[0].shape[1])
    row = at_work.attention_row(*_named(model), seen, query)
    return at_work.attention([row], "attention, mean over heads")


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
    seen = _seen(model, inputs, sample, "phases")
    heads, _, oscillators = seen.of("phases")[0].shape
    _there("head", head, heads)
    _there("oscillator", oscillator, oscillators)
    row = at_work.phases_row(*_named(model), seen, head, oscillator)
    return at_work.phases([row], f"phase of oscillator {oscillator} in head {head}")


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
        for layer, found in enumerate(_phases_of(model, inputs))
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
    """Which tokens are locked, layer by layer: tokens on a circle, a line between two of which one hears the other.

    Args:
        model: Any; of use where attention is exactly sparse, as selective synchronization's is.
        inputs: A batch as the model takes it.
        sample: Of the batch.
        head: Of the mechanism.
    """
    seen = _seen(model, inputs, sample, "attention")
    _there("head", head, len(seen.of("attention")[0]))
    return at_work.locking([at_work.linked(*_named(model), seen, head)], f"locked pairs in head {head}")


def settling(model: Backbone, inputs: Tensor, *, sample: int = 0, head: int = 0) -> Figure:
    """Oscillators on their way from random starts to their fixed points among the anchors, layer by layer.

    Args:
        model: One of fixed-query attention.
        inputs: A batch as the model takes it.
        sample: Of the batch.
        head: Of the mechanism.

    Raises:
        ValueError: Nothing is pulled there.
    """
    seen = _seen(model, inputs, sample, "pull")
    _there("head", head, len(seen.of("pull")[0]))
    return at_work.paths(
        at_work.settling(seen, head), f"from random starts to fixed points (+: anchors), head {head}"
    )


def _entry(name: str) -> Entry:
    mechanism, _, variant = name.partition(":")
    return Entry(mechanism, variant or "default")


def _short(name: str) -> str:
    """`kope:default` -> `kope`."""
    return name.removesuffix(":default")


def _phases_of(model: Backbone, inputs: Tensor) -> list[np.ndarray[Any, Any]]:
    """Phases (B, H, N, m) of every layer, in evaluation mode."""
    import torch

    with evaluating(model), torch.no_grad():
        layers = model(inputs, diagnostics=True).diagnostics
    if not layers or any("phases" not in found for found in layers):
        raise ValueError(NOTHING.format("the mechanism has no phases"))
    return [found["phases"].double().cpu().numpy() for found in layers]


def _seen(model: Backbone, inputs: Tensor, sample: int, name: str) -> Diagnostics:
    """What the model does with one example, which must have a quantity in every layer."""
    from oscbench.models.diagnosed import diagnosed

    seen = diagnosed(model, inputs, sample)
    if not seen.of(name):
        raise ValueError(NOTHING.format(f"the mechanism has no {name.replace('_', ' ')}"))
    return seen


def _there(name: str, index: int | None, count: int) -> None:
    """Refuse an index that nothing stands at."""
    if index is not None and not -count <= index < count:
        raise ValueError(NOTHING.format(f"{name}: got {index}; there are {count}"))


def _named(model: Backbone) -> tuple[str, str]:
    """A model's mechanism, and its colour."""
    module = type(model.trunk.mechanism).__module__.rpartition(".")[2]
    return type(model.trunk.mechanism).label, look_of(Entry(module, "default")).colour
