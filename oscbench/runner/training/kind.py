"""Cells that train a model: build, match, calibrate, train, measure.

What the task and its measures found is put together here: each quantity has one owner, and a value that is no number is told as such.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch

from oscbench import catalog
from oscbench.errors import PartError, kind_of
from oscbench.machine.process import even_if_unrepeatable
from oscbench.measures import Findings, Measure, Subject
from oscbench.records import Curve, HealthRow, Matching, Measurement, MechanismCard
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Outcome, Preview
from oscbench.runner.scores import as_measured, scored
from oscbench.runner.training import parallel
from oscbench.runner.training.causality import prove_causal
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.loop import curves_of, data_generators, rehearsal, train
from oscbench.runner.training.match_time import measure_all
from oscbench.runner.training.pending import DivergedError, prove_numbers
from oscbench.runner.training.preview import preview
from oscbench.runner.training.specs import headline_of, match_spec, parts_of, recipe, wanted_match
from oscbench.suite.errors import without_name
from oscbench.tasks import Score, Task

T = TypeVar("T")
NOT_FINITE = "not finite"


class Gathering:
    """Fills a cell's findings, and lets nobody write over what another gave.

    Args:
        into: the cell's findings.
    """

    def __init__(self, into: Findings) -> None:
        self._into = into
        self._owners: dict[tuple[str, str], str] = {}

    def results(self, task: str, found: Mapping[str, Measurement]) -> None:
        """The task's own results."""
        self._claim("measures", f"task {task}", found)
        self._into.measures |= found

    def measure(self, name: str, method: str, found: Any) -> None:
        """What a measure's `before` or `after` gave.

        Raises:
            PartError: it is nothing that a measure may give, or another's already; names both and the quantity.
        """
        where = f"measure {name}: {method}"
        if not isinstance(found, Findings):
            raise PartError(f"{where} gave {kind_of(found)}; wanted: Findings")
        self._claim("measures", f"measure {name}", _all(where, "measures", found.measures, Measurement))
        self._into.measures |= {key: told(one) for key, one in found.measures.items()}
        self._into.health += _rows(where, "health", found.health, HealthRow)
        self._into.flags += _rows(where, "flags", found.flags, str)

    def curves(self, into: dict[str, Curve], owner: str, found: Any) -> None:
        """Curves of the training, or those of a measure.

        Raises:
            PartError: as of `measure`.
        """
        self._claim("curves", owner, _all(f"{owner}: curves", "", found, Curve))
        into |= found

    def _claim(self, kind: str, owner: str, names: Iterable[str]) -> None:
        for name in names:
            first = self._owners.setdefault((kind, name), owner)
            if first != owner:
                what = "curve " * (kind == "curves")
                raise PartError(
                    f'{owner}: gives {what}"{name}", which {first} gives already; name it otherwise'
                )


def told(one: Measurement) -> Measurement:
    """The same, or null with the reason where its value is no finite number."""
    if one.value is None or math.isfinite(one.value):
        return one
    return one.model_copy(update={"value": None, "reason": one.reason or NOT_FINITE})


def _all(where: str, part: str, found: Any, wanted: type[T]) -> Mapping[str, T]:
    """What stands there, if it is a mapping from names to what is wanted."""
    within = f" as {part}" if part else ""
    if not isinstance(found, Mapping):
        raise PartError(f"{where} gave {kind_of(found)}{within}; wanted: {wanted.__name__} by name")
    for name, one in found.items():
        if not (isinstance(name, str) and isinstance(one, wanted)):
            raise PartError(f"{where} gave {kind_of(one)} as {name!r}; wanted: {wanted.__name__}")
    return found


def _rows(where: str, part: str, found: Any, wanted: type[T]) -> list[T]:
    if not isinstance(found, list | tuple) or not all(isinstance(one, wanted) for one in found):
        wrong = (
            next((one for one in found if not isinstance(one, wanted)), found)
            if isinstance(found, list)
            else found
        )
        raise PartError(f"{where} gave {kind_of(wrong)} in {part}; wanted: a list of {wanted.__name__}")
    return list(found)


PROBE_SIZE = 64


