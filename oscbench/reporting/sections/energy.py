"""Energy where a counter could be read."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import (
    Experiment,
    Standing,
    anchor,
    identify,
    known_measure,
    missing_reason,
    values_of,
)
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Prose, per_experiment
from oscbench.reporting.page.table import Cell, Reads, Table, number_cell
from oscbench.roles import Quantity, quantities


def energies() -> list[Quantity]:
    """Whatever is energy, in the order of its columns."""
    return sorted(quantities("energy"), key=lambda one: one.role["energy"])


def energy_reason(experiment: Experiment) -> str:
    """Why there is no energy table, in one line; empty where there is one."""
    names = [one.name for one in energies()]
    if known_measure(experiment, names)[0] is not None:
        return ""
    asked_by = energies()[0].measure
    return missing_reason(experiment, [*names, asked_by], asked_by)


def energy_table(experiment: Experiment) -> Table | None:
    """Joules of every mechanism, measured; None where nothing was measured."""
    if energy_reason(experiment):
        return None
    columns = (
        Reads[Standing]("Mechanism", lambda s: s.name, "left"),
        *(Reads(one.role["energy"][1], partial(_joules, one.name)) for one in energies()),
        Reads("Counter", _counters, "left"),
    )
    caption = "Energy, measured with idle power subtracted, median over finished cells"

    def raw(standing: Standing) -> list[dict[str, Any]]:
        about = identify(experiment, standing)
        return [about | _joules_raw(one.name, standing) for one in energies()]

    return Table.of(f"{experiment.slug}-energy", caption, columns, experiment.standings, raw, anchor)


def _joules(name: str, standing: Standing) -> Cell:
    """The median, or why there is none."""
    if values := values_of(standing, name):
        return number_cell(float(np.median(values)), "J")
    reasons = sorted({m.reason for r in standing.finished if (m := r.measures.get(name)) and m.reason})
    return Cell(f"{words.MISSING}: {reasons[0]}" if reasons else words.MISSING)


def _joules_raw(name: str, standing: Standing) -> dict[str, Any]:
    values = values_of(standing, name)
    return {
        "measure": name,
        "median_j": float(np.median(values)) if values else None,
        "cells": len(values),
    }


def _counters(standing: Standing) -> str:
    """What the joules of a step were read from."""
    steps = [one.name for one in energies() if "a_step" in one.role]
    found = [
        r.measures[name].details.get("counter")
        for r in standing.finished
        for name in steps
        if name in r.measures
    ]
    return ", ".join(sorted({str(name) for name in found if name}))


class Energy:
    """Joules of a forward pass and of a training step, or why there are none."""

    title = "Energy"
    rank = 67
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table where something was measured, else one line for the whole suite."""
        measured = per_experiment(study, self._of)
        if measured or not any(s.finished for e in study.experiments for s in e.standings):
            return measured
        reasons = dict.fromkeys(energy_reason(experiment) for experiment in study.shown)
        return [Prose(tuple(f"{words.capitalised(reason)}." for reason in reasons), "quiet")]

    def _of(self, experiment: Experiment) -> list[Block]:
        table = energy_table(experiment)
        return [table] if table else []


section = Energy
