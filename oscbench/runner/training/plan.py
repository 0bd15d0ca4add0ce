"""From requested cells to resolved ones: every default filled in, every setting checked, identity and protocol computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from oscbench import catalog
from oscbench.errors import UserError, kind_and_line
from oscbench.models.trunk import Unstarted
from oscbench.records import identity, protocol
from oscbench.roles import mistake_of
from oscbench.runner.cell_spec import Cell
from oscbench.runner.training.entries import own_model, placed, position_of
from oscbench.runner.training.loop import VERSION
from oscbench.runner.training.space import check_names, first_values, own_space, with_values
from oscbench.runner.training.specs import Parts, match_spec, parts_of, request_key, task_of
from oscbench.settings import spelled
from oscbench.suite import (
    CellRequest,
    LoadedSuite,
    Suite,
    SuiteError,
    check_compared,
    expand,
    explain,
    select,
)
from oscbench.suite.errors import place, without_name
from oscbench.suite.schema import Match, Train
from oscbench.suite.tune import Tune


def training_cells(loaded: LoadedSuite, only: list[str], asked: str, device: str) -> list[Cell]:
    """Every cell of a suite that trains.

    Args:
        loaded: the suite, of kind `train`.
        only: which cells.
        asked: `auto`, `cpu` or `cuda`, as the suite or the command line says it.
        device: which of them that is.

    Raises:
        SuiteError: an unknown name or setting, or an impossible size; one line with the place.
    """
    suite, source = loaded.suite, loaded.source
    if not isinstance(suite, Suite):
        raise TypeError(f"{source}: not a suite that trains")
    _prove_device(suite.train, device, source)
    shared = _shared_spec(suite, source, device)
    for index, entry in enumerate(suite.mechanisms):
        _load("mechanisms", entry.name, f"{source}: mechanisms[{index}].name")
    requests = expand(suite, source)
    check_names(suite, source, shared["model"]["name"])
    entries: dict[tuple[str, str], _Entry] = {}
    proven: set[str] = set()
    declared = _declared(suite, requests, source)
    scored: dict[str, str] = {}
    for request in requests:
        if (request.mechanism, request.variant) in entries:
            continue
        spec = _entry_spec(suite, shared, request, source)
        named = f"{source}: mechanisms[{request.index}] ({request.mechanism}, {request.variant})"
        _prove_buildable(spec, named, proven)
        _prove_searchable(suite, request, spec, named, proven)
        scored |= _unit_of(spec)
        given = {**_given(suite, request, spec, source, asked), **declared}
        entries[request.mechanism, request.variant] = _Entry(spec, given, protocol(spec))
    _prove_margin(suite, scored, source)
    cells = []
    for request in select(requests, only):
        common = entries[request.mechanism, request.variant]
        spec = {**common.spec, "seed": request.seed}
        cells.append(
            Cell(loaded.label, suite.description, common.given, spec, identity(spec), common.protocol)
        )
    return cells


@dataclass(frozen=True)
class _Entry:
    """What the seeds of a mechanism and variant share; a suite may have thousands of them."""

    spec: dict[str, Any]
    given: dict[str, Any]
    protocol: str


def _given(
    suite: Suite, request: CellRequest, spec: dict[str, Any], source: str, device: str
) -> dict[str, Any]:
    """What the suite file says of an entry's cells."""
    given = {
        "source": source,
        "position": position_of(spec),
        "mechanism": suite.mechanisms[request.index].model_dump(mode="json"),
        "task": suite.task.model_dump(mode="json"),
        "model": suite.model,
        "match": suite.match.model_dump(mode="json"),
        "train": suite.train.model_dump(mode="json", exclude_unset=True),
        "device": device,
    }
    if suite.tune is not None:
        given["tune"] = suite.tune.model_dump(mode="json", exclude_unset=True)
    return given


def _declared(suite: Suite, requests: list[CellRequest], source: str) -> dict[str, Any]:
    """What a suite declares beforehand, as every record of it is given it."""
    check_compared(suite, requests, source)
    if suite.margin is not None:
        from oscbench.analysis.statistics.equivalence import read_margin  # which loads SciPy

        try:
            read_margin(suite.margin)
        except UserError as error:
            raise SuiteError(f"{source}: {error}") from error
    compared = [[_in_full(name, requests) for name in names] for names in suite.compare]
    found = {"compare": compared, "margin": suite.margin, "positions": suite.positions}
    return {key: value for key, value in found.items() if value}


def _unit_of(spec: dict[str, Any]) -> dict[str, str]:
    """What a cell is scored in, and the unit of it."""
    parts = parts_of(spec)
    _, metric = parts.task_class.headline(parts.task_config)
    return {metric.label: metric.unit}


