"""What there is and what works here: the tables behind `oscbench list` and `oscbench env`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from oscbench import catalog, ops
from oscbench.machine.environment import environment
from oscbench.measures import Measure
from oscbench.mechanisms import Mechanism
from oscbench.positions import joined
from oscbench.suite import SuiteError, load_suite, suite_names

Row = dict[str, Any]


def mechanisms() -> list[Row]:
    """Name, idea, paper and traits of every mechanism, at its default settings."""
    rows = []
    for name in catalog.names("mechanisms"):
        text = catalog.docstring("mechanisms", name)
        found = catalog.load("mechanisms", name)
        traits = ", ".join(trait for trait, holds in vars(found.traits).items() if holds)
        rows.append(
            {
                "mechanism": name,
                "idea": catalog.section(text, "Idea"),
                "paper": ", ".join(re.findall(r"arXiv \d{4}\.\d{4,5}", catalog.section(text, "Equation"))),
                "traits": traits,
                "positions": _positions(found),
            }
        )
    return rows


def _positions(found: type[Mechanism]) -> str:
    """What `auto` is, what else it can have, and what its own is."""
    config = found.Config()
    usual = joined("learned" if found.learns_position(config) else "none", found.has_own_position(config))
    others = ", ".join(position for position in found.positions({}) if position != usual)
    own = f" (own: {found.own_position})" if found.own_position else ""
    return f"auto is {usual}; or {others}{own}"


def tasks() -> list[Row]:
    """Name, what it is, and its metric."""
    rows = []
    for name in catalog.names("tasks"):
        found = catalog.load("tasks", name)
        first = catalog.docstring("tasks", name).splitlines()[0]
        rows.append({"task": name, "metric": f"{found.metric.label} [{found.metric.unit}]", "what": first})
    return rows


def measures() -> list[Row]:
    """Name, what it is, and why it cannot run here if it cannot."""
    rows = []
    for name in catalog.names("measures"):
        found: type[Measure] = catalog.load("measures", name)
        first = catalog.docstring("measures", name).splitlines()[0]
        rows.append({"measure": name, "here": found.unavailable() or "works", "what": first})
    return rows


def suites() -> list[Row]:
    """Name, cells, file and the question that it answers."""
    rows = []
    for name, path in suite_names().items():
        try:
            question = load_suite(str(path)).suite.description.strip()
        except SuiteError as error:  # one broken file among the user's own must not hide the others
            question = f"cannot be read: {error}"
        rows.append({"suite": name, "file": _from_here(path), "question": question})
    return rows


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def backends() -> list[Row]:
    """Every op and backend on every device that there is, with the reason where it cannot run."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = []
    for op in ops.op_names():
        for device in devices:
            notes = {str(name): name.note for name in ops.backends(op, device)}
            for name, reason in ops.why_not(op, device).items():
                here = "works" if reason is None else f"no: {reason}"
                rows.append(
                    {"op": op, "backend": name, "device": device, "here": here, "what": notes.get(name, "")}
                )
    return rows


def machine() -> list[Row]:
    """The environment, a line each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = environment(device)
    packages = found.pop("packages")
    rows = [{"what": key, "value": value} for key, value in found.items()]
    return rows + [{"what": name, "value": version or "not installed"} for name, version in packages.items()]
