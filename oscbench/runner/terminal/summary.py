"""How a run ended: what became of its cells, who is ahead, what to be careful about, and what to do next."""

from __future__ import annotations

import math
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from oscbench import words
from oscbench.records import Measurement, Record, Store
from oscbench.runner import changes
from oscbench.runner.kinds import kind_of

NOT_WELL = ("failed", "oom")


def tell_summary(records: list[Record], beside: Iterable[Record], store: Store, suite: str) -> int:
    """Say on standard error how the cells of one point ended; the exit code.

    Args:
        records: of the cells that were asked for.
        beside: of the floors and the search before them.
        store: where they are.
        suite: label.
    """
    both = [*beside, *records]
    counts = Counter(record.status for record in both)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    lines = [f"{suite}: {told}; records in {store.root}"]
    for record in both:
        if record.status != "ok":
            name = f"{record.mechanism}:{record.variant} seed {record.seed}"
            lines.append(f"  {record.status}: {name}: {record.reason}")
    lines += [f"  {warning}" for warning in (*changes.since(both), _oversized(records)) if warning]
    gone = sum(not store.has(record) for record in both)
    if gone:
        lines.append(
            f"  {gone} of these records are gone from {store.root}: somebody deleted or moved them meanwhile; run again"
        )
    rows = ranking(records)
    if rows:
        lines += ["", tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True), ""]
    print("\n".join(lines), file=sys.stderr)
    return 1 if gone or any(record.status in NOT_WELL for record in both) else 0


def ranking(records: Sequence[Record]) -> list[dict[str, str]]:
    """Entries by the mean of their headline results over the seeds that finished, best first; nothing for timings.

    The mean alone decides the order: whether a difference is one is what a report says.
    """
    entries: dict[str, list[Record]] = {}
    for record in records:
        if not kind_of(record.spec).times:
            variant = "" if record.variant == "default" else f":{record.variant}"
            entries.setdefault(f"{record.mechanism}{variant}", []).append(record)
    scored = [(name, cells, _scores(cells)) for name, cells in entries.items()]
    measured = [one for _, _, scores in scored for one in scores]
    if not measured:
        return []
    label, unit, sign = measured[0].label, measured[0].unit, -1 if measured[0].direction == "higher" else 1
    rows = []
    for name, cells, scores in scored:
        values = [float(one.value) for one in scores if one.value is not None]
        mean = statistics.fmean(values) if values else math.inf * sign
        shown = words.quantity(mean, unit) if values else words.MISSING
        if len(values) > 1:
            shown += f" (sd {words.spread(statistics.stdev(values), unit)})"
        seconds = words.quantity(statistics.fmean(cell.seconds for cell in cells), "s")
        row = {"mechanism": name, label: shown, "seeds": f"{len(values)} of {len(cells)}", "a cell": seconds}
        rows.append((sign * mean, row))
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _scores(cells: Iterable[Record]) -> list[Measurement]:
    """Of a cell that failed after its model was scored, too, nothing counts, as in a report."""
    found = (cell.measures.get(cell.metric) for cell in cells if cell.status == "ok")
    return [one for one in found if one is not None and one.value is not None]


def next_command(suites: Iterable[str], results: Path) -> str:
    """What shows the whole answer."""
    where = [] if results == Path("results") else ["--results", str(results)]
    return shlex.join(["oscbench", "report", *dict.fromkeys(suites), *where])


def _oversized(records: list[Record]) -> str:
    """What a cell says of a batch that holds all of its data; else empty."""
    flags = (flag for record in records for flag in record.flags)
    return next((flag for flag in flags if flag.startswith("batches of ")), "")
