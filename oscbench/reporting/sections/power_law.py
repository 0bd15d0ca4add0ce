"""Power laws of a suite that varies over a number: their table, and the figure with what they leave unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from oscbench import words
from oscbench.analysis.statistics.seeds import Interval
from oscbench.analysis.study import Study
from oscbench.analysis.sweeps.laws import Fit, Fits, scaling_fits
from oscbench.analysis.sweeps.sweep import Sweep
from oscbench.reporting.page.blocks import SUITE, Block, Folded, Prose
from oscbench.reporting.page.figure import Picture, Plan, axis_label, finish, legend, scaled, stacked
from oscbench.reporting.page.style import MUTED, Look, look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Reads, Table
from oscbench.settings import name_of

DECADE = 10.0


def scaling_table(sweep: Sweep, fits: Fits) -> Table | None:
    """Every law with its intervals; None where there is none."""
    if not fits.found:
        return None
    overs = list(dict.fromkeys(fit.over for fit in fits.found))
    caption = (
        f"Power law {fits.of} = a · x^(−exponent) over x = {' and over x = '.join(map(name_of, overs))}, fitted to the means over "
        "seeds in logarithms. "
        "The t interval takes each seed's effect on the exponent; the bootstrap over seeds is narrower than it says (a 95 % interval covers "
        "89 % at eight seeds, 84 % at five). The error is that of the points about the law, and a large one says that it is none"
    )
    return Table.of(f"{sweep.slug}-scaling", caption, COLUMNS, fits.found, partial(_raw, sweep, fits))


def _exponent(fit: Fit) -> str:
    return words.signed(f"{fit.scaling.law.exponent:.3f}")


def _interval_cell(ends: Interval | None) -> Cell:
    if ends is None:
        return Cell("one seed: none")
    return Cell(words.signed(f"[{ends.low:.3f}, {ends.high:.3f}]"), ends.low)


COLUMNS: tuple[Reads[Fit], ...] = (
    Reads("Mechanism", lambda fit: fit.name, "left"),
    Reads("Over", lambda fit: name_of(fit.over), "left"),
    Reads("Exponent", lambda fit: Cell(_exponent(fit), fit.scaling.law.exponent)),
    Reads("95 % t interval", lambda fit: _interval_cell(fit.scaling.exponent_t)),
    Reads("Bootstrap 95 %", lambda fit: _interval_cell(fit.scaling.exponent)),
    Reads("Error", lambda fit: Cell(f"{100 * fit.scaling.law.rms:.1f} %", fit.scaling.law.rms)),
)


def _raw(sweep: Sweep, fits: Fits, fit: Fit) -> dict[str, Any]:
    found, law = fit.scaling, fit.scaling.law
    place = {"suite": sweep.suite, "task": sweep.last.task, "varied": sweep.key, "entry": fit.name}
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


def scaling_picture(sweep: Sweep, fits: Fits) -> Picture:
    """The laws over the means that they were fitted to, and below them how far each mean lies from its law."""
    drawn = fits.drawn
    over = drawn[0].over
    with matplotlib.rc_context(settings()):
        figure, (axes, below) = stacked(4.2, (3, 1))
        for place, fit in enumerate(drawn):
            # Beside one another instead of on top; the same records give the same picture.
            aside = 1.02 ** (place - (len(drawn) - 1) / 2)
            _draw(axes, below, fit, fits.unit, look_of(sweep.entry(fit.name)), aside)
        below.axhline(0.0, color=MUTED, linewidth=0.9)
        title = f"{words.capitalised(fits.of)} as a power of the {name_of(over)}"
        axes.set_title(axis_label(title, fits.unit))
        _ticks(axes, below, drawn, fits.unit)
        below.set_xlabel(words.capitalised(name_of(over)))
        below.set_ylabel("Residual [%]")
        legend(figure, axes)
        alt = f"Above: {title}, means over seeds as points and laws as lines, both axes logarithmic. Below: the residuals. "
        alt += "; ".join(_words(fit) for fit in drawn) + "."
        return finish(figure, sweep.slug, "scaling", title, alt)


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
    hint(law, f"{fit.name}: exponent {_exponent(fit)}")
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
    at, worst = max(zip(fit.scaling.x, law.residuals, strict=True), key=lambda pair: abs(pair[1]))
    return f"{fit.name} exponent {_exponent(fit)}, largest residual {words.signed(f'{100 * worst:+.1f}')} % at {_size(at)}"


class PowerLaw:
    """How the result of each entry grows with what varies, where five sizes or more were run."""

    title = "Power laws"
    rank = 22
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """The laws over their points and their exponents; who has none, and why."""
        found: list[Block] = []
        for sweep in study.sweeps:
            fits = scaling_fits(sweep)
            table = scaling_table(sweep, fits)
            if table:
                found += [
                    Plan(1, partial(scaling_picture, sweep, fits)),
                    Folded("Exponents and their intervals", (table,)),
                ]
            if fits.refused:
                found.append(Prose((f"Scaling law: {fits.refused}.",), "quiet"))
        return found


section = PowerLaw
