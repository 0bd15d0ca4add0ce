"""Segmentation: intersection over union class by class, and what each mechanism answers to the same images."""

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

HEADLINES = ("miou", "miou_foreground", "pixel_accuracy")
IGNORED = 255


def classes_table(experiment: Experiment) -> Table | None:
    """The headlines and each class's intersection over union, a column an entry: mean over finished cells."""
    names = [name for name in HEADLINES if _label(experiment, name)]
    names += sorted(
        {n for s in experiment.standings for r in s.finished for n in r.measures if n.startswith("iou_")}
    )
    shown = [s for s in experiment.standings if s.finished]
    if len(names) < 2 or not shown:
        return None
    columns = (
        Reads("On the test split", partial(_label, experiment), "left"),
        *(Reads[str](s.name, partial(fraction_cell, standing=s), link=anchor(s)) for s in shown),
    )
    caption = "Intersection over union of all pixels of the test split, mean over finished cells"
    return Table.of(
        f"{experiment.slug}-classes",
        caption,
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
        r.measures["miou"].details for s in experiment.standings for r in s.finished if "miou" in r.measures
    ]
    return sorted({name for found in details for name in found.get("never_seen", ())})


def examples(standing: Standing) -> Mapping[str, Any] | None:
    """The images that the first cell of an entry kept, with their truth and its answers."""
    for record in sorted(standing.finished, key=lambda r: r.seed):
        found = record.measures.get("pixel_accuracy")
        if found is not None and "examples" in found.details:
            kept: Mapping[str, Any] = found.details["examples"]
            return kept
    return None


def part_of(kept: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
    """`images` (n, C, h, w), `truth` or `answers` (n, h, w) of kept examples."""
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
    with matplotlib.rc_context({**settings(), "axes.grid": False}):
        title = "The first test images, and each mechanism's answers"
        figure = gallery(title, images, rows, classes, background)
        shares = "; ".join(f"{s.name} {_right(found)}" for s, found in kept)
        alt = f"Pictures: {len(images)} test images, their true classes in colours, and answers. Pixels right in them: {shares}."
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
        """Of each experiment whose headline is mIoU."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        table = classes_table(experiment) if experiment.metric == "miou" else None
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
        return [*found, Folded("Intersection over union class by class", (table,))]


section = Segmentation