class Training:
    """A mechanism in a model, trained on a task."""

    deterministic = True
    times = False
    trains = True

    def run(
        self,
        cell: Cell,
        device: torch.device,
        outcome: Outcome,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> torch.nn.Module:
        """Train the cell's model and measure it before and after; of several processes the first alone measures."""
        spec = cell.spec
        if cell.devices != parallel.count():
            raise RuntimeError(f"{parallel.count()} of {cell.devices} processes are here")
        parts = parts_of(spec)
        task = parts.task_class.for_seed(parts.task_config, spec["seed"])
        outcome.data_hash = task.data_hash()
        if checkpoints:
            checkpoints.data = outcome.data_hash
        matched = match_spec(spec, task.inputs, measure_all(spec, task, device, cell.measured))
        reference = wanted_match(spec)["reference"]["name"] if matched.by != "none" else None
        outcome.matching = Matching(reference=reference, control="own_match" in spec, **matched.as_dict())
        model = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs).to(device)
        mechanism = model.trunk.mechanism
        outcome.traits = dict(vars(mechanism.traits))
        outcome.findings.flags += mechanism.notes()
        if spec["train"]["batch_size"] > task.num_training_examples:
            outcome.findings.flags.append(
                f"batches of {spec['train']['batch_size']:,} are larger than the data: every step sees all "
                f"{task.num_training_examples:,} training examples"
            )
        # What is taken of a model is taken at the length that it is trained on, whatever length it is scored on.
        trained_on = task.at_length(1) if getattr(task.inputs, "evaluated_length", None) else task
        probe = next(trained_on.batches("validation", PROBE_SIZE)).to(device)
        subject = Subject(model, task, probe, device, spec["train"]["batch_size"])
        subject.rehearse = rehearsal(subject, recipe(spec), spec["seed"])
        outcome.calibration = model.calibrate(_first_batch(task, spec).to(device).inputs)
        prove_causal(model, probe.inputs)
        measures = _measures(spec) if parallel.number() == 0 else {}
        gathering = Gathering(outcome.findings)
        with parallel.while_others_wait():
            for name, measure in measures.items():
                gathering.measure(name, "before", measure.before(subject))
        try:
            train(subject, recipe(spec), spec["seed"], progress, checkpoints, [*measures.values()])
        finally:
            gathering.curves(outcome.curves, "training", curves_of(task, subject.history))
            for name, measure in measures.items():
                gathering.curves(outcome.curves, f"measure {name}", measure.curves(subject.history))
        if not parallel.leave():
            return model
        prove_numbers(model, probe.inputs)
        prove_causal(model, probe.inputs)
        tested = spec.get("tested", True)
        results, anyhow = even_if_unrepeatable(partial(_results, task, subject, tested=tested))
        gathering.results(spec["task"]["name"], results)
        if anyhow:
            outcome.measured_on["deterministic"] = False
        result = outcome.findings.measures[task.metric.name if tested else f"validation_{task.metric.name}"]
        if result.value is None or not math.isfinite(result.value):
            raise DivergedError(f"the loss stayed a number, but the {result.label} is {result.value}")
        try:
            for name, measure in measures.items():
                found, anyhow = even_if_unrepeatable(partial(measure.after, subject))
                gathering.measure(name, "after", found)
                if anyhow:
                    outcome.findings.flags.append(f"measure {name} may not come out the same twice")
        except Exception:  # a mistake in a measure need not cost the training
            if checkpoints:
                checkpoints.keep_trained()
            raise
        return model

    def headline(self, spec: dict[str, Any]) -> tuple[str, str]:
        """The task's label and its metric."""
        return headline_of(spec)

    def card(self, spec: dict[str, Any], traits: dict[str, bool]) -> MechanismCard:
        """The mechanism's."""
        name = spec["mechanism"]["name"]
        text = catalog.docstring("mechanisms", name)
        return MechanismCard(
            name=name,
            label=getattr(catalog.load("mechanisms", name), "label", name),
            idea=catalog.section(text, "Idea"),
            citation=catalog.section(text, "Equation"),
            traits=traits,
        )

    def imports(self, spec: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """Task, backbone, mechanism and measures."""
        parts = (("tasks", "task"), ("backbones", "model"), ("mechanisms", "mechanism"))
        named = [(kind, spec[key]["name"]) for kind, key in parts]
        return named + [("measures", measure["name"]) for measure in spec["measures"]]

    def preview(self, cell: Cell) -> Preview:
        """Size, matching, and the time that its first steps and a part of its measures say it would take."""
        return preview(cell, PROBE_SIZE, [*_measures(cell.spec).values()])


def _results(task: Task, subject: Subject, *, tested: bool) -> dict[str, Measurement]:
    """The metric and its subsets on test and validation, and the best that validation saw after any epoch."""
    metric = task.metric
    found = scored(task, subject.model, subject.device, tested=tested)
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


def _measures(spec: dict[str, Any]) -> dict[str, Measure]:
    made = {}
    for wanted in spec["measures"]:
        measure_class = catalog.load("measures", wanted["name"])
        made[wanted["name"]] = measure_class(measure_class.Config.model_validate(without_name(wanted)))
    return made
