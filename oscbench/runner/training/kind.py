"""Cells that train a model: build, match, calibrate, train, measure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from oscbench import catalog
from oscbench.measures import Measure, Subject
from oscbench.records import Matching, Measurement, MechanismCard
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Outcome, Preview
from oscbench.runner.scores import as_measured, scored
from oscbench.runner.training import parallel
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.gathering import Gathering
from oscbench.runner.training.loop import curves_of, data_generators, rehearsal, train
from oscbench.runner.training.match_time import measure_all
from oscbench.runner.training.pending import DivergedError
from oscbench.runner.training.preview import preview
from oscbench.runner.training.specs import headline_of, match_spec, parts_of, recipe, wanted_match
from oscbench.suite.errors import without_name
from oscbench.tasks import Score, Task

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
        probe = next(task.batches("validation", PROBE_SIZE)).to(device)
        subject = Subject(model, task, probe, device, spec["train"]["batch_size"])
        subject.rehearse = rehearsal(subject, recipe(spec), spec["seed"])
        outcome.calibration = model.calibrate(_first_batch(task, spec).to(device).inputs)
        measures = _measures(spec) if parallel.number() == 0 else {}
        gathering = Gathering(outcome.findings)
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
        tested = spec.get("tested", True)
        gathering.results(spec["task"]["name"], _results(task, subject, tested=tested))
        result = outcome.findings.measures[task.metric.name if tested else f"validation_{task.metric.name}"]
        if result.value is None or not math.isfinite(result.value):
            raise DivergedError(f"the loss stayed a number, but the {result.label} is {result.value}")
        try:
            for name, measure in measures.items():
                gathering.measure(name, "after", measure.after(subject))
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
