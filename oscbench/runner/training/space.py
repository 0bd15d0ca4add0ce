"""What a search may choose for a mechanism, and a spec in which something has been chosen."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError

from oscbench import catalog
from oscbench.errors import nearest
from oscbench.settings import spelled
from oscbench.suite import CellRequest, Suite, SuiteError, explain
from oscbench.suite.cells import plain
from oscbench.suite.errors import place, without_name
from oscbench.suite.schema import Axis, Train

DIGITS = 3
"""Significant digits of what is drawn from a range: nobody reports a learning rate of 0.002137091."""
TRIAL_MEASURES = ("params", "flops", "training_time")
"""Of a suite's measures, those that a trial takes; the others belong to reported cells."""


def own_space(suite: Suite, request: CellRequest) -> dict[str, Axis]:
    """The suite's space and the entry's own, without settings that the mechanism lacks or the entry fixes."""
    if suite.tune is None:
        return {}
    known = catalog.load("mechanisms", request.mechanism).Config.model_fields
    wanted = {**suite.tune.space, **suite.mechanisms[request.index].tune}
    return {
        key: axis
        for key, axis in wanted.items()
        if _kind(key) == "train" or (_name(key) in known and _name(key) not in request.settings)
    }


def check_names(suite: Suite, source: str) -> None:
    """Refuse a setting that no mechanism has, or that an entry adds to its search and also fixes.

    Raises:
        SuiteError: one line with the place.
    """
    if suite.tune is None:
        return
    fields = [set(catalog.load("mechanisms", entry.name).Config.model_fields) for entry in suite.mechanisms]
    known = {f"settings.{name}" for names in fields for name in names}
    for key in suite.tune.space:
        if _kind(key) == "settings" and key not in known:
            raise SuiteError(
                f"{source}: tune.space.{key}: no mechanism of this suite has it; {nearest(key, known)}"
            )
    for index, (entry, names) in enumerate(zip(suite.mechanisms, fields, strict=True)):
        for key in entry.tune:
            where, name = f"{source}: {place(('mechanisms', index, 'tune'))}.{key}", _name(key)
            if _kind(key) == "settings" and name not in names:
                own = [f"settings.{field}" for field in names]
                raise SuiteError(f"{where}: {entry.name} has no such setting; {nearest(key, own)}")
            if _kind(key) == "settings" and name in {**entry.settings, **entry.grid}:
                raise SuiteError(f"{where}: the entry fixes {name} and searches it; keep one of the two")


def with_values(spec: dict[str, Any], values: dict[str, Any], where: str) -> dict[str, Any]:
    """The spec in which these places have these values.

    Settings go to the mechanism. What is chosen of the recipe goes to `tuned`, beside the suite's recipe and outside the
    protocol: the recipe is shared, and so is the search; what it found is the mechanism's own.

    Raises:
        SuiteError: a value that the mechanism or the recipe does not allow.
    """
    settings = {_name(key): value for key, value in values.items() if _kind(key) == "settings"}
    tuned = {_name(key): value for key, value in values.items() if _kind(key) == "train"}
    name = spec["mechanism"]["name"]
    config_class = catalog.load("mechanisms", name).Config
    try:
        mechanism = config_class.model_validate({**without_name(spec["mechanism"]), **settings})
    except ValidationError as error:
        raise SuiteError(f"{where}: {explain(error, config_class, ('settings',))}") from error
    try:
        Train.model_validate({**spec["train"], **tuned})
    except ValidationError as error:
        raise SuiteError(f"{where}: {explain(error, Train, ('train',))}") from error
    changed = {**spec, "mechanism": {"name": name, **spelled(mechanism)}}
    return {**changed, "tuned": tuned} if tuned else changed


def trial_spec(spec: dict[str, Any], values: dict[str, Any], seed: int) -> dict[str, Any]:
    """The spec of a trial: what was chosen is in its variant, so that a repeated choice is the same cell."""
    measures = [measure for measure in spec["measures"] if measure["name"] in TRIAL_MEASURES]
    versions = {name: spec["versions"]["measures"][name] for name in (one["name"] for one in measures)}
    chosen = [f"{_name(key)}={plain(value)}" for key, value in values.items()] or ["as given"]
    trial = {key: value for key, value in spec.items() if key not in ("tune", "tuned")}
    trial |= {
        "variant": "+".join([spec["variant"], *chosen]),
        "seed": seed,
        "measures": measures,
        "versions": {**spec["versions"], "measures": versions},
    }
    return with_values(trial, values, "tune")


def given_values(spec: dict[str, Any], space: dict[str, Axis]) -> dict[str, Any]:
    """What the suite itself says of the places of a space, as far as it lies inside."""
    said = {key: (spec["train"] if _kind(key) == "train" else spec["mechanism"])[_name(key)] for key in space}
    return {key: value for key, value in said.items() if _inside(space[key], value)}


def rounded(axis: Axis, value: float) -> int | float:
    """A drawn number as it is used and reported: few digits, inside the range."""
    assert axis.low is not None
    assert axis.high is not None
    if isinstance(value, int):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), float(axis.low)), float(axis.high))


def _inside(axis: Axis, value: Any) -> bool:
    if axis.choices is not None:
        return value in axis.choices
    assert axis.low is not None
    assert axis.high is not None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return number and axis.low <= value <= axis.high


def _kind(key: str) -> str:
    return key.partition(".")[0]


def _name(key: str) -> str:
    return key.partition(".")[2]
