"""Timing suites in the report: cost against the number of tokens, ratios to the reference, growth, and shares of the machine's ceilings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import matplotlib
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from oscbench import words
from oscbench.analysis.costs.growth import (
    Growth,
    TimingRow,
    fit_growth,
)
from oscbench.analysis.costs.timing import (
    PEAK,
    RATIO,
    TIME,
    TimingGroup,
    op_of,
    pass_name,
    quantities,
    timing_groups,
)
from oscbench.analysis.fairness import busy_notes
from oscbench.analysis.selection import Entry, anchor_of
from oscbench.analysis.study import Study
from oscbench.records import Record
from oscbench.reporting.page.blocks import SUITE, Block, Facts, Heading, Prose
from oscbench.reporting.page.figure import Picture, Plan, canvas, finish
from oscbench.reporting.page.style import look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Reads, Table


def _line(contender: str) -> str:
    backend = contender.partition(":")[2]
    return {"reference": ":", "sparse": "--"}.get(backend, "-." if "[" in backend else "-")


def group_blocks(group: TimingGroup) -> list[Block]:
    """Everything that is shown of one group: figures, and a table of ratios or peaks for each quantity."""
    slug, rows = group.slug, group.rows
    tables: list[Table] = []
    plans: list[Plan] = []
    for quantity in quantities(rows, TIME):
        name = quantity.removesuffix(TIME)
        tables.append(_ratio_table(slug, name, rows, group.growth))
        lines = _over_tokens(rows, quantity)
        if lines:
            kind = f"{name.replace('_', ' ')} time"
            plans.append(Plan(1, partial(_picture, slug, kind, "s", lines)))
    for quantity in quantities(rows, PEAK):
        tables.append(_peak_table(slug, quantity, rows, group.growth))
        name = quantity.removesuffix(PEAK).replace("_", " ")
        lines = _over_tokens(rows, quantity)
        if lines:
            plans.append(Plan(3, partial(_picture, slug, f"{name} peak memory", "B", lines)))
    counts = _counts_table(slug, rows)
    tables += [counts] if counts else []
    link = anchor_of(group.records[0])
    linked = [replace(table, links=tuple(link for _ in table.rows)) for table in tables]
    return [Facts(_facts(group.records)), *plans, *linked]


def _facts(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """What the numbers were measured against and on."""
    reference = sorted({str(r.spec.get("reference")) for r in records})
    commits = sorted({r.commit[:10] for r in records if r.commit})
    ceilings = {name: m for r in records for name, m in r.measures.items() if name.startswith("ceiling_")}
    loads = [float(r.environment["load_average"]) for r in records if "load_average" in r.environment]
    facts = [("Reference of ratios", ", ".join(reference))]
    facts += [
        (m.label.capitalize(), words.quantity(float(m.value), m.unit, 3))
        for _, m in sorted(ceilings.items())
        if m.value is not None
    ]
    facts.append(
        ("Load of the machine", f"{min(loads):.1f} to {max(loads):.1f}" if loads else "not recorded")
    )
    facts.append(("Energy", _energy(records)))
    facts.append(("Code", f"commit {', '.join(commits)}" if commits else "no commit recorded"))
    return tuple(facts)


def _energy(records: Sequence[Record]) -> str:
    """Joules are measured on trained models; a timing suite says so, or why they could not be had."""
    found = [m for r in records for name, m in r.measures.items() if "_energy_j" in name]
    if any(m.value is not None for m in found):
        return "measured; see the tables"
    reasons = sorted({m.reason for m in found if m.reason})
    return f"unavailable: {'; '.join(reasons)}" if reasons else "not measured in timing suites"


def _counts_table(slug: str, rows: Sequence[TimingRow]) -> Table | None:
    """FLOPs of a forward pass in closed form at every size, their growth, and the special functions at the largest."""
    counted = [row for row in rows if isinstance(row.details.get("flops"), int | float)]
    counts = _by_contender(counted, "forward" + TIME)
    if not counts:
        return None
    flops = {c: {n: float(str(row.details["flops"])) for n, row in own.items()} for c, own in counts.items()}

    def growth(contender: str) -> Cell:
        return _growth_cell(fit_growth(list(flops[contender]), list(flops[contender].values())))

    def special(contender: str) -> Cell:
        found = counts[contender][max(counts[contender])].details.get("special_functions")
        number = float(found) if isinstance(found, int | float) else math.nan
        return Cell(words.quantity(number, "1"), number)

    return Table.of(
        f"{slug}-counts",
        "Counted, not timed: FLOPs of a forward pass in closed form, by number of tokens N, over the whole batch",
        [
            *_by_tokens(flops, chain(*flops.values()), partial(words.quantity, unit="FLOP")),
            Reads("FLOPs grow as", growth),
            Reads("Sines, exponentials, roots at the largest N", special),
        ],
        counts,
        lambda contender: [
            {"contender": contender, "tokens": n, "flops": f} for n, f in flops[contender].items()
        ],
    )


def _by_tokens(
    numbers: Mapping[str, Mapping[int, float | None]], sizes: Iterable[int], written: Callable[[float], str]
) -> list[Reads[str]]:
    """The contender, and a column a number of tokens."""

    def read(n: int, contender: str) -> Cell:
        number = numbers.get(contender, {}).get(n)
        return Cell(words.MISSING if number is None else written(number), number)

    columns = (Reads(f"N {n}", partial(read, n)) for n in sorted(set(sizes)))
    return [Reads("Contender", str, "left"), *columns]


def _by_contender(rows: Sequence[TimingRow], quantity: str) -> dict[str, dict[int, TimingRow]]:
    """Rows of a quantity by contender and number of tokens, ascending."""
    found: dict[str, dict[int, TimingRow]] = {}
    for row in rows:
        if row.quantity == quantity:
            found.setdefault(row.contender, {})[row.tokens] = row
    return {contender: dict(sorted(own.items())) for contender, own in found.items()}


def _values(found: Mapping[str, Mapping[int, TimingRow]]) -> dict[str, dict[int, float | None]]:
    return {contender: {n: row.value for n, row in own.items()} for contender, own in found.items()}


def _ratio_table(
    slug: str, name: str, rows: Sequence[TimingRow], growth: Mapping[tuple[str, str], Growth]
) -> Table:
    """Median ratio to the reference at every size, the exponent of time, and the share of the ceiling at the largest."""
    ratios, times = _values(_by_contender(rows, name + RATIO)), _by_contender(rows, name + TIME)
    return Table.of(
        f"{slug}-{name.replace('_', '-')}",
        f"{pass_name(name).capitalize()}: time over the reference's, taken in turn; by number of tokens N",
        [
            *_by_tokens(ratios, chain(*times.values()), "{:.2f}×".format),
            Reads("Time grows as", lambda contender: _growth_cell(growth.get((contender, name + TIME)))),
            Reads("Of the ceiling", lambda contender: _ceiling_cell(times[contender]), "left"),
        ],
        times,
        lambda contender: [
            _raw(row, ratios.get(contender, {}).get(n)) for n, row in times[contender].items()
        ],
    )


def _raw(time: TimingRow, ratio: float | None) -> dict[str, object]:
    return {
        "contender": time.contender,
        "tokens": time.tokens,
        "seconds": time.value,
        "ratio": ratio,
        "rounds": time.rounds,
        "converged": time.details.get("converged"),
        "roofline_share": time.details.get("roofline_share"),
        "bound_by": time.details.get("bound_by"),
        "reason": time.reason,
    }


def _peak_table(
    slug: str, quantity: str, rows: Sequence[TimingRow], growth: Mapping[tuple[str, str], Growth]
) -> Table:
    """Peak memory at every size and its exponent."""
    peaks = _by_contender(rows, quantity)
    return Table.of(
        f"{slug}-{quantity.replace('_', '-')}",
        f"Peak memory of a {pass_name(quantity.removesuffix(PEAK))} above the level before it, in a fresh process",
        [
            *_by_tokens(_values(peaks), chain(*peaks.values()), partial(words.quantity, unit="B")),
            Reads("Memory grows as", lambda contender: _growth_cell(growth.get((contender, quantity)))),
        ],
        peaks,
        lambda contender: [
            {"contender": contender, "tokens": n, "bytes": row.value, "reason": row.reason}
            for n, row in peaks[contender].items()
        ],
    )


def _growth_cell(growth: Growth | None) -> Cell:
    if growth is None:
        return Cell(words.MISSING)
    text = f"N^{growth.exponent:.2f}"
    if growth.low is not None and growth.high is not None:
        text += f" [{growth.low:.2f}, {growth.high:.2f}]"
    return Cell(text, growth.exponent)


def _ceiling_cell(times: Mapping[int, TimingRow]) -> Cell:
    """Share of the binding ceiling at the largest size that was measured."""
    for n, row in sorted(times.items(), reverse=True):
        share = row.details.get("roofline_share")
        if row.value is not None and isinstance(share, float):
            return Cell(f"{100 * share:.0f} % of {row.details.get('bound_by')} at N {n}", share)
    return Cell(words.MISSING)


def _over_tokens(rows: Sequence[TimingRow], quantity: str) -> dict[str, list[tuple[int, float]]]:
    """A quantity of each contender against tokens; empty where fewer than two sizes were measured."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.quantity == quantity and row.value is not None and row.value > 0:
            lines.setdefault(row.contender, []).append((row.tokens, row.value))
    sizes = {n for points in lines.values() for n, _ in points}
    return {contender: sorted(points) for contender, points in lines.items()} if len(sizes) > 1 else {}


