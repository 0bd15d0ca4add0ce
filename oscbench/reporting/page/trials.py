"""The trials of a search: as a picture of the score against one setting, and as a table of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from oscbench import words
from oscbench.analysis.search import Search, Tuned, is_number, key_of, setting, value_text
from oscbench.records.ledger import TrialRow
from oscbench.reporting.page.figure import Picture, axis_label, canvas, finish, legend, scaled
from oscbench.reporting.page.style import Look, look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Reads, Table, count_cell, number_cell

MOST_TICKS = 7
"""As many as can be read."""


def scored(one: Search, place: str) -> list[tuple[Any, float]]:
    """(value, score) of every trial that has one and repeats no other."""
    rows = [row for row in one.entry.trials if not row.repeats]
    return [(row.values[place], row.score) for row in rows if row.score is not None]


def trials_picture(tuned: Tuned, place: str) -> Picture:
    """The score of every trial against one setting; the chosen ones are ringed, those without a score stand at the worse end."""
    experiment = tuned.experiment
    own = [one for one in tuned.searches if place in one.entry.space]
    tried = [row.values[place] for one in own for row in one.entry.trials]
    numbers = all(map(is_number, tried))
    ordered = sorted(set(tried)) if numbers else list(dict.fromkeys(map(value_text, tried)))
    at = (lambda value: float(value)) if numbers else (lambda value: float(ordered.index(value_text(value))))
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(2.9)
        phrases = [_drawn(axes, tuned, one, place, at, look_of(key_of(one.entry))) for one in own]
        _value_axis(axes, own, place, ordered, numbers)
        axes.set_xlabel(setting(place))
        title = f"{words.capitalised(tuned.metric_label)} against {setting(place)}"
        axes.set_title(axis_label(title, experiment.unit))
        legend(figure, axes)
        alt = f"Points: {title}, one a trial, mean over its seeds; ringed: what was chosen. {'; '.join(phrases)}."
        return finish(figure, tuned.slug, f"sensitivity {place}", title, alt)


def _drawn(axes: Axes, tuned: Tuned, one: Search, place: str, at: Any, look: Look) -> str:
    """Draw one entry's trials; what they show, in words."""
    unit, pairs = tuned.experiment.unit, sorted(scored(one, place), key=lambda pair: at(pair[0]))
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": "none"}
    x = [at(value) for value, _ in pairs]
    (dots,) = axes.plot(x, scaled([score for _, score in pairs], unit), label=one.name, markersize=5, **style)
    phrases = [f"{tuned.score(score)} at {value_text(value)}" for value, score in pairs]
    hint(dots, "", (f"{one.name}: {text}" for text in phrases))
    best = one.entry.score
    if best is not None:
        ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.2}
        (chosen,) = axes.plot([at(one.entry.chosen[place])], scaled([best], unit), **style, **ring)
        hint(
            chosen,
            f"{one.name}, chosen: {tuned.score(best)} at {value_text(one.entry.chosen[place])}",
        )
    lost = [at(row.values[place]) for row in one.entry.trials if row.score is None]
    if lost:
        height = 0.98 if tuned.experiment.direction == "lower" else 0.02
        axes.plot(
            lost,
            [height] * len(lost),
            "x",
            color=look.colour,
            markersize=6,
            transform=axes.get_xaxis_transform(),
        )
    listed = ", ".join(phrases)
    without = f" and {len(lost)} without a score (crosses)" if lost else ""
    return f"{one.name} {listed or 'no score'}{without}"


