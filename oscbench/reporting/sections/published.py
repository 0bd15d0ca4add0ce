"""Published numbers beside ours, a row a number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from oscbench import words
from oscbench.analysis.experiment import Experiment, anchor, identify
from oscbench.analysis.published.matches import Beside, beside, verdict, welch
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, Prose, per_experiment
from oscbench.reporting.page.table import Cell, Reads, Table


def _gap_cell(b: Beside) -> Cell:
    """Ours minus theirs with its Welch interval where both have a spread; empty where they are not the same quantity."""
    if not b.same or b.rule.failures_below is not None:
        return Cell("")
    gap = b.ours - b.theirs
    text = words.difference(gap, b.unit)
    ends = welch(b)
    if ends is not None and ends.exists:
        text += f" {words.interval(ends.low, ends.high, b.unit)}"
    return Cell(text, gap)


def _our_cell(b: Beside) -> Cell:
    n = len(b.values)
    if b.rule.failures_below is not None:
        return Cell(f"{b.ours:.0f} of {n} seeds", b.ours)
    half = words.half_width(b.interval.low, b.interval.high, b.unit) if b.rule.statistic == "mean" else ""
    if len(set(b.values)) == 1:
        half = ""
    digits = 4 if b.unit != "1" else 6
    text = f"{words.quantity(b.ours, b.unit, digits)} {half}".strip()
    return Cell(f"{text} ({n} seed{'s' if n != 1 else ''})", b.ours)


def _their_cell(b: Beside) -> Cell:
    if b.rule.failures_below is not None:
        return Cell(f"{b.theirs:.0f} of {b.seeds} seeds" if b.seeds else f"{b.theirs:.0f}", b.theirs)
    spread = "" if b.std is None else f" ± {words.spread(b.std, b.unit)}"
    seeds = (
        f" ({b.seeds} seed{'s' if b.seeds != 1 else ''})" if b.seeds else " (seeds not said)" if b.std else ""
    )
    digits = 4 if b.unit != "1" else 6
    return Cell(f"{words.quantity(b.theirs, b.unit, digits)}{spread}{seeds}", b.theirs)


def beside_table(experiment: Experiment, found: Sequence[Beside]) -> Table | None:
    """Ours and theirs, a row a published number."""
    if not found:
        return None
    same = sum(b.same for b in found)
    caption = (
        f"Published beside measured: {same} of {len(found)} are the same quantity. ± of ours is half the 95 % t interval of the "
        "mean over seeds, ± of theirs the standard deviation that the source gives"
    )
    raw = partial(_raw, experiment)
    return Table.of(
        f"{experiment.slug}-published", caption, COLUMNS, found, raw, lambda b: anchor(b.standing)
    )


def _source(b: Beside) -> str:
    paper = b.published.source.paper.split(" (", 1)[0]
    return f"{paper}: {b.published.source.table_or_file}; {b.published.dataset}"


COLUMNS: tuple[Reads[Beside], ...] = (
    Reads("Mechanism", lambda b: b.standing.name, "left"),
    Reads("Quantity", lambda b: b.rule.quantity, "left"),
    Reads("Ours, mean ± 95 %", _our_cell, "left"),
    Reads("Published ± std", _their_cell, "left"),
    Reads("Verdict", verdict, "left"),
    Reads("Ours − theirs, Welch 95 %", _gap_cell, "left"),
    Reads("Source", _source, "left"),
)


def _raw(experiment: Experiment, b: Beside) -> dict[str, object]:
    return identify(experiment, b.standing) | {
        "quantity": b.rule.quantity,
        "measure": b.measure,
        "unit": b.unit,
        "ours": b.ours,
        "low": b.interval.low,
        "high": b.interval.high,
        "our_seeds": len(b.values),
        "published": b.theirs,
        "published_std": b.std,
        "published_seeds": b.seeds,
        "same_quantity": b.same,
        "verdict": verdict(b),
        "paper": b.published.source.paper,
        "table_or_file": b.published.source.table_or_file,
        "dataset": b.published.dataset,
    }


class PublishedNumbers:
    """Numbers of papers beside ours: the same quantities with a verdict, the nearest others with the reason why they are not."""

    title = "Published beside measured"
    rank = 70
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table an experiment that somebody published numbers on."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        found = beside(experiment)
        table = beside_table(experiment, found)
        if table is None:
            return []
        if any(one.same for one in found):
            return [table]
        return [
            Prose(("No published number is the same quantity as one measured here.",)),
            Folded("The nearest ones, and why they are not comparable", (table,)),
        ]


section = PublishedNumbers
