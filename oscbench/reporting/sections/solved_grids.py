"""Rules on coloured grids: what was shown, what was asked, the truth, and what each entry answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.figure import WIDTH, Floats, Picture, Plan, finish
from oscbench.reporting.page.style import MUTED, settings

KEY = "grids"
"""Of the headline's details, where a task leaves its examples (`Score.details`)."""
COLOURS = ListedColormap(
    [
        "#000000",
        "#0074d9",
        "#ff4136",
        "#2ecc40",
        "#ffdc00",
        "#aaaaaa",
        "#f012be",
        "#ff851b",
        "#7fdbff",
        "#870c25",
    ]
)
"""Of ARC-AGI's own pages, 0 to 9."""
COLUMNS = 4
DEMONSTRATIONS = 2
SIDE = 1.12
"""Of a small picture [inches]."""


@dataclass(frozen=True)
class Tile:
    """A grid with what is said above it; None where an entry gave no grid."""

    text: str
    grid: str | None


def examples_of(standing: Standing) -> list[Mapping[str, Any]]:
    """The examples of an entry's first seed that has any."""
    for record in standing.finished:
        found = record.measures[record.metric].details.get(KEY)
        if isinstance(found, list):
            return [one for one in found if isinstance(one, dict) and _whole(one)]
    return []


def _whole(example: Mapping[str, Any]) -> bool:
    """Whether an example is as tasks write it: a record may come from anywhere."""
    shown = example.get("demonstrations")
    pairs = shown if isinstance(shown, list) else []
    if not pairs or any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
        return False
    grids = [grid for pair in pairs for grid in pair] + [example.get("hidden"), example.get("truth")]
    answer = example.get("answer")
    return (
        isinstance(example.get("rule"), str)
        and all(map(_is_grid, grids))
        and (answer is None or _is_grid(answer))
    )


def _is_grid(text: Any) -> bool:
    """Rows of one length of the digits of colours."""
    if not isinstance(text, str):
        return False
    rows = text.split("/")
    return (
        bool(rows[0])
        and {len(row) for row in rows} == {len(rows[0])}
        and all(row.isascii() and row.isdigit() for row in rows)
    )


def read(text: str) -> Floats:
    """Colours (height, width) of a grid that is written as text."""
    return np.array([[float(colour) for colour in row] for row in text.split("/")])


def rules_of(experiment: Experiment) -> dict[str, list[Tile]]:
    """Rules with the pictures of each: demonstrations, the hidden grid, the truth, and the answer of every entry that has the same."""
    answers = {s.name: {one["rule"]: one for one in examples_of(s)} for s in experiment.standings}
    found: dict[str, list[Tile]] = {}
    for rule, one in next((examples for examples in answers.values() if examples), {}).items():
        tiles = [
            Tile(text, grid)
            for pair in one["demonstrations"][:DEMONSTRATIONS]
            for text, grid in zip(("shown", "becomes"), pair, strict=True)
        ]
        tiles += [Tile("asked", one["hidden"]), Tile("truth", one["truth"])]
        for name, theirs in answers.items():
            if rule in theirs and theirs[rule]["hidden"] == one["hidden"]:
                answer = theirs[rule]["answer"]
                mark = "✓" if answer == one["truth"] else "✗"
                tiles.append(Tile(f"{name} {mark}", answer))
        found[rule] = tiles
    return found


def rule_picture(experiment: Experiment, rule: str, tiles: Sequence[Tile]) -> Picture:
    """All pictures of a rule, four in a row."""
    with matplotlib.rc_context(settings()):
        rows = -(-len(tiles) // COLUMNS)
        figure = Figure(figsize=(WIDTH, SIDE * rows + 0.3), layout="constrained")
        places = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
        for axes, tile in zip(places, tiles, strict=False):
            _draw(axes, tile)
        for axes in places[len(tiles) :]:
            axes.set_axis_off()
        figure.suptitle(rule, fontsize=9.5, fontweight="bold", x=0.01, ha="left")
        told = "; ".join(tile.text for tile in tiles[2 * DEMONSTRATIONS + 2 :])
        alt = f"Grids of the rule {rule}: demonstrations, the hidden grid, the truth and answers ({told})."
        return finish(figure, experiment.slug, f"grids-{rule}", f"Grids: {rule}", alt)


def _draw(axes: Axes, tile: Tile) -> None:
    axes.set_title(tile.text, fontsize=7, fontweight="normal", loc="center")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if tile.grid is None:
        axes.text(
            0.5, 0.5, "no grid", ha="center", va="center", fontsize=7, color=MUTED, transform=axes.transAxes
        )
        return
    axes.pcolormesh(read(tile.grid), cmap=COLOURS, vmin=-0.5, vmax=9.5, edgecolors=MUTED, linewidth=0.3)
    axes.set_aspect("equal")
    axes.invert_yaxis()


class SolvedGrids:
    """A figure a rule, of the few that records hold."""

    title = "Rules and answers"
    rank = 56
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Nothing where no task is about grids."""
        note = (
            "The answers of each entry's first seed to one hidden grid of some rules, chosen by their place in the test "
            "and not by who was right."
        )
        return per_experiment(study, self._of, note)

    def _of(self, experiment: Experiment) -> list[Block]:
        return [
            Plan(3, partial(rule_picture, experiment, rule, tiles))
            for rule, tiles in rules_of(experiment).items()
        ]


section = SolvedGrids
