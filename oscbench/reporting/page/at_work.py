"""Pictures of mechanisms at work on one example: fields over the image, who is locked to whom, and the ways to fixed points."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns  # noqa: F401 (registers the colour map mako)
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from oscbench.records.diagnostics import Array, Diagnostics
from oscbench.reporting.page.style import GRID, INK, MUTED

PANEL = 0.92
"""Inches of a panel, and its title."""
MOST_LINKED = 64
"""Tokens of a locking graph; of more some are left out, evenly."""
MOST_PATHS = 16
"""Oscillators whose ways are drawn."""
LETTERS_AN_INCH = 11
"""Of a bold title."""
_TIMES = np.linspace(0.0, 6.0, 49)


@dataclass(frozen=True)
class Row:
    """One mechanism's panels: what it is called, its colour, the image where there is one, and a field a layer."""

    name: str
    colour: str
    image: Array | None
    fields: Sequence[Array]


def attention_row(name: str, colour: str, seen: Diagnostics, query: int | None = None) -> Row:
    """Whom one token hears, the mean over heads: over the patches of an image; along a sequence every pair.

    Args:
        name: of the row.
        colour: of its name.
        seen: of one example.
        query: the token that hears; by default CLS, or in an image without one the mean of all tokens.
    """
    found = [layer.mean(0) for layer in seen.of("attention")]
    if not seen.is_image and query is None:
        return Row(name, colour, None, found)
    if query is None:
        query = int(np.argmax(seen.special)) if seen.special.any() else None
    heard = [pairs.mean(0) if query is None else pairs[query] for pairs in found]
    return Row(name, colour, _shown(seen.image), [field_of(values, seen) for values in heard])


def phases_row(name: str, colour: str, seen: Diagnostics, head: int = 0, oscillator: int = 0) -> Row:
    """One oscillator's phase at every token."""
    found = [layer[head, :, oscillator] for layer in seen.of("phases")]
    return Row(name, colour, _shown(seen.image), [field_of(values, seen) for values in found])


def field_of(values: Array, seen: Diagnostics) -> Array:
    """Values by token as a field over rows and columns; special tokens are left out."""
    known = seen.places[~seen.special]
    field = np.full(known.max(0) + 1, np.nan)
    field[known[:, 0], known[:, 1]] = values[~seen.special]
    return field


def _shown(image: Array | None) -> Array | None:
    """An image as eyes take it, (height, width) or (height, width, 3), from 0 to 1."""
    if image is None or image.shape[0] not in (1, 3):
        return None
    low, high = image.min(), image.max()
    scaled: Array = (image - low) / ((high - low) or 1.0)
    return scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)


def attention(rows: Sequence[Row], title: str) -> Figure:
    """Attention as brightness, each row from 0 to its own largest value."""
    figure, panels = _panels(rows, title)
    for row, axes in zip(rows, panels, strict=True):
        top = max((float(np.nanmax(field)) for field in row.fields), default=1.0) or 1.0
        _fill(row, axes, cmap="mako", vmin=0.0, vmax=top)
    return figure


def phases(rows: Sequence[Row], title: str) -> Figure:
    """Phases as hues that go round with the circle."""
    figure, panels = _panels(rows, title)
    for row, axes in zip(rows, panels, strict=True):
        _fill(row, axes, cmap="twilight", vmin=-np.pi, vmax=np.pi)
    scale = ScalarMappable(Normalize(-np.pi, np.pi), "twilight")
    bar = figure.colorbar(
        scale, ax=[one for axes in panels for one in axes], shrink=0.8, ticks=[-np.pi, 0, np.pi]
    )
    bar.ax.set_yticklabels(["\u2212π", "0", "π"], fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _entitle(figure: Figure, title: str) -> None:
    """A title over all panels, on as many lines as the figure's width asks for."""
    lines = textwrap.wrap(title, int(LETTERS_AN_INCH * figure.get_figwidth()))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=INK)


