"""One cell, from its spec to its record, in any process on any machine."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch

from oscbench import catalog
from oscbench.machine.environment import commit, environment, packages
from oscbench.measures import Findings, Measure, Subject
from oscbench.models.matching import Matched, MatchingError
from oscbench.ops.dispatch import UnsupportedError, observe_choices
from oscbench.records import Curve, Matching, Measurement, MechanismCard, Record
from oscbench.records.schema import Status
from oscbench.runner.cell_spec import Cell
from oscbench.runner.floors import floor_card, run_floor
from oscbench.runner.scores import as_measured, scored
from oscbench.runner.timing.run import run_timing
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.loop import DivergedError, Progress, curves_of, data_generators, train
from oscbench.runner.training.match_time import measure_all
from oscbench.runner.training.specs import match_spec, parts_of, recipe, task_of, wanted_match
from oscbench.suite.errors import without_name
from oscbench.tasks import Score, Task

PROBE_SIZE = 64


@dataclass
class _Outcome:
    """What has been found so far; a cell that breaks keeps what it had."""

    status: Status = "ok"
    reason: str | None = None
    matched: Matched | None = None
    data_hash: str | None = None
    findings: Findings = field(default_factory=Findings)
    curves: dict[str, Curve] = field(default_factory=dict)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, bool] = field(default_factory=dict)
    measured_on: dict[str, Any] = field(default_factory=dict)


def prepare_process(spec: dict[str, Any]) -> torch.device:
    """Threads and determinism as the spec says."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device(spec["device"])
    # The weights of what is hardly heard become denormals, on which a step can take ten times as long.
    torch.set_flush_denormal(True)
    torch.set_num_threads(spec["threads"])
    # Timing wants the kernels that people run; training wants the same result twice.
    training = spec["kind"] != "timing"
    torch.use_deterministic_algorithms(training, warn_only=device.type == "cuda")
    # Filling memory that is written anyway made 180 of the 700 calls of a small model's training step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def run_cell(
    cell: Cell,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    keep: Callable[[torch.nn.Module], None] | None = None,
) -> Record:
    """Build, match, calibrate, train, measure. Whatever happens inside becomes the record's status and reason.

    Args:
        cell: what to run.
        progress: is told of every step.
        checkpoints: from where training goes on, and where it leaves word of itself.
        keep: is given the model once it is trained.
    """
    started = datetime.now(UTC)
    outcome = _Outcome()
    device = prepare_process(cell.spec)
    with observe_choices() as choices:
        try:
            if cell.spec["kind"] == "timing":
                outcome.measured_on = run_timing(cell.spec, device, outcome.findings.measures, progress)
            elif cell.spec["kind"] == "floor":
                outcome.data_hash, outcome.findings.measures = run_floor(cell.spec, device)
            else:
                model = _run(cell, device, outcome, progress, checkpoints)
                if keep:
                    keep(model)
        except DivergedError as error:
            outcome.status, outcome.reason = "diverged", str(error)
        except (UnsupportedError, MatchingError) as error:
            outcome.status, outcome.reason = "unsupported", str(error)
        except (MemoryError, torch.OutOfMemoryError) as error:
            outcome.status, outcome.reason = "oom", _first_line(error)
        except Exception as error:  # a cell that breaks costs that cell alone
            outcome.status, outcome.reason = _failure(error)
    ran = {op: sorted(names) for op, names in choices.items()}
    outcome.environment = {**environment(device), "backends_ran": ran, **outcome.measured_on}
    return make_record(cell, outcome, started)


