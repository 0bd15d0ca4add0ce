"""Segmentation: how well classes or segments are found, and what each mechanism answers to the same images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, anchor
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, Prose, per_experiment
from oscbench.reporting.page.figure import Picture, Plan, finish
from oscbench.reporting.page.images import gallery, unpacked
from oscbench.reporting.page.scores import fraction_cell, means_raw
from oscbench.reporting.page.style import settings
from oscbench.reporting.page.table import Reads, Table

HEADLINES = ("miou", "miou_foreground", "pixel_accuracy", "pq", "pq_things", "pq_stuff", "sq", "rq")
CAPTIONS = {
    "miou": "Intersection over union of all pixels of the test split",
    "pq": "Panoptic quality, pooled over the test split, and its parts",
}
"""Measure -> what the table of experiments that have it is called."""
KEEPERS = ("pixel_accuracy", "pq")
"""Measures that keep what was answered to the first images."""
IGNORED = 255


def classes_table(experiment: Experiment) -> Table | None:
    """The headlines and each class's intersection over union, a column an entry: mean over finished cells."""
    names = [name for name in HEADLINES if _label(experiment, name)]
    names += sorted(
        {n for s in experiment.standings for r in s.finished for n in r.measures if n.startswith("iou_")}
    )
    shown = [s for s in experiment.standings if s.finished]
    caption = next((told for name, told in CAPTIONS.items() if name in names), None)
    if len(names) < 2 or not shown or caption is None:
        return None
    columns = (
        Reads("On the test split", partial(_label, experiment), "left"),
        *(Reads[str](s.name, partial(fraction_cell, standing=s), link=anchor(s)) for s in shown),
    )
    return Table.of(
        f"{experiment.slug}-classes",
        f"{caption}, mean over finished cells",
        columns,
        names,
        lambda name: means_raw(experiment, [name], shown),
    )


def _label(experiment: Experiment, name: str) -> str:
    """What the records call a measure, without the split that the column names; empty where none has it."""
    found = (r.measures[name].label for s in experiment.standings for r in s.finished if name in r.measures)
    return words.capitalised(next(found, "").removeprefix("test "))


def never_seen(experiment: Experiment) -> list[str]:
    """Classes that neither truth nor an answer showed in some cell, and that its mean so leaves out."""
    details = [
        r.measures[name].details
        for s in experiment.standings
        for r in s.finished
        for name in CAPTIONS
        if name in r.measures
    ]
    return sorted({name for found in details for name in found.get("never_seen", ())})


def examples(standing: Standing) -> Mapping[str, Any] | None:
    """The images that the first cell of an entry kept, with their truth and its answers."""
    for record in sorted(standing.finished, key=lambda r: r.seed):
        for found in (record.measures[name] for name in KEEPERS if name in record.measures):
            if "examples" in found.details:
                kept: Mapping[str, Any] = found.details["examples"]
                return kept
    return None


def part_of(kept: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
    """`images` (n, C, h, w), `truth` or `answers` (n, h, w) of kept examples, and their segments."""
    count, channels, height, width = kept["shape"]
    return unpacked(
        kept[name], (count, channels, height, width) if name == "images" else (count, height, width)
    )


def examples_picture(experiment: Experiment) -> Picture:
    """Images, what they show, and what each entry answers: the same images for all."""
    kept = [(s, found) for s in experiment.standings if (found := examples(s)) is not None]
    first = kept[0][1]
    images, truth = part_of(first, "images"), part_of(first, "truth")
    classes, background = len(first["classes"]), first["background"]
    rows = [("image", None), ("truth", truth), *((s.name, part_of(found, "answers")) for s, found in kept)]
    segments: list[NDArray[np.uint8] | None] = []
    if "truth_segments" in first:
        found_segments = (part_of(found, "answers_segments") for _, found in kept)
        segments = [None, part_of(first, "truth_segments"), *found_segments]
    with matplotlib.rc_context({**settings(), "axes.grid": False}):
        title = "The first test images, and each mechanism's answers"
        figure = gallery(title, images, rows, classes, background, segments)
        shares = "; ".join(f"{s.name} {_right(found)}" for s, found in kept)
        lined = ", dark lines between segments" if segments else ""
        alt = f"Pictures: {len(images)} test images, their true classes in colours{lined}, and answers. Pixels right in them: {shares}."
        return finish(figure, experiment.slug, "examples", title, alt)


def _right(kept: Mapping[str, Any]) -> str:
    """Share of labelled pixels of kept examples that are right."""
    truth, answers = part_of(kept, "truth"), part_of(kept, "answers")
    known = truth != IGNORED
    return words.quantity(float((truth == answers)[known].mean()), "fraction") if known.any() else "n/a"


class Segmentation:
    """What segmentation is scored by, class by class, and pictures of it."""

    title = "Segmentation"
    rank = 44
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Of each experiment that classes pixels or finds segments."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        table = classes_table(experiment)
        if table is None:
            return []
        found: list[Block] = []
        if any(examples(standing) for standing in experiment.standings):
            found.append(Plan(3, partial(examples_picture, experiment)))
        if lost := never_seen(experiment):
            found.append(
                Prose(
                    (f"Left out of some means, since never shown nor answered: {', '.join(lost)}.",), "caveat"
                )
            )
        return [*found, Folded("Class by class and part by part", (table,))]


section = Segmentation
