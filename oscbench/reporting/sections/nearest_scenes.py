"""Captions with the image that each entry finds nearest to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.figure import WIDTH, Floats, Picture, Plan, finish
from oscbench.reporting.page.style import settings

KEY = "scenes"
"""Of the headline's details, where a task leaves its examples (`Score.details`)."""
COLUMNS = 3
SIDE = 1.45
"""Of a small picture [inches]."""


def scenes_of(standing: Standing) -> list[Mapping[str, Any]]:
    """The captions of an entry's first seed that has any, each with the image that is nearest to it and whether it is its own."""
    for record in standing.finished:
        found = record.measures[record.metric].details.get(KEY)
        if isinstance(found, list):
            return [one for one in found if isinstance(one, dict) and _whole(one)]
    return []


def _whole(scene: Mapping[str, Any]) -> bool:
    """Whether an example is as tasks write it: a record may come from anywhere."""
    text, image = scene.get("caption"), scene.get("image")
    if not (isinstance(text, str) and isinstance(image, str) and isinstance(scene.get("own"), bool)):
        return False
    rows = image.split("/")
    same = bool(rows[0]) and {len(row) for row in rows} == {len(rows[0])}
    return same and set(image) <= set("0123456789abcdef/")


def read(image: str) -> Floats:
    """Grey levels (height, width), 0 to 15, of an image that is written as text."""
    return np.array([[float(int(level, 16)) for level in row] for row in image.split("/")])


def scenes_picture(
    experiment: Experiment, standing: Standing, scenes: Sequence[Mapping[str, Any]]
) -> Picture:
    """Three captions a row."""
    with matplotlib.rc_context(settings()):
        rows = -(-len(scenes) // COLUMNS)
        figure = Figure(figsize=(WIDTH, SIDE * rows + 0.3), layout="constrained")
        places = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
        for axes in places:
            axes.set_axis_off()
        for axes, scene in zip(places, scenes, strict=False):
            axes.imshow(read(scene["image"]), cmap="gray", vmin=0, vmax=15, interpolation="nearest")
            mark = "✓" if scene["own"] else "✗"
            axes.set_title(f"{scene['caption']} {mark}"[:40], fontsize=6.5, fontweight="normal", loc="center")
        figure.suptitle(standing.name, fontsize=9.5, fontweight="bold", x=0.01, ha="left")
        told = "; ".join(f"{scene['caption']}: {'right' if scene['own'] else 'wrong'}" for scene in scenes)
        alt = f"The image that {standing.name} finds nearest to each caption. {words.capitalised(told)}."
        return finish(
            figure, experiment.slug, f"scenes-{standing.name}", f"Nearest scenes of {standing.name}", alt
        )


class NearestScenes:
    """A figure an entry."""

    title = "Captions and their nearest scenes"
    rank = 57
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Nothing where no task is about captions."""
        note = "Of a gallery of one image for each meaning, by each entry's first seed; the captions are evenly spaced, whoever was right."
        return per_experiment(study, self._of, note)

    def _of(self, experiment: Experiment) -> list[Block]:
        shown = ((standing, scenes_of(standing)) for standing in experiment.standings)
        return [Plan(3, partial(scenes_picture, experiment, s, scenes)) for s, scenes in shown if scenes]


section = NearestScenes
