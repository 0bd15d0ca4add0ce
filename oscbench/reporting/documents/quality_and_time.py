"""The README's second picture: what a mechanism reaches, against what a training step of it takes over softmax's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oscbench import words
from oscbench.analysis.choices import position_of
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.floors import is_floor
from oscbench.analysis.frame import Loaded, value_of
from oscbench.analysis.selection import Entry
from oscbench.positions import parted
from oscbench.records import Record, suite_name
from oscbench.reporting.documents import Document, picture, table
from oscbench.reporting.documents.support.suites import nothing_of, report_of
from oscbench.reporting.page.figure import axis_label, finish, scaled
from oscbench.reporting.page.style import INK, MUTED, look_of, settings

RANK = 130
_PANELS = (
    ("digits, tuned", "tuned_digits", "timing_models", "ViT-S/16"),
    ("agreement", "agreement", "timing_decoder", "12-layer decoder"),
    ("bytes of Python source", "language_small", "timing_decoder", "12-layer decoder"),
)
"""Panel, suite of the quality, suite of the time, and the model that was timed."""
_CHEAP = ("name", "gamma", "learn_gamma", "base", "mix_gain", "init_locked", "position")
"""Settings that change numbers, or add one vector to a token, and no other work. An entry has the time of what was timed with all others
alike, and none where nothing was."""
_ROOM, _LINE = 0.45, 0.055
"""Of a name, as shares of a panel's width and height."""
_HEAD = """# What does quality cost in time?

Means over seeds with 95 % intervals, against the time of a training step of a whole model over softmax's, measured in turn on an idle
machine's processor (none on a GPU yet) at equal width, heads and MLP. The timed model is not the small trained one: times
say what a mechanism costs in use, with those settings of the entry that affect cost (an entry never timed with them has no
time here).
A hollow dot adds other positions to its tokens than softmax does in its suite, which may explain its quality. Made from the
[reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed.

"""


class _Point(NamedTuple):
    """One entry: mean and interval in the experiment's unit, time of a step over softmax's, and where its positions come from."""

    name: str
    entry: Entry
    mean: float
    low: float
    high: float
    time: float
    position: str
    alike: bool


def document(loaded: Loaded) -> Document:
    """A panel a task, and the same as tables."""
    found = [
        (title, model, experiment, points)
        for title, suite, timing, model in _PANELS
        for experiment in _experiments(loaded, suite)
        if (points := _points(experiment, _times(loaded, timing, experiment)))
    ]
    if not found:
        return Document(_HEAD + nothing_of(loaded, [suite for _, suite, _, _ in _PANELS]))
    name, title = "quality_and_time", "Quality against the time of a training step"
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(3.0 * len(found), 3.0), layout="constrained")
        for axes, (panel, model, experiment, points) in zip(
            figure.subplots(1, len(found), squeeze=False)[0], found, strict=True
        ):
            _draw(axes, experiment, points)
            axes.set_title(panel, fontsize=9)
            axes.set_xlabel(f"training step over softmax's,\n{model}", fontsize=7.5)
        svg = finish(figure, name, "time", title, title).svg
    shown, files = picture(name, svg, f"{title}; the numbers stand in the tables below")
    parts = [_HEAD + shown]
    for panel, model, experiment, points in found:
        headings = ("Mechanism", "Positions", f"{experiment.metric_label}, mean ± 95 %", f"Step, {model}")
        rows = [
            (p.name, p.position, _quality(p, experiment.unit), words.times(p.time))
            for p in sorted(points, key=lambda p: p.time)
        ]
        parts.append(f"\n## {words.capitalised(panel)}\n\n{table(headings, rows, numbers=2)}\n")
    return Document("".join(parts), files)


def _experiments(loaded: Loaded, suite: str) -> Sequence[Experiment]:
    report = report_of(loaded, (suite,))
    return report.single if report else ()


class _Timed(NamedTuple):
    """What was timed: a mechanism with settings, and its time over softmax's."""

    name: str
    settings: Mapping[str, Any]
    time: float


def _times(loaded: Loaded, suite: str, experiment: Experiment) -> list[_Timed]:
    """Times of a training step over softmax's, of the newest record of a timing suite on a device of the trained cells."""
    devices = {r.device for s in experiment.standings for r in s.finished}
    timed = (r for r in loaded.records if is_timing(r) and suite_name(r.suite) == suite)
    own = [r for r in timed if r.device in devices]
    if not own:
        return []
    newest = max(own, key=lambda record: record.finished_utc)
    found = [
        _Timed(one["name"], one["settings"], value_of(newest, f"step_ratio/{one['key']}"))
        for one in newest.spec["contenders"]
    ]
    return [one for one in found if np.isfinite(one.time)]


