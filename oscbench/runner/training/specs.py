"""What a resolved spec says: the classes it names, its recipe, and how its model is matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from oscbench import catalog
from oscbench.models.backbones import Backbone
from oscbench.models.matching import Matched, MatchingError, match
from oscbench.models.trunk import Unstarted
from oscbench.records.identity import digest
from oscbench.runner.cell_spec import Measured
from oscbench.runner.training.room import prove_room
from oscbench.suite.errors import without_name
from oscbench.tasks import Task

STEP_SETTINGS = ("precision", "compile", "accumulate", "graph")
"""Of a recipe: how a step is taken, beside what it learns; each stands in a spec only where it is not neutral."""


@dataclass(frozen=True)
class Parts:
    """Classes and checked settings behind a spec, and a way to build its model."""

    task_class: type[Task]
    task_config: Any
    backbone_class: type[Backbone]
    backbone_config: Any
    device: str = "cpu"

    def build(
        self, mechanism: dict[str, Any], hidden: int | None, seed: int, inputs: Any, *, training: bool = True
    ) -> Backbone:
        """The model of a mechanism with so many hidden units; on the meta device, however large it is.

        Raises:
            NoRoomError: the machine cannot hold it, with what `training` adds.
        """
        mechanism_class = catalog.load("mechanisms", mechanism["name"])
        config = mechanism_class.Config.model_validate(without_name(mechanism))

        def built() -> Backbone:
            return self.backbone_class(
                self.backbone_config, inputs, mechanism_class, config, hidden=hidden, seed=seed
            )

        if torch.get_default_device().type != "meta":
            with torch.device("meta"), Unstarted():
                planned = built()
            prove_room(planned, self.device, training=training)
        return built()


def task_of(spec: dict[str, Any]) -> tuple[type[Task], Any]:
    """The task's class and its checked settings, which a spec without a model has too."""
    task_class = catalog.load("tasks", spec["task"]["name"])
    return task_class, task_class.Config.model_validate(without_name(spec["task"]))


def headline_of(spec: dict[str, Any]) -> tuple[str, str]:
    """Label of a spec's task, and the measure that is its headline."""
    task_class, config = task_of(spec)
    label, metric = task_class.headline(config)
    return label, metric.name


def parts_of(spec: dict[str, Any]) -> Parts:
    """Load what a resolved spec names; the model is the entry's own where it has settings of its own."""
    task_class, task_config = task_of(spec)
    backbone_class = catalog.load("backbones", spec["model"]["name"])
    model = {**without_name(spec["model"]), **spec.get("own_model", {})}
    return Parts(
        task_class,
        task_config,
        backbone_class,
        backbone_class.Config.model_validate(model),
        spec.get("device", "cpu"),
    )


def recipe(spec: dict[str, Any]) -> dict[str, Any]:
    """The training settings of a cell: the suite's, and over them what a search chose."""
    return {**spec["train"], **spec.get("tuned", {})}


def wanted_match(spec: dict[str, Any]) -> dict[str, Any]:
    """The matching of a cell: its own if it is a control, otherwise the suite's."""
    wanted: dict[str, Any] = spec.get("own_match") or spec["match"]
    return wanted


def as_reference(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with the mechanism that it is matched to, in the suite's model and at that mechanism's position, whatever the entry has."""
    wanted = wanted_match(spec)
    others = {key: value for key, value in spec.items() if key not in ("own_model", "tuned")}
    own = {"own_model": wanted["own_model"]} if "own_model" in wanted else {}
    return {**others, "mechanism": wanted["reference"], **own}


def reference_spec(spec: dict[str, Any]) -> dict[str, Any] | None:
    """The spec of a control's reference, which is matched as the suite matches; None where the reference stays as it is."""
    if "own_match" not in spec or spec["own_match"]["by"] == "none":
        return None
    return {key: value for key, value in as_reference(spec).items() if key != "own_match"}


def match_spec(spec: dict[str, Any], inputs: Any, measured: Measured | None = None) -> Matched:
    """Hidden units of a cell's model.

    Args:
        spec: of the cell.
        inputs: what the task says of its inputs.
        measured: what matching by time has measured. Without it a model that is matched by time has the hidden units that
            its settings say, which is enough to plan with.

    Raises:
        MatchingError: no number of hidden units comes near enough.
    """
    parts, wanted, reference = parts_of(spec), wanted_match(spec), reference_spec(spec)
    if wanted["by"] == "time" and measured is not None:
        found = measured[request_key(spec)]
        if "impossible" in found:
            raise MatchingError(str(found["impossible"]))
        return Matched(**found)
    of_reference = match_spec(reference, inputs, measured).hidden if reference else None
    shared = parts_of(as_reference(spec))
    return match(
        wanted["by"],
        lambda hidden: parts.build(spec["mechanism"], hidden, spec["seed"], inputs),
        lambda _: shared.build(wanted["reference"], of_reference, spec["seed"], inputs),
        wanted["tolerance"],
    )


def time_requests(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Specs whose hidden units have to be measured before this one's model can be built, in the order in which they can be."""
    if "match" not in spec:  # nothing of it is trained
        return []
    reference = reference_spec(spec)
    own = [spec] if wanted_match(spec)["by"] == "time" else []
    return [*(time_requests(reference) if reference else []), *own]


def request_key(spec: dict[str, Any]) -> str:
    """What a measurement of step time depends on: neither seed nor label, so that all seeds get one model."""
    named = ("task", "model", "own_model", "mechanism", "match", "own_match", "device", "threads")
    request = {key: spec[key] for key in named if key in spec}
    versions = {key: version for key, version in spec["versions"].items() if key != "measures"}
    train = {"batch_size": spec["train"]["batch_size"], "clips": recipe(spec)["clip"] is not None}
    train |= {key: spec["train"][key] for key in STEP_SETTINGS if key in spec["train"]}
    return digest({**request, "versions": versions, "train": train})
