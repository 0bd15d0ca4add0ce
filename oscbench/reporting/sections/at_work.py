"""The mechanism at work, as pictures.

Order and synchrony over depth, before and after training, come from every record, and over training from those of suites that list the
measure `training_dynamics`; attention, phases, locking and ways to fixed points of one
test example from those whose weights were kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import gmean

from oscbench import words
from oscbench.analysis.dynamics import CONCENTRATION, dynamics, half_ways, layer_curves
from oscbench.analysis.experiment import Experiment, Standing, health_means
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.analysis.study import Study
from oscbench.records import Record
from oscbench.records.diagnostics import Diagnostics, read_diagnostics
from oscbench.reporting.page import at_work
from oscbench.reporting.page.blocks import SUITE, Block, Prose, per_experiment
from oscbench.reporting.page.dynamics import QUANTITIES as FOLLOWED
from oscbench.reporting.page.dynamics import draw_dynamics, shown_layers
from oscbench.reporting.page.figure import WIDTH, Picture, Plan, finish, name_ends
from oscbench.reporting.page.style import INK, look_of, settings

QUANTITIES = {"order_parameter": "Order of all phases", "synchrony": "Synchrony with those that are heard"}
"""What health says of phases, 0 to 1, by the name that records give it."""
MOST_ROWS = 8
"""Entries that a picture has room for."""


def depth_picture(experiment: Experiment) -> Picture:
    """Order and synchrony of every entry that has phases, layer by layer, before and after training."""
    means = health_means(experiment)
    entries = {s.name: s for s in experiment.standings}
    shown = [quantity for quantity in QUANTITIES if any(key[0] == quantity for key in means)]
    names = sorted({name for quantity, name, *_ in means if quantity in shown})
    layers = sorted({layer for quantity, _, layer, _ in means if quantity in shown})
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(WIDTH, 2.5 * len(shown)), layout="constrained")
        for axes, quantity in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
            ends = []
            for name in names:
                look = look_of(entries[name].entry)
                lines = {
                    when: [means.get((quantity, name, layer, when), np.nan) for layer in layers]
                    for when in ("start", "end")
                }
                x = [layer + 1 for layer in layers]
                axes.plot(x, lines["start"], "--", color=look.colour, linewidth=0.9, alpha=0.6)
                axes.plot(x, lines["end"], "-", color=look.colour, marker=look.marker, markersize=4)
                ends.append((float(lines["end"][-1]), name, look.colour))
            axes.set_ylim(0.0, 1.02)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_title(f"{QUANTITIES[quantity]}, by layer")
            name_ends(figure, axes, [end for end in ends if np.isfinite(end[0])])
        figure.axes[-1].set_xlabel("layer (dashed: before training)")
        told = "; ".join(_in_words(name, means, shown, layers) for name in names)
        title = "Order and synchrony over depth"
        return finish(figure, experiment.slug, "depth", title, f"Lines: {title}, after training. {told}.")


def _in_words(
    name: str, means: Mapping[tuple[str, str, int, str], float], shown: Sequence[str], layers: Sequence[int]
) -> str:
    found = []
    for quantity in shown:
        ends = [means.get((quantity, name, layer, "end"), np.nan) for layer in (layers[0], layers[-1])]
        found.append(f"{quantity.replace('_', ' ')} {' to '.join(f'{value:.2f}' for value in ends)}")
    return f"{name} {', '.join(found)}"


def dynamics_picture(experiment: Experiment) -> Picture:
    """Order, synchrony and concentration of some layers while entries trained."""
    entries = {str(s.entry): s for s in experiment.standings}
    table = dynamics(record for s in experiment.standings for record in s.finished)
    shown = [quantity for quantity in FOLLOWED if (table["quantity"] == quantity).any()]
    last = shown_layers(table)[-1]
    with matplotlib.rc_context(settings()):
        named = {name: (s.name, look_of(s.entry)) for name, s in sorted(entries.items())}
        figure = draw_dynamics(table, named, shown)
        title = "Order, synchrony and concentration over training"
        told = []
        for quantity in shown:
            of_last = table[(table["quantity"] == quantity) & (table["layer"] == last)]
            means = of_last.groupby(["entry", "step"])["value"].mean()
            told += [
                f"{FOLLOWED[quantity].lower()} of {entries[name].name} {means[name].iloc[0]:.2f} to {means[name].iloc[-1]:.2f}"
                for name in means.index.unique("entry")
            ]
        alt = f"Lines: {title}, by layer. From start to end in layer {last + 1}: {'; '.join(told)}."
        return finish(figure, experiment.slug, "over training", title, alt)


def which_came_first(experiment: Experiment) -> tuple[str, ...]:
    """A sentence an entry that was followed in both: when attention concentrated, and how much later synchrony came."""
    steps = half_ways(dynamics(record for s in experiment.standings for record in s.finished)).dropna()
    told = []
    for standing in experiment.standings:
        if str(standing.entry) not in steps.index:
            continue
        at = steps.loc[str(standing.entry)].groupby("seed")
        later, step = at["later"].mean().to_list(), gmean([gmean(found) for _, found in at[CONCENTRATION]])
        ends = mean_interval(later)
        gap = words.estimate(float(np.mean(later)), ends.low, ends.high, "1")
        told.append(
            f"{standing.name}: concentration of attention had gone half of its way at step {step:.0f}, synchrony "
            f"weighted by attention {gap} doublings of the step later (means over layers, {len(later)} seeds)."
        )
    return tuple(told)


def example_picture(
    experiment: Experiment, kind: str, seen: Sequence[tuple[Standing, Diagnostics]]
) -> Picture:
    """One of the pictures of an example: `attention`, `phases`, `locking` or `paths`."""
    with matplotlib.rc_context(settings()):
        figure, title = _EXAMPLES[kind](seen)
        names = ", ".join(standing.name for standing, _ in seen)
        alt = f"{title}. Of {names}, on the first test example."
        return finish(figure, experiment.slug, f"at work {kind}", title, alt)


def _attention(seen: Sequence[tuple[Standing, Diagnostics]]) -> tuple[Figure, str]:
    whom = "Whom CLS hears" if seen[0][1].special.any() else "Who hears whom"
    title = f"{whom}, mean over heads"
    rows = [at_work.attention_row(s.name, look_of(s.entry).colour, found) for s, found in seen]
    return at_work.attention(rows, title), title


def _phases(seen: Sequence[tuple[Standing, Diagnostics]]) -> tuple[Figure, str]:
    title = "Phase of the first oscillator as a hue"
    rows = [at_work.phases_row(s.name, look_of(s.entry).colour, found) for s, found in seen]
    return at_work.phases(rows, title), title


def _locking(seen: Sequence[tuple[Standing, Diagnostics]]) -> tuple[Figure, str]:
    title = "Which tokens are locked, first head"
    rows = [at_work.linked(s.name, look_of(s.entry).colour, found) for s, found in seen]
    return at_work.locking(rows, title), title


def _paths(seen: Sequence[tuple[Standing, Diagnostics]]) -> tuple[Figure, str]:
    title = f"{seen[0][0].name}: from random starts to fixed points among anchors (+)"
    return at_work.paths(at_work.settling(seen[0][1]), title), title


_EXAMPLES = {"attention": _attention, "phases": _phases, "locking": _locking, "paths": _paths}


def examples(experiment: Experiment, study: Study) -> dict[str, list[tuple[Standing, Diagnostics]]]:
    """Entries whose smallest seed with kept weights has diagnostics, for each picture that they are something for."""
    found: dict[str, list[tuple[Standing, Diagnostics]]] = {kind: [] for kind in _EXAMPLES}
    for standing in experiment.standings:
        cells = sorted(standing.finished, key=lambda r: r.seed)
        path = next((study.diagnostics[r.identity] for r in cells if r.identity in study.diagnostics), None)
        seen = read_diagnostics(path) if path else None
        if seen is None:
            continue
        pair = (standing, seen)
        if seen.of("attention"):
            found["attention"].append(pair)
            if at_work.linked("", INK, seen).is_sparse:
                found["locking"].append(pair)
        if seen.of("phases"):
            found["phases"].append(pair)
        if seen.of("pull"):
            found["paths"].append(pair)
    return {kind: pairs[:MOST_ROWS] for kind, pairs in found.items() if pairs}


class AtWork:
    """What mechanisms do inside, as pictures."""

    title = "The mechanism at work"
    rank = 72
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Depth and training from records; one test example where there are weights."""
        found = per_experiment(study, partial(_of, study))
        if found and not study.diagnostics:
            found.append(
                Prose(
                    (
                        "Attention over the input, phases as hues, locking and ways to fixed points are drawn of models whose weights were "
                        "kept (run --keep weights).",
                    ),
                    "quiet",
                )
            )
        return found


def is_followed(record: Record) -> bool:
    """Whether it holds what is drawn of layers while it trained; where none of it was ever a number, nothing is."""
    return any(
        quantity in FOLLOWED and any(map(math.isfinite, curve.y)) for quantity, curve in layer_curves(record)
    )


def _of(study: Study, experiment: Experiment) -> list[Block]:
    found: list[Block] = [
        Plan(3, partial(example_picture, experiment, kind, seen))
        for kind, seen in examples(experiment, study).items()
    ]
    means = health_means(experiment)
    layers = {layer for quantity, _, layer, _ in means if quantity in QUANTITIES}
    if len(layers) > 1:
        found.append(Plan(5, partial(depth_picture, experiment)))
    if any(is_followed(record) for s in experiment.standings for record in s.finished):
        found.append(Plan(3, partial(dynamics_picture, experiment)))
        if told := which_came_first(experiment):
            found.append(Prose(told))
    return found


section = AtWork
