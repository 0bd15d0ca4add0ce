"""Object discovery: every score of each entry beside the floors, and the same scenes with the clusters that each finds in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, anchor, values_of
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Prose, per_experiment
from oscbench.reporting.page.figure import Picture, Plan, finish
from oscbench.reporting.page.images import gallery, unpacked
from oscbench.reporting.page.scores import fraction_cell, means_raw
from oscbench.reporting.page.style import settings
from oscbench.reporting.page.table import Reads, Table, count_cell

SCORES = {
    "fg_ari": "FG-ARI",
    "mbo": "MBO",
    "ari": "ARI with background",
    "fg_ari_estimated": "FG-ARI, number by silhouette",
    "mbo_estimated": "MBO, number by silhouette",
    "ari_estimated": "ARI with background, number by silhouette",
    "knn_accuracy": "k-NN accuracy",
    "linear_accuracy": "accuracy of a linear probe",
}
"""What is scored of features that saw no label, in the order of the columns."""
HEADLINES = ("fg_ari", "knn_accuracy")
OVERLAP, GROUND = 0, 1
"""Of the objects that a record keeps; others are objects from 2 on."""
UNPAINTED = 255


def scores_table(experiment: Experiment) -> Table | None:
    """A row an entry or floor, best headline first: mean over finished cells of each score."""
    shown = [s for s in experiment.standings if s.finished]
    names = [name for name in SCORES if any(values_of(s, name) for s in shown)]
    if experiment.metric not in HEADLINES or not names:
        return None
    what = "Features" if experiment.metric == "knn_accuracy" else "Clusters"
    columns = (
        Reads[Standing](f"{what} of", lambda s: s.name, "left"),
        Reads("cells", lambda s: count_cell(len(s.finished))),
        *(Reads(SCORES[name], partial(fraction_cell, name)) for name in names),
    )
    caption = (
        "Scores on the test of features trained without a label, mean over finished cells, floors among them"
    )
    best_first = sorted(shown, key=lambda s: -_mean(s, experiment.metric))
    name, raw = f"{experiment.slug}-discovery", partial(means_raw, experiment, names)
    return Table.of(name, caption, columns, best_first, lambda s: raw([s]), anchor)


def _mean(standing: Standing, name: str) -> float:
    values = values_of(standing, name)
    return float(np.mean(values)) if values else float("-inf")


def scenes_of(standing: Standing) -> Mapping[str, Any] | None:
    """The scenes that the first cell of an entry kept, with their objects and its clusters."""
    for record in sorted(standing.finished, key=lambda r: r.seed):
        measured = record.measures.get("fg_ari")
        if measured is not None and isinstance(measured.details.get("scenes"), dict):
            kept: Mapping[str, Any] = measured.details["scenes"]
            return kept
    return None


def maps_of(kept: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
    """`images` (n, C, h, w), `objects` or `clusters` (n, h, w)."""
    count, channels, height, width = kept["shape"]
    shape = (count, channels, height, width) if name == "images" else (count, height, width)
    return unpacked(kept[name], shape)


def matched(clusters: NDArray[np.uint8], objects: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Clusters of a scene by the numbers of what they overlap most, one to one, so that the colours are the objects'; others follow."""
    groups, inverse = np.unique(clusters, return_inverse=True)
    names = [name for name in np.unique(objects) if name != OVERLAP]
    member = inverse.reshape(clusters.shape)
    shared = np.array([[((member == g) & (objects == n)).sum() for n in names] for g in range(len(groups))])
    rows, columns = linear_sum_assignment(-shared)
    numbers = np.zeros(len(groups), dtype=np.int64)
    numbers[rows] = [names[column] for column in columns]
    others = numbers == 0
    numbers[others] = max(names) + 1 + np.arange(others.sum())
    return np.asarray(numbers[member], dtype=np.uint8)


def scenes_picture(experiment: Experiment) -> Picture:
    """Scenes, their objects, and each entry's clusters: the same scenes for all."""
    kept = [(s, found) for s in experiment.standings if (found := scenes_of(s)) is not None]
    images, objects = maps_of(kept[0][1], "images"), maps_of(kept[0][1], "objects")
    truth = np.where(objects == OVERLAP, UNPAINTED, objects).astype(np.uint8)
    rows: list[tuple[str, NDArray[np.uint8] | None]] = [("scene", None), ("objects", truth)]
    for standing, found in kept:
        groups = maps_of(found, "clusters")
        rows.append((standing.name, np.stack([matched(g, o) for g, o in zip(groups, objects, strict=True)])))
    most = 1 + max(int(m[m != UNPAINTED].max()) for _, m in rows if m is not None)
    with matplotlib.rc_context({**settings(), "axes.grid": False}):
        title = "The first test scenes, and the clusters that each finds"
        figure = gallery(title, images, rows, most, GROUND)
        told = "; ".join(f"{s.name} {words.quantity(_mean(s, 'fg_ari'), 'fraction')}" for s, _ in kept)
        alt = f"Pictures: {len(images)} test scenes, their objects in colours, and clusters. FG-ARI over the test: {told}."
        return finish(figure, experiment.slug, "discovery", title, alt)


class Discovery:
    """What features tell that were trained without labels."""

    title = "Without labels: objects and features"
    rank = 45
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Of each experiment that trains without labels."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        table = scores_table(experiment)
        if table is None:
            return []
        found: list[Block] = [table]
        if any(scenes_of(standing) for standing in experiment.standings):
            note = "FG-ARI rewards cutting a scene into blobs: see what coordinates reach, and read it beside MBO and ARI with background."
            found = [Prose((note,), "quiet"), table, Plan(3, partial(scenes_picture, experiment))]
        return found


section = Discovery
