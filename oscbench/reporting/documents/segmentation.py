"""Who sees what belongs together: classes of all pixels, segments, and whether phases group what belongs to one object."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import gmean

from oscbench import words
from oscbench.analysis.dynamics import half_way
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.sweeps.sweep import Sweep
from oscbench.reporting.documents import Document, picture, table
from oscbench.reporting.documents.support.bound import bound
from oscbench.reporting.documents.support.forest import forest
from oscbench.reporting.documents.support.reached import reached, rows_of
from oscbench.reporting.documents.support.searches import search_of
from oscbench.reporting.documents.support.standings import (
    by_value,
    comparisons_table,
    in_short,
    under_title,
)
from oscbench.reporting.documents.support.suites import (
    VERDICTS,
    description_of,
    few_told,
    nothing_of,
    report_of,
)
from oscbench.reporting.sections.binding import (
    followed,
    over_training_picture,
    phases_told,
)

RANK = 40
_HEAD = f"""# Segmentation: who sees what belongs together, and do phases bind it?

The class of every pixel, or a segment per object, read by linear maps from what the mechanism alone has combined: the task that KoPE
was published for (arXiv 2604.07904). Means with 95 % t intervals over seeds, each for itself; {VERDICTS}
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Claims on it
stand in [claims](claims.md#k6), those on phases [there too](claims.md#k11).
"""
_SUITES = ("scene_segmentation", "camvid", "camvid_rates", "scene_panoptic", "scene_panoptic_rates")
_MEASURES = {
    "miou": "mIoU",
    "miou_foreground": "mIoU without background",
    "pixel_accuracy": "Pixels right",
    "miou_at_48": "mIoU on scenes of 48 × 48, trained on 32 × 32",
    "pq_things": "PQ of things",
    "pq_stuff": "PQ of stuff",
    "sq": "SQ, overlap of matched segments",
    "rq": "RQ, F1 of matching",
}


def document(loaded: Loaded) -> Document:
    """What each suite compares, what each mechanism reaches in every measure, and what its phases and attention bind."""
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    asked = [(question.title, question.comparisons) for question in report.questions]
    more = [
        f"{e.title}, beside what the suite compares: {sentence}"
        for e in report.experiments
        for sentence in phases_told(e)
    ]
    rows = rows_of(report)
    shown, files = forest("segmentation", "Differences in mIoU or PQ", rows) if rows else ("", {})
    parts = []
    varied = {family.points[0][1].slug: family for family in report.sweeps}
    for experiment in report.experiments:
        if family := varied.get(experiment.slug):
            parts.append(_over_values(family))
        text, drawn = _of(experiment, loaded)
        parts.append(text)
        files |= drawn
    head = under_title(_HEAD, in_short(asked, more))
    return Document(f"{head}\n{shown}{''.join(parts)}{few_told(loaded, _SUITES)}", files)


def _over_values(family: Sweep) -> str:
    """What a suite that varies a number answers over all its values; its points follow, each a part of its own."""
    return (
        f"\n## {family.title}\n\n{description_of(family.last.suite, family.last.description)}\n\n"
        f"{words.capitalised(family.last.metric_label)}, over all values:\n\n{comparisons_table(family.overall)}\n{by_value(family)}\n"
        "Below, at each value, p is at least that of the pair over all values.\n"
    )


def _of(experiment: Experiment, loaded: Loaded) -> tuple[str, dict[str, str]]:
    course, files = _course(experiment)
    return (
        f"{reached(experiment, _MEASURES)}{bound(experiment)}{course}{search_of(experiment, loaded)}",
        files,
    )


def _course(experiment: Experiment) -> tuple[str, dict[str, str]]:
    """What was followed of binding while models trained, as a picture and a row for each quantity and entry; empty where nothing was."""
    seen, shown = followed(experiment)
    if not shown:
        return "", {}
    drawn = over_training_picture(experiment)
    image, files = picture(f"segmentation_{experiment.suite}", drawn.svg, drawn.alt)
    last = seen[seen["layer"] == seen["layer"].max()].sort_values("step")
    rows = []
    for title in shown:
        for standing in experiment.standings:
            of = last[(last["quantity"] == title) & (last["entry"] == str(standing.entry))]
            courses = [(one["step"].tolist(), one["value"].tolist()) for _, one in of.groupby("seed")]
            if not courses:
                continue
            start, end = (float(np.mean([values[at] for _, values in courses])) for at in (0, -1))
            half = [step for steps, values in courses if math.isfinite(step := half_way(steps, values))]
            came = f"{gmean(half):.0f} ({len(half)} of {len(courses)} seeds)" if half else words.MISSING
            rows.append((title, standing.name, words.significant(start), words.significant(end), came))
    told = table(
        ("Quantity, last layer", "Mechanism", "Before training", "After", "Half of its way at step"),
        rows,
        numbers=3,
    )
    how = (
        "While they train, on the first test images; half of the way is to where a quantity was farthest from its start, and steps are\n"
        "geometric means over seeds."
    )
    return f"\n{how}\n\n{image}\n{told}\n", files
