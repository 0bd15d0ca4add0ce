"""What there is and what works here: the tables behind `oscbench list` and `oscbench env`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from oscbench import catalog, ops
from oscbench.errors import UserError, first_line, kind_and_line
from oscbench.machine.environment import environment
from oscbench.measures import Measure
from oscbench.mechanisms import Mechanism
from oscbench.positions import joined
from oscbench.roles import mistake_of
from oscbench.suite import SuiteError, load_suite, suite_names

Row = dict[str, Any]


def mechanisms() -> list[Row]:
    """Name, idea, paper and traits of every mechanism, at its default settings."""
    return _each("mechanism", "idea", _mechanism)


def _mechanism(name: str) -> Row:
    text = catalog.docstring("mechanisms", name)
    found = catalog.load("mechanisms", name)
    return {
        "idea": catalog.section(text, "Idea"),
        "paper": ", ".join(re.findall(r"arXiv \d{4}\.\d{4,5}", catalog.section(text, "Equation"))),
        "traits": ", ".join(trait for trait, holds in vars(found.traits).items() if holds),
        "positions": _positions(found),
    }


def _each(one: str, column: str, row: Callable[[str], Row]) -> list[Row]:
    """A row for every name of a kind; of a file that is broken, what is wrong with it, so that it does not hide the others.

    Args:
        one: the kind, and the heading of its names.
        column: where a mistake stands.
        row: makes the rest of a row.
    """
    rows = []
    for name in catalog.names(f"{one}s"):
        try:
            found = row(name)
        except Exception as error:
            why = first_line(error) if isinstance(error, UserError) else kind_and_line(error)
            found = {column: f"broken: {catalog.file_of(f'{one}s', name)}: {why}"}
        rows.append({one: name, **found})
    keys = dict.fromkeys(key for found in rows for key in found)
    keys |= dict.fromkeys([column])
    return [{key: found.get(key, "") for key in keys} for found in rows]


def _positions(found: type[Mechanism]) -> str:
    """What `auto` is, what else it can have, and what its own is."""
    config = found.Config()
    usual = joined("learned" if found.learns_position(config) else "none", found.has_own_position(config))
    others = ", ".join(position for position in found.positions({}) if position != usual)
    own = f" (own: {found.own_position})" if found.own_position else ""
    return f"auto is {usual}; or {others}{own}"


def tasks() -> list[Row]:
    """Name, what it is, and its metric."""
    return _each("task", "what", _task)


def _task(name: str) -> Row:
    found = catalog.load("tasks", name)
    return {"metric": f"{found.metric.label} [{found.metric.unit}]", "what": _first_line("tasks", name)}


def measures() -> list[Row]:
    """Name, what it is, and why it cannot run here if it cannot."""
    return _each("measure", "what", _measure)


def _measure(name: str) -> Row:
    found: type[Measure] = catalog.load("measures", name)
    wrong = mistake_of(name, found)
    here = f"broken: {wrong}" if wrong else found.unavailable() or "works"
    return {"here": here, "what": _first_line("measures", name)}


def _first_line(kind: str, name: str) -> str:
    return next(iter(catalog.docstring(kind, name).splitlines()), "says nothing of itself in its first line")


def suites() -> list[Row]:
    """Name and the question that it answers: the first sentence of what the file says of itself."""
    rows = []
    for name, path in suite_names().items():
        try:
            question = _FIRST_SENTENCE.findall(load_suite(str(path)).suite.description.strip())[0]
        except SuiteError as error:  # one broken file among the user's own must not hide the others
            question = f"cannot be read: {error}"
        rows.append({"suite": name, "question": question})
    return rows


_FIRST_SENTENCE = re.compile(r"(?s).*?(?:[.?!](?=\s|$)|$)")


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
    return rows + [
        {"op": name, "backend": "", "device": "", "here": f"broken: {why}", "what": ""}
        for name, why in ops.broken().items()
    ]


def machine() -> list[Row]:
    """The environment, a line each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = environment(device)
    packages = found.pop("packages")
    rows = [{"what": key, "value": value} for key, value in found.items()]
    return rows + [{"what": name, "value": version or "not installed"} for name, version in packages.items()]