def _value_axis(axes: Axes, own: Sequence[Search], place: str, ordered: Sequence[Any], numbers: bool) -> None:
    """Logarithmic where the search was, places without distance for words, and as many ticks as can be read."""
    if not numbers:
        axes.set_xticks(range(len(ordered)), [str(value) for value in ordered])
        return
    axis = own[0].entry.space[place]
    reached = [one.entry.reached[place] for one in own]
    choices = None
    if "choices" in axis:
        choices = sorted({value for one in reached for value in one["choices"]})
    ends = choices or [min(one["low"] for one in reached), max(one["high"] for one in reached)]
    spread = choices is not None and min(ends) > 0 and max(ends) / min(ends) >= 4
    if axis.get("log") or spread:
        axes.set_xscale("log")
    if choices is not None and len(choices) <= MOST_TICKS:
        axes.set_xticks(choices)
    elif axis.get("log") or spread:
        axes.set_xticks(_round_ticks(ends[0], ends[-1]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten inside a range, or 1 alone where these are too many to read."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= MOST_TICKS and inside:
            return inside
    return [low, high]


def trials_table(tuned: Tuned) -> Table:
    """Every trial of every entry, in order."""
    unit, seeds = tuned.experiment.unit, tuned.ledger.scoring_seeds if tuned.ledger else ()
    trials = [
        _Trial(one, number, row)
        for one in tuned.searches
        for number, row in enumerate(one.entry.trials, start=1)
    ]
    columns: list[Reads[_Trial]] = [
        Reads("Mechanism", lambda trial: trial.search.name, "left"),
        Reads("Trial", lambda trial: count_cell(trial.number)),
        *(
            Reads[_Trial](words.capitalised(setting(key)), partial(_place_cell, place=key))
            for key in tuned.places
        ),
        Reads("Score", lambda trial: number_cell(known(trial.row.score), unit)),
        *(
            Reads[_Trial](f"Seed {seed}", partial(_score_cell, place=place, unit=unit))
            for place, seed in enumerate(seeds)
        ),
        Reads("Training", lambda trial: number_cell(known(trial.row.training_flops), "FLOP")),
        Reads("Time", lambda trial: number_cell(trial.row.seconds, "s")),
        Reads("Note", _note, "left"),
    ]
    return Table.of(
        f"{tuned.slug}-trials",
        f"Every trial: {tuned.metric_label}, mean over the scoring seeds and each of them",
        columns,
        trials,
        lambda trial: _trial_raw(tuned, trial, seeds),
        lambda trial: trial.search.link(trial.row),
    )


class _Trial(NamedTuple):
    """A trial, its number, and whose search it is of."""

    search: Search
    number: int
    row: TrialRow


def _trial_raw(tuned: Tuned, trial: _Trial, seeds: Sequence[int]) -> dict[str, Any]:
    row, entry = trial.row, trial.search.entry
    return (
        identified(tuned, trial.search)
        | {"trial": trial.number, "chosen": row is entry.chosen_trial, "repeats": row.repeats}
        | {key: row.values.get(key) for key in tuned.places}
        | {"score": row.score}
        | {f"score_seed{seed}": score for seed, score in zip(seeds, row.scores, strict=False)}
        | {"statuses": " ".join(row.statuses), "training_flops": row.training_flops}
        | {"seconds": row.seconds, "identities": " ".join(row.identities)}
    )


def _note(trial: _Trial) -> str:
    row, entry = trial.row, trial.search.entry
    notes = ["the suite's own values"] if row is entry.given_trial else []
    notes += ["chosen"] if row is entry.chosen_trial else []
    notes += ["a choice that was made before"] if row.repeats else []
    notes += sorted({status for status in row.statuses if status != "ok"})
    return ", ".join(notes)


def _score_cell(trial: _Trial, place: int, unit: str) -> Cell:
    """The score at one of the scoring seeds; a trial that broke has none."""
    scores = trial.row.scores
    return number_cell(known(scores[place] if place < len(scores) else None), unit)


def _place_cell(trial: _Trial, place: str) -> Cell:
    """What a trial had in one place; empty where its mechanism has no such setting."""
    return value_cell(trial.row.values[place]) if place in trial.row.values else Cell("")


def value_cell(value: Any) -> Cell:
    """A chosen value, sorted as a number where it is one."""
    return Cell(value_text(value), value if is_number(value) else None)


def known(value: float | None) -> float:
    """NaN for what is not there."""
    return math.nan if value is None else value


def identified(tuned: Tuned, one: Search) -> dict[str, Any]:
    """Columns of a CSV that say whose search a row is of."""
    experiment = tuned.experiment
    names = {"mechanism": one.entry.mechanism, "variant": one.entry.variant}
    return {"suite": experiment.suite, "task": experiment.task, "protocol": experiment.protocol, **names}
