"""Did the code get dearer? Two runs of the benchmark, or two results folders, held against one another (no torch).

Hard quantities (parameters, FLOPs, operations, evaluations) may not change at all, peak bytes may not grow by more than a
tenth, and a ratio to softmax taken in the same interleaved run may not worsen by more than 30 %. Absolute times are never
judged: they belong to a machine and an hour.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from oscbench.errors import UserError, allowed, kind_and_line
from oscbench.records import Record, Store, packed
from oscbench.records.asked import is_asked
from oscbench.roles import has_role

REGRESSION_EXIT_CODE = 3
PEAK_GROWTH = 0.10
RATIO_GROWTH = 0.30

Kind = Literal["hard", "peak_bytes", "ratios"]
KINDS: tuple[Kind, ...] = ("hard", "peak_bytes", "ratios")
Verdict = Literal["same", "regression", "better", "new"]


class CompareError(UserError):
    """Something that is neither a benchmark file nor a results folder."""


@dataclass(frozen=True)
class Reading:
    """What one run says of one subject: quantities by name, of the three kinds."""

    hard: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One quantity of one subject in both runs."""

    subject: str
    kind: Kind
    quantity: str
    old: float | None
    new: float | None
    verdict: Verdict

    @property
    def relative(self) -> float | None:
        """new/old - 1, None where there is no such number."""
        if self.old is None or self.new is None or self.old == 0:
            return None
        return self.new / self.old - 1.0


def compare(old: Mapping[str, Reading], new: Mapping[str, Reading]) -> list[Change]:
    """Every quantity of every subject of either run, in a stable order."""
    changes = []
    for subject in sorted({*old, *new}):
        before, after = old.get(subject, Reading()), new.get(subject, Reading())
        for kind in KINDS:
            was, now = getattr(before, kind), getattr(after, kind)
            for quantity in sorted({*was, *now}):
                a, b = was.get(quantity), now.get(quantity)
                changes.append(Change(subject, kind, quantity, a, b, _verdict(kind, a, b)))
    return changes


def _verdict(kind: Kind, old: float | None, new: float | None) -> Verdict:
    if old is None:
        return "new"
    if new is None:
        return "regression"  # what is no longer measured is no longer guarded
    if kind == "hard":
        return "same" if old == new else "regression"
    limit = PEAK_GROWTH if kind == "peak_bytes" else RATIO_GROWTH
    if not new <= old * (1.0 + limit):  # NaN too
        return "regression"
    return "better" if new < old * (1.0 - limit) else "same"


def regressions(changes: list[Change]) -> list[Change]:
    """Those that fail the gate."""
    return [change for change in changes if change.verdict == "regression"]


def read(path: Path) -> dict[str, Reading]:
    """Readings of a pytest-benchmark file or of a results folder, by subject.

    Raises:
        CompareError: it is neither, or holds nothing to compare.
    """
    found = _from_records(path) if path.is_dir() else _from_benchmark(path)
    if not found:
        raise CompareError(f"{path}: nothing to compare; no benchmark with a gate and no record in it")
    return found


def _from_benchmark(path: Path) -> dict[str, Reading]:
    try:
        packed.regular(path)
        data = json.loads(path.read_text(encoding="utf-8"))
        return {
            entry["extra_info"].get("subject", entry["name"]): Reading(**entry["extra_info"]["gate"])
            for entry in data["benchmarks"]
            if "gate" in entry["extra_info"]
        }
    except OSError as error:
        raise CompareError(f"{path}: cannot be read ({error.strerror})") from error
    except packed.UnreadableError as error:
        raise CompareError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CompareError(f"{path}: not a file of `tox -e bench`: {kind_and_line(error)}") from error


def _from_records(folder: Path) -> dict[str, Reading]:
    store = Store(folder)
    records, _ = store.read_all()
    newest: dict[str, Record] = {}
    asked = is_asked(store)  # as a report shows them
    for record in sorted(records, key=lambda one: (asked(one), one.finished_utc, one.identity)):
        newest[_subject(record)] = record
    return {subject: _of_record(record) for subject, record in newest.items() if record.measures}


def _subject(record: Record) -> str:
    """Which cell, and where it ran: what two devices take is never compared."""
    where = f"{record.suite}/{record.task}"
    device = "" if record.device == "cpu" else f"@{record.device}"
    return f"{where}/{record.mechanism}:{record.variant}/seed{record.seed}{device}"


def _of_record(record: Record) -> Reading:
    reading = Reading()
    for name, measured in record.measures.items():
        if measured.value is None or (isinstance(measured.value, float) and math.isnan(measured.value)):
            continue
        if has_role(name, "exact"):
            reading.hard[name] = measured.value
        elif has_role(name, "peak"):
            reading.peak_bytes[name] = measured.value
        elif name.split("/")[0].endswith("_ratio"):
            reading.ratios[name] = measured.value
    return reading


def table(changes: list[Change], *, everything: bool = False) -> list[dict[str, Any]]:
    """Rows for people: what changed, or all there is."""
    return [
        {
            "subject": change.subject,
            "quantity": _quantity(change),
            "old": _shown(change.old),
            "new": _shown(change.new),
            "change": "" if change.relative is None else f"{change.relative:+.1%}",
            "verdict": change.verdict,
        }
        for change in changes
        if everything or change.verdict != "same"
    ]


def _quantity(change: Change) -> str:
    """`params`, `peak bytes of step`, `ratio of step`."""
    before = {"hard": "", "peak_bytes": "peak bytes of ", "ratios": "ratio of "}[change.kind]
    return before + change.quantity


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def summary(changes: list[Change]) -> str:
    """How many quantities were compared and how many fail."""
    failed, same = len(regressions(changes)), sum(change.verdict == "same" for change in changes)
    rules = f"hard: any change; peak bytes: +{PEAK_GROWTH:.0%}; ratio to softmax: +{RATIO_GROWTH:.0%}"
    gone = sum(change.new is None for change in changes)
    of_these = f", {gone} of them no longer measured" if gone else ""
    return f"{len(changes)} quantities, {same} the same, {failed} regressions{of_these} ({rules})"


def compare_paths(
    old: Path, new: Path, kinds: Sequence[str] = KINDS
) -> tuple[list[dict[str, Any]], str, int]:
    """Rows, a summary and the exit code: 3 if anything regressed.

    Args:
        old: a benchmark file or a results folder.
        new: the same, later.
        kinds: of quantities, of `KINDS`; `hard` ones are those of the code, which may change on purpose.

    Raises:
        CompareError: no such kind, or one of the two is neither a benchmark file nor a results folder, or they have no subject in common.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise CompareError(f'--only: got "{kind}"; {allowed(kind, KINDS)}')
    before, after = read(old), read(new)
    if before.keys().isdisjoint(after):
        raise CompareError(
            f"{old} and {new} have nothing in common to compare: {min(before)} is of the first alone"
        )
    changes = [change for change in compare(before, after) if change.kind in kinds]
    return table(changes), summary(changes), REGRESSION_EXIT_CODE if regressions(changes) else 0