def _time_of(record: Record, times: Sequence[_Timed]) -> float | None:
    """The time of what does the same work; None where nothing was timed that does."""
    own = _work(record.spec["mechanism"])
    return next((t.time for t in times if t.name == record.mechanism and _work(t.settings) == own), None)


def _work(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _CHEAP}


def _points(experiment: Experiment, times: Sequence[_Timed]) -> list[_Point]:
    positions = {s.entry: position_of(s.finished[0]) for s in experiment.standings if s.finished}
    usual = {parted(position)[0] for entry, position in positions.items() if entry.mechanism == "softmax"}
    return [
        _Point(
            s.name,
            s.entry,
            s.summary.mean,
            s.summary.interval.low,
            s.summary.interval.high,
            time,
            positions[s.entry],
            parted(positions[s.entry])[0] in usual,
        )
        for s in experiment.standings
        if s.summary and not is_floor(s.finished[0]) and (time := _time_of(s.finished[0], times)) is not None
    ]


def _draw(axes: Axes, experiment: Experiment, points: Sequence[_Point]) -> None:
    """Better is up, faster is left."""
    for point in points:
        look = look_of(point.entry)
        low, mean, high = map(float, scaled([point.low, point.mean, point.high], experiment.unit))
        fill = look.colour if point.alike else "none"
        axes.plot([point.time] * 2, [low, high], color=look.colour, linewidth=1.4)
        axes.plot([point.time], [mean], look.marker, color=look.colour, markerfacecolor=fill, markersize=6)
    if experiment.direction == "lower":
        axes.invert_yaxis()
    worst, best = axes.get_ylim()
    # Room for names above the best; no axis has more than all.
    most = 100.5 if experiment.unit == "fraction" else np.inf
    axes.set_ylim(worst, min(best + 0.2 * (best - worst), most))
    axes.axvline(1.0, color=MUTED, linewidth=0.7)
    axes.set_xlim(0.9, max(point.time for point in points) + 0.25)
    label = axis_label(experiment.metric_label, experiment.unit, 30)
    axes.set_ylabel(f"{label}{', up is better' if experiment.direction == 'lower' else ''}", color=INK)
    _name(axes, experiment.unit, points)


def _name(axes: Axes, unit: str, points: Sequence[_Point]) -> None:
    """Names beside their dots, where neither another name nor a dot stands; a line leads to a dot that is not beside its name."""
    inside = axes.transLimits
    dots: dict[str, tuple[float, float]] = {
        p.name: tuple(inside.transform((p.time, float(scaled(p.mean, unit))))) for p in points
    }
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: p.mean):
        x, y = dots[point.name]
        others = [dot for name, dot in dots.items() if name != point.name]
        height = next(at for at in _heights(y) if _is_free(x, at, taken, others))
        taken.append((x, height))
        colour = look_of(point.entry).colour
        style: dict[str, Any] = {"fontsize": 7, "color": colour, "va": "center"}
        style |= {"xycoords": "axes fraction", "textcoords": "axes fraction"}
        if abs(height - y) > _LINE:
            line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0.0, 0.5), "shrinkB": 4}
            style["arrowprops"] = line
        axes.annotate(point.name, (x, y), (x + 0.03, height), **style)


def _heights(y: float) -> Iterator[float]:
    """Where a name may stand, from its dot's height on up and down inside the panel; then above it."""
    steps = range(round(1.0 / _LINE) * 4)
    for step in steps:
        for at in (y + step * _LINE / 4, y - step * _LINE / 4):
            if _LINE / 2 < at < 1.0 - _LINE / 2:
                yield at
    yield from (1.0 + step * _LINE for step in steps)


def _is_free(
    x: float, at: float, taken: Sequence[tuple[float, float]], dots: Sequence[tuple[float, float]]
) -> bool:
    names = any(abs(x - left) < _ROOM and abs(at - height) < _LINE for left, height in taken)
    return not names and not any(x <= left < x + _ROOM and abs(at - height) < _LINE for left, height in dots)


def _quality(point: _Point, unit: str) -> str:
    return f"{words.quantity(point.mean, unit, 4)} {words.half_width(point.low, point.high, unit)}".strip()