def _panels(rows: Sequence[Row], title: str) -> tuple[Figure, list[list[Axes]]]:
    """A row of panels for each mechanism: the image, and a panel a layer."""
    images = any(row.image is not None for row in rows)
    columns = max(len(row.fields) for row in rows) + images
    figure = Figure(figsize=(0.9 + PANEL * columns, 0.45 + PANEL * 1.1 * len(rows)), layout="constrained")
    _entitle(figure, title)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for column in range(columns):
        layer = column if images else column + 1
        text = "input" if images and column == 0 else f"layer {layer}"
        grid[0, column].set_title(text, fontsize=8, fontweight="normal", loc="center", color=MUTED)
    return figure, [list(one) for one in grid]


def _fill(row: Row, panels: Sequence[Axes], **scale: Any) -> None:
    """One row's image and fields, its name before them."""
    shift = len(panels) - len(row.fields) if row.image is None else 1
    if row.image is not None:
        panels[0].imshow(row.image, cmap="gray", interpolation="nearest")
    for axes, field in zip(panels[shift:], row.fields, strict=False):
        wide = field.shape[1] > 4 * field.shape[0]
        axes.imshow(field, interpolation="nearest", aspect="auto" if wide else "equal", **scale)
    panels[0].annotate(
        row.name,
        (-0.08, 0.5),
        xycoords="axes fraction",
        rotation=90,
        ha="right",
        va="center",
        fontsize=8,
        color=row.colour,
    )


@dataclass(frozen=True)
class Linked:
    """One mechanism's attention of all pairs (N, N), layer by layer, in one head."""

    name: str
    colour: str
    pairs: Sequence[Array]

    @property
    def is_sparse(self) -> bool:
        """Whether some pairs do not hear each other at all, beyond what a causal order forbids."""
        return any(
            bool((np.tril(pairs, -1)[np.tril_indices(len(pairs), -1)] == 0).any()) for pairs in self.pairs
        )


def linked(name: str, colour: str, seen: Diagnostics, head: int = 0) -> Linked:
    """Attention of one head in every layer."""
    return Linked(name, colour, [layer[head] for layer in seen.of("attention")])


def locking(rows: Sequence[Linked], title: str) -> Figure:
    """Tokens on a circle in their order, the first at the top; a line between two that are locked, the stronger the darker."""
    columns = max(len(row.pairs) for row in rows)
    figure = Figure(figsize=(0.5 + 1.45 * columns, 0.45 + 1.7 * len(rows)), layout="constrained")
    _entitle(figure, title)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, panels in zip(rows, grid, strict=True):
        for layer, (axes, pairs) in enumerate(zip(panels, row.pairs, strict=False)):
            _graph(axes, pairs, row.colour)
            off = ~np.eye(len(pairs), dtype=bool)
            share = float((pairs > 0)[off].mean()) if len(pairs) > 1 else 0.0
            before = f"{row.name}, " if layer == 0 and len(rows) > 1 else ""
            text = f"{before}layer {layer + 1}: {share:.0%} of pairs"
            axes.set_title(text, fontsize=8, fontweight="normal", loc="center", color=INK)
    return figure


def _graph(axes: Axes, pairs: Array, colour: str) -> None:
    """One layer's graph."""
    kept = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_LINKED)).round().astype(int))
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(kept)) / len(kept)
    where = np.column_stack((np.cos(angles), np.sin(angles)))
    strength = np.maximum(pairs, pairs.T)[np.ix_(kept, kept)]
    first, second = np.nonzero(np.triu(strength, 1) > 0)
    top = float(strength[first, second].max()) if len(first) else 1.0
    lines = LineCollection(
        list(np.stack((where[first], where[second]), axis=1)),
        colors=colour,
        alpha=(0.08 + 0.72 * strength[first, second] / top) if len(first) else None,
        linewidths=0.7,
        rasterized=True,
    )
    axes.add_collection(lines)
    axes.plot(where[:, 0], where[:, 1], "o", color=INK, markersize=2.2)
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim(-1.15, 1.15)
    axes.set_aspect("equal")


@dataclass(frozen=True)
class Settling:
    """Fixed points (N, d), the directions in which oscillators are pulled, and anchors (N, d) of one head, layer by layer."""

    rest: Sequence[Array]
    anchors: Sequence[Array]


def settling(seen: Diagnostics, head: int = 0) -> Settling:
    """Of one example; empty where the mechanism has no fixed points."""
    pulls, anchors = ([_unit(one[head]) for one in seen.of(name)] for name in ("pull", "anchors"))
    return Settling(pulls, anchors)


