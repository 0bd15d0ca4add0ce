"""One cell, from its spec to its record, in any process on any machine; why it broke stands there in a line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import ValidationError

from oscbench import catalog, data
from oscbench.errors import PartError, first_line, kind_and_line
from oscbench.machine.environment import commit, environment, packages
from oscbench.machine.process import cannot_repeat, no_memory, prepare_process
from oscbench.models.matching import MatchingError
from oscbench.ops.dispatch import UnsupportedError, observe_choices
from oscbench.records import MechanismCard, Record
from oscbench.records.schema import Status
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Outcome
from oscbench.runner.kinds import kind_of
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.pending import DivergedError

_LIBRARIES = ("torch", "pydantic", "pydantic_core", "numpy", "contextlib")
"""Packages in whose depths an error begins that is none of theirs."""


def reason_of(error: BaseException, named: Iterable[tuple[str, str]]) -> str:
    """`RuntimeError: shapes differ (my_file.py:61)`: the innermost line of a file that the cell names, else of one that is no library's.

    Args:
        error: as it was caught.
        named: kind and name of what the catalog loads for the cell.
    """
    if isinstance(error, PartError):  # it says itself whose mistake it is
        return first_line(error)
    place = _place(error, [catalog.module(kind, name) for kind, name in named])
    return kind_and_line(error) + (f" ({place})" if place else "")


def _place(error: BaseException, modules: list[str]) -> str | None:
    """File and line."""
    packages = {_package(module) for module in modules} - {"oscbench"}
    frames = [
        (frame.f_globals.get("__name__") or "", f"{Path(frame.f_code.co_filename).name}:{line}")
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    theirs = [place for name, place in frames if name in modules or _package(name) in packages]
    others = [place for name, place in frames if _package(name) not in _LIBRARIES]
    return next(iter([*theirs[-1:], *others[-1:]]), None)


def _package(module: str) -> str:
    return module.partition(".")[0]


def run_cell(
    cell: Cell,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    keep: Callable[[torch.nn.Module], None] | None = None,
) -> Record:
    """Do what a cell asks for. Whatever happens inside becomes the record's status and reason.

    A cell that is to give the same result twice and cannot, since PyTorch has an operation of its in no such form, is run without, and its
    record's environment says so; where only its test or a measure cannot, these alone are, and the environment or a flag says so.

    Args:
        cell: what to run.
        progress: is told of every step.
        checkpoints: from where training goes on, and where it leaves word of itself.
        keep: is given the model once it is trained.
    """
    started = datetime.now(UTC)
    outcome, kind = Outcome(), kind_of(cell.spec)
    # Before it runs: a file that is edited meanwhile is not what ran.
    sources = {f"{part}/{name}": catalog.running_hash(part, name) for part, name in kind.imports(cell.spec)}
    device = prepare_process(cell.spec, deterministic=kind.deterministic, strict=kind.deterministic)
    with observe_choices() as choices, data.observe_data() as asked:
        try:
            anew = False
            try:
                model = kind.run(cell, device, outcome, progress, checkpoints)
            except RuntimeError as error:
                if not cannot_repeat(error):
                    raise
                anew = True
            if anew:  # out here, where nothing holds the first model any more
                started, outcome = datetime.now(UTC), Outcome()
                device = prepare_process(cell.spec, deterministic=kind.deterministic)
                model = kind.run(cell, device, outcome, progress, checkpoints)
            if keep and model is not None:
                keep(model)
        except DivergedError as error:
            outcome.status, outcome.reason = "diverged", str(error)
        except (UnsupportedError, MatchingError) as error:
            outcome.status, outcome.reason = "unsupported", str(error)
        except (MemoryError, torch.OutOfMemoryError) as error:
            outcome.status, outcome.reason = "oom", first_line(error)
        except Exception as error:  # a cell that breaks costs that cell alone
            outcome.status, outcome.reason = _failure(error, cell)
    outcome.seconds_before = checkpoints.before if checkpoints else 0.0
    ran = {op: sorted(names) for op, names in choices.items()}
    outcome.environment = {
        **environment(device),
        "sources": sources,
        "data": data.contents(asked),
        "backends_ran": ran,
        **outcome.measured_on,
    }
    return make_record(cell, outcome, started)


def make_record(cell: Cell, outcome: Outcome, started: datetime) -> Record:
    """Everything known about a cell, in the form that reports read."""
    spec, finished = cell.spec, datetime.now(UTC)
    task_label, metric, card = _told(cell, outcome)
    head, dirty = commit()
    return Record(
        identity=cell.identity,
        suite=cell.suite,
        suite_description=cell.description,
        protocol=cell.protocol,
        task=spec["task"]["name"],
        task_label=task_label,
        mechanism=spec["mechanism"]["name"],
        variant=spec["variant"],
        seed=spec["seed"],
        status=outcome.status,
        reason=outcome.reason,
        device=spec["device"],
        metric=metric,
        card=card,
        spec_given=cell.given,
        spec=spec,
        versions=spec["versions"],
        matching=outcome.matching,
        data_hash=outcome.data_hash,
        measures=outcome.findings.measures,
        curves=outcome.curves,
        health=tuple(outcome.findings.health),
        flags=tuple(outcome.findings.flags),
        calibration=tuple(outcome.calibration),
        environment=outcome.environment,
        commit=head,
        dirty=dirty,
        started_utc=started,
        finished_utc=finished,
        # A clock that was set back in between must not cost the record.
        seconds=outcome.seconds_before + max(0.0, (finished - started).total_seconds()),
    )


def _told(cell: Cell, outcome: Outcome) -> tuple[str, str, MechanismCard]:
    """Label of the task, its metric and the mechanism's card: where a file is being edited, the names have to do for a cell that broke."""
    spec, kind = cell.spec, kind_of(cell.spec)
    try:
        return (*kind.headline(spec), kind.card(spec, outcome.traits))
    except Exception:
        if outcome.status == "ok":
            raise
        name = spec["mechanism"]["name"]
        return spec["task"]["name"], "", MechanismCard(name=name, label=name, idea="", citation="", traits={})


def lost_record(cell: Cell, status: Status, reason: str, started: datetime) -> Record:
    """The record of a cell whose process ended without leaving one."""
    outcome = Outcome(status=status, reason=reason, environment={"packages": packages()})
    return make_record(cell, outcome, started)


def sent_record(cell: Cell, text: str, started: datetime) -> Record:
    """The record that a cell's process sent; a failure where it cannot be read here."""
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        return lost_record(cell, "failed", f"no record could be made: {first_line(error)}", started)


def _failure(error: Exception, cell: Cell) -> tuple[Status, str]:
    if no_memory(error):
        return "oom", first_line(error)
    return "failed", reason_of(error, kind_of(cell.spec).imports(cell.spec))
