"""From requested cells to resolved ones: every default filled in, every setting checked, identity and protocol computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from oscbench import catalog
from oscbench.errors import first_line
from oscbench.models.backbones import Backbone
from oscbench.models.matching import Matched, match
from oscbench.records import identity, protocol
from oscbench.runner.timing_plan import timing_specs
from oscbench.runner.training import VERSION
from oscbench.suite import CellRequest, LoadedSuite, Suite, SuiteError, TimingSuite, expand, explain, select
from oscbench.suite.errors import place, without_name
from oscbench.tasks import Task


@dataclass(frozen=True)
class Cell:
    """A self-contained specification: any process on any machine can run `spec` to a record.

    Attributes:
        suite: label of the suite.
        description: of the suite.
        given: what the suite file said of this cell.
        spec: everything resolved; plain values only.
        identity: hash of the spec.
        protocol: hash of what a fair comparison shares.
    """

    suite: str
    description: str
    given: dict[str, Any]
    spec: dict[str, Any]
    identity: str
    protocol: str

    @property
    def name(self) -> str:
        """`kope default seed 0`, for people."""
        variant = self.spec["variant"]
        shown = "" if variant == "default" else f":{variant}"
        return f"{self.spec['mechanism']['name']}{shown} seed {self.spec['seed']}"


@dataclass(frozen=True)
class Parts:
    """Classes and checked settings behind a spec, and a way to build its model."""

    task_class: type[Task]
    task_config: Any
    backbone_class: type[Backbone]
    backbone_config: Any

    def build(self, mechanism: dict[str, Any], hidden: int | None, seed: int, inputs: Any) -> Backbone:
        """The model of a mechanism with so many hidden units."""
        mechanism_class = catalog.load("mechanisms", mechanism["name"])
        config = mechanism_class.Config.model_validate(without_name(mechanism))
        return self.backbone_class(
            self.backbone_config, inputs, mechanism_class, config, hidden=hidden, seed=seed
        )


def parts_of(spec: dict[str, Any]) -> Parts:
    """Load what a resolved spec names."""
    task_class = catalog.load("tasks", spec["task"]["name"])
    backbone_class = catalog.load("backbones", spec["model"]["name"])
    return Parts(
        task_class,
        task_class.Config.model_validate(without_name(spec["task"])),
        backbone_class,
        backbone_class.Config.model_validate(without_name(spec["model"])),
    )


def match_spec(spec: dict[str, Any], inputs: Any) -> Matched:
    """Hidden units of a cell's model."""
    parts, wanted = parts_of(spec), spec["match"]
    return match(
        wanted["by"],
        lambda hidden: parts.build(spec["mechanism"], hidden, spec["seed"], inputs),
        lambda hidden: parts.build(wanted["reference"], hidden, spec["seed"], inputs),
        wanted["tolerance"],
    )


def make_plan(loaded: LoadedSuite, *, only: list[str], device: str | None) -> list[Cell]:
    """Resolve every cell of a suite, and refuse before anything runs what cannot run.

    Raises:
        SuiteError: an unknown name or setting, an impossible size, or a device that is not there; one line with the place.
    """
    suite, source = loaded.suite, loaded.source
    if isinstance(suite, TimingSuite):
        return _timing_cells(suite, loaded, only, _device(device or suite.device))
    shared = _shared_spec(suite, source, _device(device or suite.device))
    requests = expand(suite, source)
    mechanisms: dict[str, tuple[dict[str, Any], int]] = {}
    for index, entry in enumerate(suite.mechanisms):
        _load("mechanisms", entry.name, f"{source}: mechanisms[{index}].name")
    for request in requests:
        key = f"{request.mechanism}:{request.variant}"
        if key not in mechanisms:
            where = ("mechanisms", request.index)
            mechanisms[key] = _mechanism(request.mechanism, request.settings, source, where)
            spec = _cell_spec(shared, request, mechanisms[key])
            _prove_buildable(spec, f"{source}: {place(where)} ({request.mechanism}, {request.variant})")
    cells = []
    for request in select(requests, only):
        resolved = mechanisms[f"{request.mechanism}:{request.variant}"]
        spec = _cell_spec(shared, request, resolved)
        given = {
            "source": source,
            "mechanism": suite.mechanisms[request.index].model_dump(mode="json"),
            "task": suite.task.model_dump(mode="json"),
            "model": suite.model,
            "match": suite.match.model_dump(mode="json"),
            "train": suite.train.model_dump(mode="json", exclude_unset=True),
            "device": device or suite.device,
        }
        cells.append(Cell(loaded.label, suite.description, given, spec, identity(spec), protocol(spec)))
    return cells