def _unit(vectors: Array) -> Array:
    """Vectors of length 1 in the same directions; 0 stays 0."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: Array = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return found


def paths(found: Settling, title: str) -> Figure:
    """Oscillators on their way from random starts to their fixed points among the anchors.

    Above, in the plane in which fixed points and anchors spread most; below, how far each still is.
    """
    count = len(found.rest)
    figure = Figure(figsize=(0.6 + 1.45 * count, 3.1), layout="constrained")
    _entitle(figure, title)
    above, below = figure.subplots(2, count, squeeze=False, height_ratios=(1.6, 1))
    for layer, (rest, anchors) in enumerate(zip(found.rest, found.anchors, strict=True)):
        kept = np.unique(np.linspace(0, len(rest) - 1, min(len(rest), MOST_PATHS)).round().astype(int))
        start = np.random.default_rng(layer).normal(size=rest[kept].shape)
        start /= np.linalg.norm(start, axis=-1, keepdims=True)
        path = path_to_rest(start, rest[kept], _TIMES)
        _ways(above[layer], path, rest[kept], anchors)
        above[layer].set_title(
            f"layer {layer + 1}", fontsize=8, fontweight="normal", loc="center", color=MUTED
        )
        below[layer].plot(_TIMES, angles_to_rest(path, rest[kept]), color=MUTED, linewidth=0.7)
        below[layer].set_ylim(0.0, np.pi)
        below[layer].set_yticks([0.0, np.pi], ["0", "π"] if layer == 0 else ["", ""])
        below[layer].set_xlabel("time", fontsize=8)
        below[layer].tick_params(labelsize=7)
    below[0].set_ylabel("to rest [rad]", fontsize=8)
    return figure


def _ways(axes: Axes, path: Array, rest: Array, anchors: Array) -> None:
    """One layer's paths (T, n, d) in a plane."""
    plane = _plane(np.concatenate((rest, anchors)))
    circle = np.linspace(0, 2 * np.pi, 97)
    axes.plot(np.cos(circle), np.sin(circle), color=GRID, linewidth=0.8)
    axes.plot(*(anchors @ plane).T, "+", color=MUTED, markersize=4)
    lines = (path @ plane).swapaxes(0, 1)
    axes.add_collection(LineCollection(list(lines), colors=MUTED, linewidths=0.7))
    axes.plot(*lines[:, 0].T, "o", color=MUTED, markerfacecolor="none", markersize=3)
    axes.plot(*(rest @ plane).T, "o", color=INK, markersize=3.5)
    axes.set_xlim(-1.1, 1.1)
    axes.set_ylim(-1.1, 1.1)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _plane(vectors: Array) -> Array:
    """(d, 2): the two directions in which unit vectors reach furthest; as they are where there are but two."""
    if vectors.shape[1] == 2:
        return np.eye(2)
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    found: Array = axes[:2].T
    return found * np.where(found.sum(0) < 0, -1.0, 1.0)


def path_to_rest(start: Array, rest: Array, times: Array) -> Array:
    """Where oscillators are at some times. Source: arXiv 2606.12059, Lohe dynamics under a constant pull, at unit speed.

    The angle θ between an oscillator and its fixed point obeys θ' = -sin θ, so tan(θ/2) falls by e^(-t) while the direction stays.

    Args:
        start: unit vectors at time 0, (…, d).
        rest: fixed points, unit vectors, (…, d).
        times: (T,), in units of one over the strength of the pull.

    Returns:
        (T, …, d), unit vectors.
    """
    cosine = np.clip((start * rest).sum(-1, keepdims=True), -1.0, 1.0)
    aside = start - cosine * rest
    length = np.linalg.norm(aside, axis=-1, keepdims=True)
    direction = np.divide(aside, length, out=np.zeros_like(aside), where=length > 1e-12)
    angle = 2.0 * np.arctan(
        np.tan(np.arctan2(length, cosine) / 2.0) * np.exp(-times).reshape(-1, *[1] * start.ndim)
    )
    path: Array = np.cos(angle) * rest + np.sin(angle) * direction
    return path


def angles_to_rest(path: Array, rest: Array) -> Array:
    """Angle of every oscillator to its fixed point [rad], (T, …)."""
    angles: Array = np.arccos(np.clip((path * rest).sum(-1), -1.0, 1.0))
    return angles