def _run(
    cell: Cell,
    device: torch.device,
    outcome: _Outcome,
    progress: Progress,
    checkpoints: Checkpoints | None,
) -> torch.nn.Module:
    spec = cell.spec
    parts = parts_of(spec)
    task = parts.task_class.for_seed(parts.task_config, spec["seed"])
    outcome.data_hash = task.data_hash()
    outcome.matched = match_spec(spec, task.inputs, measure_all(spec, task, device, cell.measured))
    model = parts.build(spec["mechanism"], outcome.matched.hidden, spec["seed"], task.inputs).to(device)
    mechanism = model.trunk.mechanism
    outcome.traits = dict(vars(mechanism.traits))
    outcome.findings.flags += mechanism.notes()
    if spec["train"]["batch_size"] > task.num_training_examples:
        outcome.findings.flags.append(
            f"batches of {spec['train']['batch_size']:,} are larger than the data: every step sees all "
            f"{task.num_training_examples:,} training examples"
        )
    subject = Subject(
        model,
        task,
        next(task.batches("validation", PROBE_SIZE)).to(device),
        device,
        spec["train"]["batch_size"],
    )
    outcome.calibration = model.calibrate(_first_batch(task, spec).to(device).inputs)
    measures = _measures(spec)
    _gather(outcome.findings, (measure.before(subject) for measure in measures))
    try:
        train(subject, recipe(spec), spec["seed"], progress, checkpoints)
    finally:
        outcome.curves = curves_of(task, subject.history)
    outcome.findings.measures |= _results(task, subject)
    _gather(outcome.findings, (measure.after(subject) for measure in measures))
    return model


def _results(task: Task, subject: Subject) -> dict[str, Measurement]:
    """The metric and its subsets on test and validation, and the best that validation saw after any epoch."""
    metric = task.metric
    found = scored(task, subject.model, subject.device)
    best = min if metric.direction == "lower" else max
    seen = [value for _, value in subject.history.validation if math.isfinite(value)]
    if seen:
        score = Score(best(seen), found[f"validation_{metric.name}"].n)
        label = f"best validation {metric.name} of any epoch"
        found[f"best_validation_{metric.name}"] = as_measured(metric, score, label)
    return found


def _first_batch(task: Task, spec: dict[str, Any]) -> Any:
    """The batch that the first step will see."""
    return next(iter(task.training_batches(spec["train"]["batch_size"], *data_generators(spec["seed"]))))


def _measures(spec: dict[str, Any]) -> list[Measure]:
    made = []
    for wanted in spec["measures"]:
        measure_class = catalog.load("measures", wanted["name"])
        made.append(measure_class(measure_class.Config.model_validate(without_name(wanted))))
    return made


def _gather(into: Findings, found: Iterable[Findings]) -> None:
    for one in found:
        into.measures |= one.measures
        into.health += one.health
        into.flags += one.flags


def make_record(cell: Cell, outcome: _Outcome, started: datetime) -> Record:
    """Everything known about a cell, in the form that reports read."""
    spec, finished = cell.spec, datetime.now(UTC)
    task_label, metric = _headline(spec)
    head, dirty = commit()
    matching = None
    if outcome.matched is not None:
        reference = wanted_match(spec)["reference"]["name"] if outcome.matched.by != "none" else None
        control = "own_match" in spec
        matching = Matching(reference=reference, control=control, **outcome.matched.as_dict())
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
        card=_card(spec, outcome.traits),
        spec_given=cell.given,
        spec=spec,
        versions=spec["versions"],
        matching=matching,
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
        seconds=(finished - started).total_seconds(),
    )


def lost_record(cell: Cell, status: Status, reason: str, started: datetime) -> Record:
    """The record of a cell whose process ended without leaving one."""
    return make_record(
        cell, _Outcome(status=status, reason=reason, environment={"packages": packages()}), started
    )


def _headline(spec: dict[str, Any]) -> tuple[str, str]:
    """What a cell is about, and the measure that is its headline."""
    if spec["kind"] == "timing":
        return f"timing of {spec['family']}", f"{spec['setting']['passes'][0]}_s/{spec['reference']}"
    task_class, config = task_of(spec)
    label, metric = task_class.headline(config)
    return label, metric.name


def _card(spec: dict[str, Any], traits: dict[str, bool]) -> MechanismCard:
    if spec["kind"] == "floor":
        return floor_card(spec)
    name = spec["mechanism"]["name"]
    text = catalog.docstring("mechanisms", name)
    mechanism_class = catalog.load("mechanisms", name)
    return MechanismCard(
        name=name,
        label=getattr(mechanism_class, "label", name),
        idea=catalog.section(text, "Idea"),
        citation=catalog.section(text, "Equation"),
        traits=traits,
    )


def _failure(error: Exception) -> tuple[Status, str]:
    text = _first_line(error)
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return "oom", text
    return "failed", f"{type(error).__name__}: {text}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