def _prove_margin(suite: Suite, scored: dict[str, str], source: str) -> None:
    """Refuse a margin that no cell is scored in the unit of: it would decide nothing."""
    if suite.margin is None:
        return
    from oscbench.analysis.statistics.equivalence import read_margin, spoken

    margin = read_margin(suite.margin)
    if margin.unit not in scored.values():
        units = [
            f"a number of `{word}` for {name}" for name, unit in scored.items() if (word := spoken(unit))
        ]
        allowed = "; ".join(units) or f"none, since {', '.join(scored)} has no unit that a margin is told in"
        raise SuiteError(f"{source}: margin: got {suite.margin!r}; allowed: {allowed}")


def _in_full(name: str, requests: list[CellRequest]) -> str:
    """A name that is declared, spelled out where one entry alone has it: another that a suite gains later is not what was declared."""
    entries = {f"{request.mechanism}:{request.variant}" for request in requests if request.mechanism == name}
    return entries.pop() if len(entries) == 1 else name


def _shared_spec(suite: Suite, source: str, device: str) -> dict[str, Any]:
    """What all cells of a suite share."""
    task_class = _load("tasks", suite.task.name, f"{source}: task.name")
    task = _resolve(task_class, suite.task.name, suite.task.settings(), source, ("task",))
    backbone_name = suite.model.get("name", task_class.backbone)
    backbone_class = _load("backbones", str(backbone_name), f"{source}: model.name")
    if suite.tune is not None and task_class.validates_on_test(task_of({"task": task})[1]):
        raise SuiteError(
            f"{source}: tune: validation and test of this task are the same data under its settings, and a search would choose on the test"
        )
    settings = without_name(suite.model)
    model = _resolve(backbone_class, backbone_name, settings, source, ("model",))
    matching, reference_version = _matching(suite.match, model, source, ("match",))
    measures, versions = [], {}
    for index, measure in enumerate(suite.measures):
        measure_class = _load("measures", measure.name, f"{source}: measures[{index}].name")
        _prove_roles(measure.name, measure_class, f"{source}: measures[{index}].name")
        measures.append(
            _resolve(measure_class, measure.name, measure.settings(), source, ("measures", index))
        )
        versions[measure.name] = measure_class.version
    return {
        **_search(suite.tune),
        "kind": "train",
        "task": task,
        "model": model,
        "match": matching,
        "train": suite.train.resolved(),
        "measures": measures,
        "device": device,
        "threads": suite.threads,
        "versions": {
            "task": task_class.version,
            "backbone": backbone_class.version,
            "reference": reference_version,
            "training": VERSION,
            "measures": versions,
        },
    }


def _prove_roles(name: str, measure_class: Any, where: str) -> None:
    """Refuse roles that reports could not read."""
    if (wrong := mistake_of(name, measure_class)) is not None:
        raise SuiteError(f"{where}: {catalog.file_of('measures', name)}: {wrong}")


def unread_roles(suite: Suite) -> list[str]:
    """Measures whose roles no report will see: one reads files of names and runs nothing, and these have no name."""
    outside = [one.name for one in suite.measures if one.name not in catalog.names("measures")]
    return [name for name in outside if catalog.load("measures", name).roles]


def _search(tune: Tune | None) -> dict[str, Any]:
    """The search that all entries share, as it stands in a spec; nothing where there is none."""
    if tune is None:
        return {}
    space = {key: axis.model_dump(mode="json", exclude_defaults=True) for key, axis in tune.space.items()}
    shared = {"trials": tune.trials, "seeds": tune.scoring_seeds(), "sampler_seed": tune.sampler_seed}
    shared |= {"extend": tune.extend} if tune.extend else {}
    shared |= {"steps": tune.steps} if tune.steps else {}
    shared |= {"test": False} if not tune.test else {}
    return {"tune": {**shared, "space": space}}


def _matching(
    wanted: Match, model: dict[str, Any], source: str, where: tuple[str | int, ...]
) -> tuple[dict[str, Any], int]:
    """A matching with its reference resolved, what that has of its own in the suite's model, and its version."""
    reference = wanted.reference
    resolved, version, own = _stood(
        reference.name, reference.settings, reference.position, model, source, (*where, "reference")
    )
    own = own_model(model, own, source, place((*where, "reference")))
    matching = {"by": wanted.by, "reference": resolved, "tolerance": wanted.tolerance}
    return {**matching, "own_model": own} if own else matching, version


def _own_match(suite: Suite, model: dict[str, Any], index: int, source: str) -> dict[str, Any]:
    """What makes an entry a control, as it stands in a spec; nothing for all others, whose specs do not know the key."""
    own = suite.mechanisms[index].match
    if own is None:
        return {}
    matching, version = _matching(own.over(suite.match), model, source, ("mechanisms", index, "match"))
    return {"own_match": {**matching, "version": version}}


