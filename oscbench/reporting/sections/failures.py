"""Cells that did not finish, and why."""

from __future__ import annotations

from typing import Any

from oscbench.analysis.experiment import Experiment
from oscbench.analysis.selection import anchor_of
from oscbench.analysis.study import Study
from oscbench.records import Record
from oscbench.reporting.page.blocks import SUITE, Block
from oscbench.reporting.page.table import Reads, Table


def failures_table(experiment: Experiment) -> Table | None:
    """Every cell that did not end well, and why."""
    if not experiment.failures:
        return None
    name, caption = f"{experiment.slug}-failures", f"Cells that did not finish: {experiment.title}"
    return Table.of(name, caption, COLUMNS, experiment.failures, _raw, anchor_of)


def _raw(record: Record) -> dict[str, Any]:
    names = ("suite", "task", "mechanism", "variant", "seed", "status", "reason", "identity")
    return {name: getattr(record, name) for name in names}


COLUMNS: tuple[Reads[Record], ...] = (
    Reads("Cell", lambda r: f"{r.mechanism}:{r.variant}, seed {r.seed}", "left"),
    Reads("Status", lambda r: r.status, "left"),
    Reads("Reason", lambda r: r.reason or "no reason recorded", "left"),
)


class Failures:
    """Every cell that did not end well, at every value of a suite that varies."""

    title = "Failures"
    rank = 90
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table an experiment that has any."""
        return [table for experiment in study.experiments if (table := failures_table(experiment))]


section = Failures
