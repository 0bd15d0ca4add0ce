"""What was equal between the entries of an experiment, in words and numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from oscbench.analysis.choices import is_untrained, position_of
from oscbench.analysis.fairness import control_notes, matching_mode, origin_notes
from oscbench.analysis.frame import headline
from oscbench.analysis.selection import Entry, by_entry
from oscbench.analysis.statistics.seeds import exact_proportion_interval
from oscbench.records import Record
from oscbench.roles import quantities
from oscbench.words import quantity, ranges, relative


def fairness_facts(cells: Sequence[Record], names: dict[Entry, str]) -> list[tuple[str, str]]:
    """What was equal between the entries of a section and by how much, in words and numbers."""
    grouped = by_entry(cells)
    alike = [r for r in cells if not ((r.matching and r.matching.control) or is_untrained(r))]
    modes = sorted({matching_mode(record) for record in alike})
    references = sorted({r.matching.reference for r in alike if r.matching and r.matching.reference})
    to = f" to {', '.join(references)}" if references else ""
    residuals = [abs(r.matching.residual) for r in alike if r.matching and r.matching.residual is not None]
    worst = f"; largest residual {100 * max(residuals):.2f} %" if residuals else ""
    facts = [
        ("Matching", f"by {', '.join(modes)}{to}{worst}"),
        *((one.role["cost"], _spread(grouped, one.name)) for one in quantities("basis")),
        ("Data", _data(cells)),
        ("Positions", _positions(grouped, names)),
        ("Seeds", _seeds(grouped, names)),
        ("Tested on", _tested(cells)),
        ("Tuning", _tuning(grouped, names)),
        ("Device", ", ".join(sorted({record.device for record in cells}))),
        ("Code", _code(cells)),
        ("Protocol", cells[0].protocol),
    ]
    return [fact for fact in facts if fact[1]] + [
        ("Note", note) for note in control_notes(cells) + origin_notes(cells)
    ]


def _positions(grouped: dict[Entry, list[Record]], names: dict[Entry, str]) -> str:
    """Where each entry's tokens have their places from: entries side by side by position."""
    found: dict[str, list[str]] = {}
    for entry, cells in grouped.items():
        if position := position_of(cells[-1]):
            found.setdefault(position, []).append(names[entry])
    return "; ".join(f"{position}: {', '.join(entries)}" for position, entries in found.items())


def _tuning(grouped: dict[Entry, list[Record]], names: dict[Entry, str]) -> str:
    """The search that all entries had, and what it chose for each."""
    tune = next(iter(grouped.values()))[0].spec.get("tune")
    if tune is None:
        return "none: every entry ran once with the settings of its suite, no search"
    chosen = []
    for entry, cells in grouped.items():
        spec = cells[-1].spec
        values = dict(spec.get("tuned", {}))
        for place in tune["space"]:
            kind, _, name = place.partition(".")
            if kind == "settings" and name in spec.get("mechanism", {}):
                values[name] = spec["mechanism"][name]
            if kind == "model" and name in spec.get("own_model", {}):
                values[name] = position_of(cells[-1]) if name == "position" else spec["own_model"][name]
        if values:
            chosen.append(f"{names[entry]} " + ", ".join(f"{name} {value}" for name, value in values.items()))
    return (
        f"{tune['trials']} trials for every entry, scored on validation at seeds {ranges(tune['seeds'])}, none of them "
        f"reported; ran with {'; '.join(chosen)}"
    )


def _spread(grouped: dict[Entry, list[Record]], measure: str) -> str:
    medians = []
    unit = "1"
    for cells in grouped.values():
        found = [r.measures[measure] for r in cells if measure in r.measures]
        values = [float(m.value) for m in found if m.value is not None]
        if values:
            medians.append(float(np.median(values)))
            unit = found[0].unit
    if not medians:
        return ""
    low, high = min(medians), max(medians)
    if low == high:
        return f"{quantity(low, unit, 4)} in every entry"
    told = f"{quantity(low, unit, 4)} to {quantity(high, unit, 4)}"
    return f"{told} (largest over smallest {relative(high / low)})" if low else told


def _data(cells: Sequence[Record]) -> str:
    by_seed: dict[int, set[str | None]] = {}
    for record in cells:
        if record.data_hash is not None:
            by_seed.setdefault(record.seed, set()).add(record.data_hash)
    unlike = [seed for seed, hashes in by_seed.items() if len(hashes) > 1]
    if unlike:
        return f"NOT the same for every entry at seed {ranges(unlike)}; such comparisons are refused"
    hashes = sorted({h[:12] for found in by_seed.values() for h in found if h})
    if not hashes:
        return "no hash recorded"
    tasks = [record.spec.get("task", {}) for record in cells if record.data_hash]
    if len(hashes) > 1 and any(task.get("path") and task.get("draw") != "per_seed" for task in tasks):
        return (
            f"NOT the same at every seed ({len(hashes)} hashes), though the task draws none anew: "
            "data of one's own have changed between runs, and means over seeds mix them"
        )
    many = f"one hash a seed, first {hashes[0]}" if len(hashes) > 1 else f"hash {hashes[0]}"
    return f"at each seed the same tensors for every entry ({many})"


def _seeds(grouped: dict[Entry, list[Record]], names: dict[Entry, str]) -> str:
    trained = {entry: cells for entry, cells in grouped.items() if not is_untrained(cells[0])}
    sets = {
        entry: frozenset(r.seed for r in cells if r.status == "ok")
        for entry, cells in (trained or grouped).items()
    }
    counts = Counter(sets.values())
    usual = counts.most_common(1)[0][0]
    text = f"{len(usual)} ({ranges(list(usual))})"
    odd = [f"{names[entry]} has {len(seeds)}" for entry, seeds in sorted(sets.items()) if seeds != usual]
    return f"{text}; but {', '.join(odd)}" if odd else f"{text}, the same for every entry"


def _tested(cells: Sequence[Record]) -> str:
    finished = [record for record in cells if math.isfinite(headline(record))]
    if not finished:
        return ""
    metric = finished[0].measures[finished[0].metric]
    if metric.unit != "fraction" or metric.n < 2:
        return f"{metric.n} items" if metric.n > 1 else ""
    if not all(_is_share(record) for record in finished):
        return f"{metric.n} items or classes, of which the score is a mean; its sampling error is not known"
    mean = float(np.mean([headline(record) for record in finished]))
    ends = exact_proportion_interval(round(mean * metric.n), metric.n)
    error = 100 * max(ends.high - mean, mean - ends.low)
    return (
        f"{metric.n} items; their own sampling error is up to ± {error:.1f} points for one model (95 %), "
        "which the intervals over seeds do not cover"
    )


def _is_share(record: Record) -> bool:
    """Whether a headline is a share of things that are each right or wrong, whose sampling error is binomial; a mean IoU is none."""
    share = headline(record)
    if not 0.0 <= share <= 1.0:
        return False
    counted = share * record.measures[record.metric].n
    return abs(counted - round(counted)) < 1e-4


def _code(cells: Sequence[Record]) -> str:
    commits = sorted({record.commit[:10] for record in cells if record.commit})
    dirty = " (uncommitted changes)" if any(record.dirty for record in cells) else ""
    return f"commit {', '.join(commits)}{dirty}" if commits else "no commit recorded"