def _entry_spec(suite: Suite, shared: dict[str, Any], request: CellRequest, source: str) -> dict[str, Any]:
    """The spec of a mechanism and variant, whatever its seed."""
    where = ("mechanisms", request.index)
    resolved, version, added = _stood(
        request.mechanism, request.settings, request.position, shared["model"], source, where
    )
    own = own_model(shared["model"], {**request.model, **added}, source, place((*where, "model")))
    return {
        **shared,
        **_own_match(suite, shared["model"], request.index, source),
        **({"own_model": own} if own else {}),
        "mechanism": resolved,
        "variant": request.variant,
        "seed": request.seed,
        "versions": {**shared["versions"], "mechanism": version},
    }


def _stood(
    name: str,
    settings: dict[str, Any],
    position: str | None,
    model: dict[str, Any],
    source: str,
    where: tuple[str | int, ...],
) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """A mechanism at a position: its settings and version, and the values of the model's settings that the position takes."""
    resolved, version = _mechanism(name, settings, source, where)
    if position is None:
        return resolved, version, {}
    try:
        turned, added = placed(name, settings, position, model)
    except ValueError as error:
        raise SuiteError(f"{source}: {place((*where, 'position'))}: {error}") from error
    resolved, version = _mechanism(name, turned, source, where)
    return resolved, version, added


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
    if not (isinstance(config_class, type) and issubclass(config_class, BaseModel)):
        raise SuiteError(
            f"{source}: {place(where)}: {name}: its Config is {config_class!r}; wanted: a class of settings, as in "
            f"`class {owner.__name__}Config({_settings_of(owner)})`"
        )
    try:
        config = config_class.model_validate(settings, strict=True)
    except ValidationError as error:
        raise SuiteError(f"{source}: {explain(error, config_class, where)}") from error
    except Exception as error:  # a type that nothing knows, or whatever else stands in somebody's class
        raise SuiteError(
            f"{source}: {place(where)}: {name}: its Config takes no settings: {kind_and_line(error)}"
        ) from error
    return {"name": name, **spelled(config)}


def _prove_buildable(spec: dict[str, Any], where: str, proven: set[str]) -> None:
    """Solve the matching, which builds the model without memory, so that an impossible size is refused before anything runs.

    Args:
        spec: of an entry.
        where: it stands.
        proven: models that were built before, by `request_key`; this one is added.
    """
    if (key := request_key(spec)) in proven:
        return
    parts = parts_of(spec)
    most, asked = parts.task_class.largest_batch(parts.task_config), spec["train"]["batch_size"]
    if most is not None and asked > most:
        raise SuiteError(f"{where}: train.batch_size: got {asked}; this task allows at most {most}")
    inputs = _described(parts, where)
    repeats = [one for one in ("accumulate", "graph") if one in spec["train"]]
    try:
        matched = match_spec(spec, inputs)
        with torch.device("meta"), Unstarted():
            model = parts.build(spec["mechanism"], matched.hidden, spec["seed"], inputs) if repeats else None
    except ValueError as error:
        raise SuiteError(f"{where}: {error}") from error
    except Exception as error:  # sizes that torch refuses, or whatever stands in somebody's mechanism
        reason = kind_and_line(error)
        raise SuiteError(f"{where}: the model cannot be built: {reason}") from error
    if model is not None and model.trunk.mechanism.draws_anew:
        raise SuiteError(
            f"{where}: draws its start anew in every pass, which train.{repeats[0]} would repeat; leave out {repeats[0]}, or switch that off"
        )
    proven.add(key)


def _settings_of(owner: Any) -> str:
    """The base class of settings that its own base class has."""
    bases = [getattr(base, "Config", None) for base in owner.__mro__[1:]]
    names = [base.__name__ for base in bases if isinstance(base, type) and issubclass(base, BaseModel)]
    return next(iter(names), "BaseModel")


def _described(parts: Parts, where: str) -> Any:
    """What a backbone must know of the task's inputs."""
    try:
        return parts.task_class.describe(parts.task_config)
    except UserError:
        raise
    except Exception as error:
        reason = kind_and_line(error)
        raise SuiteError(f"{where}: the task does not say what its inputs are: {reason}") from error


def _prove_device(train: Train, device: str, source: str) -> None:
    """Refuse what only a GPU can do where cells run without one."""
    only = {"precision": "rounds matrix products on a GPU", "graph": "captures a step on a GPU"}
    asked = {"precision": train.precision == "tf32", "graph": train.graph}
    for key, what in only.items():
        if asked[key] and device != "cuda":
            value = str(getattr(train, key)).lower()
            raise SuiteError(
                f"{source}: train.{key}: {value} {what}, and cells run on the {device} here; leave it out"
            )


def _prove_searchable(
    suite: Suite, request: CellRequest, spec: dict[str, Any], where: str, proven: set[str]
) -> None:
    """Build with every choice and with both ends of every range, the rest as given; and with the entry's first trial."""
    for key, axis in own_space(suite, request).items():
        for value in axis.ends():
            there = f"{where}: tune, {key} = {value}"
            _prove_buildable(with_values(spec, {key: value}, there), there, proven)
    if first := first_values(suite, request, where):
        _prove_buildable(with_values(spec, first, f"{where}: first"), f"{where}: first", proven)