def _timing_cells(suite: TimingSuite, loaded: LoadedSuite, only: list[str], device: str) -> list[Cell]:
    """Cells that time and do not train."""
    given = {"source": loaded.source, **suite.model_dump(mode="json", exclude_unset=True)}
    return [
        Cell(loaded.label, suite.description, given, spec, identity(spec), protocol(spec))
        for spec in timing_specs(suite, loaded.source, device, only)
    ]


def _shared_spec(suite: Suite, source: str, device: str) -> dict[str, Any]:
    """What all cells of a suite share."""
    task_class = _load("tasks", suite.task.name, f"{source}: task.name")
    task = _resolve(task_class, suite.task.name, suite.task.settings(), source, ("task",))
    backbone_name = suite.model.get("name", task_class.backbone)
    backbone_class = _load("backbones", str(backbone_name), f"{source}: model.name")
    settings = without_name(suite.model)
    model = _resolve(backbone_class, backbone_name, settings, source, ("model",))
    reference = suite.match.reference
    reference_class = _load("mechanisms", reference.name, f"{source}: match.reference.name")
    where = ("match", "reference", "settings")
    measures, versions = [], {}
    for index, measure in enumerate(suite.measures):
        measure_class = _load("measures", measure.name, f"{source}: measures[{index}].name")
        measures.append(
            _resolve(measure_class, measure.name, measure.settings(), source, ("measures", index))
        )
        versions[measure.name] = measure_class.version
    return {
        "kind": "train",
        "task": task,
        "model": model,
        "match": {
            "by": suite.match.by,
            "reference": _resolve(reference_class, reference.name, reference.settings, source, where),
            "tolerance": suite.match.tolerance,
        },
        "train": suite.train.resolved(),
        "measures": measures,
        "device": device,
        "threads": suite.threads,
        "versions": {
            "task": task_class.version,
            "backbone": backbone_class.version,
            "reference": reference_class.version,
            "training": VERSION,
            "measures": versions,
        },
    }


def _cell_spec(
    shared: dict[str, Any], request: CellRequest, mechanism: tuple[dict[str, Any], int]
) -> dict[str, Any]:
    resolved, version = mechanism
    return {
        **shared,
        "mechanism": resolved,
        "variant": request.variant,
        "seed": request.seed,
        "versions": {**shared["versions"], "mechanism": version},
    }


def _mechanism(
    name: str, settings: dict[str, Any], source: str, where: tuple[str | int, ...]
) -> tuple[dict[str, Any], int]:
    mechanism_class = _load("mechanisms", name, f"{source}: {place((*where, 'name'))}")
    return _resolve(mechanism_class, name, settings, source, (*where, "settings")), mechanism_class.version


def _load(kind: str, name: str, where: str) -> Any:
    try:
        return catalog.load(kind, name)
    except catalog.UnknownNameError as error:
        raise SuiteError(f"{where}: {error}") from error


def _resolve(
    owner: Any, name: str, settings: dict[str, Any], source: str, where: tuple[str | int, ...]
) -> dict[str, Any]:
    """A thing's name and all of its settings, defaults filled in."""
    config_class: type[BaseModel] = owner.Config
    try:
        config = config_class.model_validate(settings, strict=True)
    except ValidationError as error:
        raise SuiteError(f"{source}: {explain(error, config_class, where)}") from error
    return {"name": name, **config.model_dump(mode="json")}


def _prove_buildable(spec: dict[str, Any], where: str) -> None:
    """Solve the matching and build the model without memory, so that an impossible size is refused before anything runs."""
    parts = parts_of(spec)
    inputs = parts.task_class.describe(parts.task_config)
    try:
        matched = match_spec(spec, inputs)
        with torch.device("meta"):
            parts.build(spec["mechanism"], matched.hidden, spec["seed"], inputs)
    except ValueError as error:
        raise SuiteError(f"{where}: {error}") from error
    except Exception as error:  # sizes that torch refuses, or whatever stands in somebody's mechanism
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise SuiteError(f"{where}: the model cannot be built: {reason}") from error


def _device(wanted: str) -> str:
    """`auto`, `cpu` or `cuda` to what is there.

    Raises:
        SuiteError: CUDA was asked for and there is none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise SuiteError(
            f'--device: got "{wanted}"; allowed: auto, cpu, cuda; {catalog.nearest(wanted, ("auto", "cpu", "cuda"))}'
        )
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SuiteError("device: got cuda, but torch finds no CUDA device here; allowed: auto, cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted
