"""Power laws of a suite that varies over a number: their table, and the figure with what they leave unexplained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from oscbench import words
from oscbench.analysis.experiment import Section
from oscbench.analysis.frame import value_of
from oscbench.analysis.power_law import Interval, Scaling, ScalingError, fit_scaling
from oscbench.reporting.drawing import Picture, axis_label, finish, legend, scaled, stacked
from oscbench.reporting.style import MUTED, Look, settings
from oscbench.reporting.tables import Cell, Column, Table
from oscbench.reporting.varied import Family
from oscbench.reporting.vector import hint

SIZES = ("width", "layers")
"""Numbers that change how many parameters a model has; over these the law is fitted to the parameters too."""
PARAMETERS = "parameters"
DECADE = 10.0


@dataclass(frozen=True)
class Fit:
    """The law of one entry.

    Attributes:
        name: of the entry.
        over: what x is, the varied number or `parameters`.
        scaling: the law with its points and intervals.
    """

    name: str
    over: str
    scaling: Scaling


@dataclass(frozen=True)
class Fits:
    """All laws of a suite.

    Attributes:
        of: what falls as a power law, in words.
        unit: of it.
        found: one for every entry and x that a law can be fitted to.
        refused: why the others have none; empty where all have one.
    """

    of: str
    unit: str
    found: tuple[Fit, ...]
    refused: str

    @property
    def drawn(self) -> list[Fit]:
        """Those over the parameters, where the suite varies a size, and else over its number."""
        return [fit for fit in self.found if fit.over == self.found[-1].over]


def scaling_fits(family: Family) -> Fits:
    """Fit every entry, to its error where its metric is a share that is better when higher."""
    last = family.last
    is_error = last.unit == "fraction" and last.direction == "higher"
    label = words.lowered(last.metric_label)
    overs = (family.key, PARAMETERS) if family.key.rpartition(".")[2] in SIZES else (family.key,)
    found: list[Fit] = []
    refused: dict[str, list[str]] = {}
    for over in overs:
        for name in family.names:
            try:
                # A fixed seed: the same records give the same page, digit for digit.
                generator = np.random.default_rng(0)
                results = _results(family, name, over, is_error)
                found.append(Fit(name, over, fit_scaling(results, with_offset=False, generator=generator)))
            except ScalingError as error:
                refused.setdefault(str(error), []).append(name)
    why = "; ".join(f"none for {', '.join(dict.fromkeys(n))}: {reason}" for reason, n in refused.items())
    return Fits(f"1 {words.MINUS} {label}" if is_error else label, last.unit, tuple(found), why)


def _results(family: Family, name: str, over: str, is_error: bool) -> dict[float, dict[int, float]]:
    """Size -> seed -> what is fitted, at the values where an entry finished."""
    results = {}
    for value, section in family.points:
        found = family.by_seed(section, name)
        if found:
            x = value if over == family.key else _parameters(family, section, name)
            results[x] = {seed: 1 - y if is_error else y for seed, y in found.items()}
    return results


def _parameters(family: Family, section: Section, name: str) -> float:
    """An entry's parameters at a point, after matching; NaN where a cell has no count."""
    standing = family.standing(section, name)
    counts = [value_of(record, "params") for record in standing.finished] if standing else []
    return float(np.median(counts)) if counts else math.nan


def scaling_table(family: Family, fits: Fits) -> Table | None:
    """Every law with its intervals; None where there is none."""
    if not fits.found:
        return None
    overs = list(dict.fromkeys(fit.over for fit in fits.found))
    caption = (
        f"Power law {fits.of} = a · x^(−exponent) over x = {' and over x = '.join(overs)}, fitted to the means over seeds in logarithms. "
        "The t interval takes each seed's effect on the exponent; the bootstrap over seeds is narrower than it says (a 95 % interval covers "
        "89 % at eight seeds, 84 % at five). The error is that of the points about the law, and a large one says that it is none"
    )
    headings = ("Exponent", "95 % t interval", "Bootstrap 95 %", "Error")
    columns = (Column("Mechanism", "left"), Column("Over", "left"), *(Column(h) for h in headings))
    rows, raw = tuple(map(_row, fits.found)), tuple(_raw(family, fits, fit) for fit in fits.found)
    return Table(f"{family.slug}-scaling", caption, columns, rows, raw)


def _row(fit: Fit) -> tuple[Cell, ...]:
    law = fit.scaling.law
    return (
        Cell(fit.name),
        Cell(fit.over),
        Cell(words.signed(f"{law.exponent:.3f}"), law.exponent),
        _interval_cell(fit.scaling.exponent_t),
        _interval_cell(fit.scaling.exponent),
        Cell(f"{100 * law.rms:.1f} %", law.rms),
    )


def _interval_cell(ends: Interval | None) -> Cell:
    if ends is None:
        return Cell("one seed: none")
    return Cell(words.signed(f"[{ends.low:.3f}, {ends.high:.3f}]"), ends.low)


def _raw(family: Family, fits: Fits, fit: Fit) -> dict[str, Any]:
    found, law = fit.scaling, fit.scaling.law
    place = {"suite": family.suite, "task": family.last.task, "varied": family.key, "entry": fit.name}
    numbers = {"exponent": law.exponent, "scale": law.scale, "rms": law.rms}
    return (
        place
        | {"over": fit.over, "of": fits.of}
        | numbers
        | _ends("t", found.exponent_t)
        | _ends("bootstrap", found.exponent)
        | {"lost": found.lost}
        | {"x": " ".join(map(repr, found.x)), "residuals": " ".join(map(repr, law.residuals))}
    )


def _ends(name: str, ends: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": ends.low if ends else None, f"{name}_high": ends.high if ends else None}


def scaling_picture(family: Family, fits: Fits, looks: Mapping[str, Look]) -> Picture:
    """The laws over the means that they were fitted to, and below them how far each mean lies from its law."""
    drawn = fits.drawn
    over = drawn[0].over
    with matplotlib.rc_context(settings()):
        figure, (axes, below) = stacked(4.2, (3, 1))
        for place, fit in enumerate(drawn):
            # Beside one another instead of on top; the same records give the same picture.
            aside = 1.02 ** (place - (len(drawn) - 1) / 2)
            _draw(axes, below, fit, fits.unit, looks[fit.name], aside)
        below.axhline(0.0, color=MUTED, linewidth=0.9)
        title = f"{words.capitalised(fits.of)} as a power of {over}"
        axes.set_title(axis_label(title, fits.unit))
        _ticks(axes, below, drawn, fits.unit)
        below.set_xlabel(over)
        below.set_ylabel("Residual [%]")
        legend(figure, axes)
        alt = f"Above: {title}, means over seeds as points and laws as lines, both axes logarithmic. Below: the residuals. "
        alt += "; ".join(_words(fit) for fit in drawn) + "."
        return finish(figure, family.slug, "scaling", title, alt)


def _draw(axes: Axes, below: Axes, fit: Fit, unit: str, look: Look, aside: float) -> None:
    """One law: line and points above, residuals below."""
    found = fit.scaling
    shifted = aside * np.array(found.x)
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": 4}
    line = np.geomspace(found.x[0], found.x[-1], 2)
    residuals = [words.signed(f"{100 * one:+.1f}") for one in found.law.residuals]
    (law,) = axes.plot(line, scaled([found.law.at(x) for x in line], unit), color=look.colour, linewidth=1.3)
    (dots,) = axes.plot(shifted, scaled(found.y, unit), linestyle="none", label=fit.name, **style)
    (away,) = below.plot(shifted, 100 * np.array(found.law.residuals), linewidth=0.7, **style)
    hint(law, f"{fit.name}: exponent {words.signed(f'{found.law.exponent:.3f}')}")
    places = [f"{fit.name} at {_size(x)}" for x in found.x]
    hint(dots, "", (f"{at}: mean {words.quantity(y, unit)}" for at, y in zip(places, found.y, strict=True)))
    hint(away, fit.name, (f"{at}: residual {one} %" for at, one in zip(places, residuals, strict=True)))


def _ticks(axes: Axes, below: Axes, drawn: Sequence[Fit], unit: str) -> None:
    """Logarithmic axes with plain numbers; x has a tick at each size, as the first entry has it."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    y = scaled([value for fit in drawn for value in fit.scaling.y], unit)
    wide = y.max() / y.min() >= DECADE
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    below.xaxis.set_major_locator(FixedLocator(drawn[0].scaling.x))
    below.xaxis.set_minor_locator(NullLocator())
    below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size(value)))
    below.yaxis.set_major_locator(MaxNLocator(3))


def _size(value: float) -> str:
    return f"{value:g}" if value < 1000 else words.quantity(value, "1")


def _words(fit: Fit) -> str:
    law = fit.scaling.law
    exponent = words.signed(f"{law.exponent:.3f}")
    at, worst = max(zip(fit.scaling.x, law.residuals, strict=True), key=lambda pair: abs(pair[1]))
    return f"{fit.name} exponent {exponent}, largest residual {words.signed(f'{100 * worst:+.1f}')} % at {_size(at)}"
