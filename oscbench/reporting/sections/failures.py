"""Cells that did not finish, and why."""

from __future__ import annotations

from typing import Any

from oscbench.analysis.experiment import Experiment
from oscbench.analysis.selection import anchor_of
from oscbench.reporting.page.table import Cell, Column, Table


def failures_table(experiment: Experiment) -> Table | None:
    """Every cell that did not end well, and why."""
    failed = experiment.failures
    if not failed:
        return None
    columns = (Column("Cell", "left"), Column("Status", "left"), Column("Reason", "left"))
    rows = tuple(
        (
            Cell(f"{r.mechanism}:{r.variant}, seed {r.seed}"),
            Cell(r.status),
            Cell(r.reason or "no reason recorded"),
        )
        for r in failed
    )
    raw: tuple[dict[str, Any], ...] = tuple(
        {"suite": r.suite, "task": r.task, "mechanism": r.mechanism, "variant": r.variant}
        | {"seed": r.seed, "status": r.status, "reason": r.reason, "identity": r.identity}
        for r in failed
    )
    return Table(
        f"{experiment.slug}-failures",
        "Cells that did not finish",
        columns,
        rows,
        raw,
        tuple(map(anchor_of, failed)),
    )