def _picture(
    slug: str,
    kind: str,
    unit: str,
    lines: Mapping[str, Sequence[tuple[int, float]]],
) -> Picture:
    """Cost against tokens, both on logarithmic axes."""
    sizes = sorted({n for points in lines.values() for n, _ in points})
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.4 + 0.16 * math.ceil(len(lines) / 2))
        for contender, points in lines.items():
            look = look_of(Entry(op_of(contender), "default"))
            (line,) = axes.plot(
                [n for n, _ in points],
                [cost for _, cost in points],
                color=look.colour,
                marker=look.marker,
                markersize=4,
                linewidth=1.2,
                linestyle=_line(contender),
                label=contender,
            )
            hint(
                line,
                contender,
                (f"{contender} at N {n}: {words.quantity(cost, unit, 3)}" for n, cost in points),
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("Tokens N")
        title = f"{kind.capitalize()} [{unit}]"
        axes.set_title(title)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
        ends = "; ".join(
            f"{c} {words.quantity(p[-1][1], unit, 3)} at N {p[-1][0]}" for c, p in sorted(lines.items())
        )
        return finish(figure, slug, kind, title, f"Lines: {kind} against tokens. {ends}.")


class Timing:
    """What each contender costs: time over the reference's, growth with the number of tokens, and shares of the machine's ceilings."""

    title = "Times"
    rank = 15
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """One group of numbers that were taken in turn after another."""
        found: list[Block] = []
        for group in timing_groups(study.loaded.records):
            found.append(Heading(group.title))
            if group.answer:
                found.append(Prose((words.capitalised(group.answer),), "lead"))
            found += [
                Prose((words.capitalised(note),), "caveat") for note in busy_notes(group.records, "these")
            ]
            found += group_blocks(group)
        return found


section = Timing
