"""What a search may choose for a mechanism, a spec in which something has been chosen, and what is tried beyond the ends of a range."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import ValidationError

from oscbench import catalog
from oscbench.errors import nearest
from oscbench.runner.training.entries import position_of, with_model
from oscbench.runner.training.specs import parts_of
from oscbench.settings import spelled
from oscbench.suite import CellRequest, Suite, SuiteError, explain
from oscbench.suite.cells import plain
from oscbench.suite.errors import place, without_name
from oscbench.suite.schema import Train
from oscbench.suite.tune import Axis

DIGITS = 3
"""Significant digits of what is drawn from a range: nobody reports a learning rate of 0.002137091."""
TRIAL_MEASURES = ("params", "flops", "training_time")
"""Of a suite's measures, those that a trial takes; the others belong to reported cells."""


def own_space(suite: Suite, request: CellRequest) -> dict[str, Axis]:
    """The suite's space and the entry's own, without settings that the mechanism lacks or the entry fixes."""
    if suite.tune is None:
        return {}
    wanted = {**suite.tune.space, **suite.mechanisms[request.index].tune}
    own = ((key, _own_axis(request, key, axis)) for key, axis in wanted.items())
    return {key: axis for key, axis in own if axis is not None}


def first_values(suite: Suite, request: CellRequest, where: str) -> dict[str, Any]:
    """What the entry says of its first trial.

    Raises:
        SuiteError: a place that its search does not have, or a value outside what may be chosen there; one line with the place.
    """
    space, entry = own_space(suite, request), suite.mechanisms[request.index]
    for key, value in entry.first.items():
        if key not in space:
            raise SuiteError(f"{where}: first.{key}: its search has no such place; {nearest(key, space)}")
        if not _inside(space[key], value):
            raise SuiteError(f"{where}: first.{key}: got {value!r}, which {_extent(space[key])}")
    return entry.first


def _extent(axis: Axis) -> str:
    if axis.choices is not None:
        return f"is none of its choices, {plain(axis.choices)}"
    return f"does not lie between {axis.low} and {axis.high}"


def _own_axis(request: CellRequest, key: str, axis: Axis) -> Axis | None:
    """What of an axis is open to an entry; None where nothing is."""
    mechanism, name = catalog.load("mechanisms", request.mechanism), _name(key)
    if key == "model.position":
        if request.position or "position" in request.settings:
            return None
        allowed = mechanism.positions(request.settings)
        choices = [choice for choice in axis.choices or () if choice in allowed]
        return Axis(choices=choices) if choices else None
    if _kind(key) == "model":
        return None if name in request.model else axis
    if request.position and key in _said_by_position(mechanism):
        return None
    if _kind(key) == "settings" and (name not in mechanism.Config.model_fields or name in request.settings):
        return None
    return axis


def _said_by_position(mechanism: Any) -> set[str]:
    """Settings that a position says."""
    return {f"settings.{name}" for name in ("position", mechanism.own_position_setting) if name}


def check_names(suite: Suite, source: str, backbone: str) -> None:
    """Refuse a setting that no mechanism has or that entries share, or that an entry adds to its search and also fixes.

    Raises:
        SuiteError: one line with the place.
    """
    if suite.tune is None:
        return
    fields = [set(catalog.load("mechanisms", entry.name).Config.model_fields) for entry in suite.mechanisms]
    known = {f"settings.{name}" for names in fields for name in names}
    own = [f"model.{name}" for name in catalog.load("backbones", backbone).Config.own]
    for where, key in (
        *(("tune.space", key) for key in suite.tune.space),
        *((f"mechanisms[{index}].tune", key) for index, e in enumerate(suite.mechanisms) for key in e.tune),
    ):
        if _kind(key) == "model" and key not in own:
            raise SuiteError(f"{source}: {where}.{key}: all entries share it; {nearest(key, own)}")
    for key in suite.tune.space:
        if _kind(key) == "settings" and key not in known:
            raise SuiteError(
                f"{source}: tune.space.{key}: no mechanism of this suite has it; {nearest(key, known)}"
            )
    for index, (entry, names) in enumerate(zip(suite.mechanisms, fields, strict=True)):
        searched = {**suite.tune.space, **entry.tune}
        said = _said_by_position(catalog.load("mechanisms", entry.name)) & searched.keys()
        fixed = {f"settings.{key}" for key in (*entry.settings, *entry.grid)} & said
        open_to_it = not (entry.position or suite.positions or fixed)
        if "model.position" in searched and said and open_to_it:
            raise SuiteError(
                f"{source}: mechanisms[{index}] ({entry.name}): model.position and {min(said)} are both searched, and a position "
                "says both; keep model.position"
            )
        for key in entry.tune:
            where, name = f"{source}: {place(('mechanisms', index, 'tune'))}.{key}", _name(key)
            if _kind(key) == "settings" and name not in names:
                own = [f"settings.{field}" for field in names]
                raise SuiteError(f"{where}: {entry.name} has no such setting; {nearest(key, own)}")
            if _kind(key) == "settings" and name in {**entry.settings, **entry.grid}:
                raise SuiteError(f"{where}: the entry fixes {name} and searches it; keep one of the two")


def with_values(spec: dict[str, Any], values: dict[str, Any], where: str) -> dict[str, Any]:
    """The spec in which these places have these values.

    Settings go to the mechanism, what is chosen of the model to `own_model`, and of the recipe to `tuned`, beside the suite's
    recipe and outside the protocol: the recipe is shared, and so is the search; what it found is the mechanism's own.

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
    model = {_name(key): value for key, value in values.items() if _kind(key) == "model"}
    if model:
        changed = with_model(changed, model, where)
    return {**changed, "tuned": tuned} if tuned else changed


def trial_spec(spec: dict[str, Any], values: dict[str, Any], seed: int) -> dict[str, Any]:
    """The spec of a trial, as long as the search says: what was chosen is in its variant, so that a repeated choice is the same cell."""
    measures = [measure for measure in spec["measures"] if measure["name"] in TRIAL_MEASURES]
    versions = {name: spec["versions"]["measures"][name] for name in (one["name"] for one in measures)}
    chosen = [f"{_name(key)}={plain(value)}" for key, value in values.items()] or ["as given"]
    trial = {key: value for key, value in spec.items() if key not in ("tune", "tuned")}
    if spec["tune"].get("steps"):
        length = {"steps": spec["tune"]["steps"]}
        trial["train"] = {key: value for key, value in spec["train"].items() if key != "epochs"} | length
    if not spec["tune"].get("test", True):
        trial["tested"] = False
    trial |= {
        "variant": "+".join([spec["variant"], *chosen]),
        "seed": seed,
        "measures": measures,
        "versions": {**spec["versions"], "measures": versions},
    }
    return with_values(trial, values, "tune")


def given_values(spec: dict[str, Any], space: dict[str, Axis]) -> dict[str, Any]:
    """What the suite itself says of the places of a space, as far as it lies inside."""
    mechanism = catalog.load("mechanisms", spec["mechanism"]["name"]).Config
    parts = {
        "train": Train.model_validate(spec["train"]),
        "settings": mechanism.model_validate(without_name(spec["mechanism"])),
        "model": parts_of(spec).backbone_config,
    }
    plainly = {kind: config.model_dump(mode="json") for kind, config in parts.items()}
    plainly["model"]["position"] = position_of(spec)
    said = {key: plainly[_kind(key)][_name(key)] for key in space}
    return {key: value for key, value in said.items() if _inside(space[key], value)}


def rounded(axis: Axis, value: float) -> int | float:
    """A drawn number as it is used and reported: few digits, more where all of the range has the first ones, and inside the range."""
    assert axis.low is not None
    assert axis.high is not None
    if isinstance(value, int):
        return value
    shared = math.log10(max(abs(axis.low), abs(axis.high)) / (axis.high - axis.low))
    digits = DIGITS + max(0, math.floor(shared))
    return min(max(float(f"{value:.{digits}g}"), float(axis.low)), float(axis.high))


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


End = Literal["low", "high"]
MOST_TRIALS = 6
"""Further trials of an entry, over all of its extensions."""
STEPS = 2
"""Values beyond an end in one extension, each a step further."""


def ends_reached(space: dict[str, Axis], chosen: dict[str, Any]) -> dict[str, End]:
    """Place -> `low` or `high`, for every value that stands at an end of what could be chosen."""
    from oscbench.analysis.search import edge  # which loads what a report needs

    ends: dict[str, End] = {"at the low end": "low", "at the high end": "high"}
    told = {key: edge(axis.model_dump(), chosen[key]) for key, axis in space.items()}
    return {key: ends[text] for key, text in told.items() if text in ends}


def beyond(axis: Axis, end: str) -> list[int | float]:
    """The next values outside an end: factors of 2 and 4 where the axis is one of ratios, steps otherwise.

    A step is one for whole numbers, half a range of fractions, and the distance of the last two of a list of numbers.
    """
    if axis.choices is None:
        return _beyond_range(axis, end)
    ordered = sorted(axis.choices, reverse=end == "low")
    last, before = ordered[-1], ordered[-2]
    rising = sorted(axis.choices)
    first, final = rising[1] - rising[0], rising[-1] - rising[-2]
    growing = final > first * (1 + 1e-9)  # 0.4 - 0.3 is more than 0.2 - 0.1
    if growing and min(last, before) > 0:
        found = [last * (last / before) ** (step + 1) for step in range(STEPS)]
    else:
        found = [last + (last - before) * (step + 1) for step in range(STEPS)]
    whole = all(isinstance(choice, int) for choice in axis.choices)
    return _outside(last, [int(value) if whole and value == int(value) else value for value in found])


def _beyond_range(axis: Axis, end: str) -> list[int | float]:
    assert axis.low is not None
    assert axis.high is not None
    whole = isinstance(axis.low, int) and isinstance(axis.high, int)
    last: int | float = axis.high if end == "high" else axis.low
    sign = 1 if end == "high" else -1
    if axis.log:
        found = [last * 2.0 ** (sign * (step + 1)) for step in range(STEPS)]
        return _outside(last, [value for value in (map(round, found) if whole else found) if value > 0])
    size = 1 if whole else (axis.high - axis.low) / 2
    return _outside(last, [last + sign * size * (step + 1) for step in range(STEPS)])


def _outside(last: float, found: list[int | float]) -> list[int | float]:
    """Values beyond an end in few digits, or in as many as it takes to tell them apart and from the end."""
    for digits in (DIGITS, 2 * DIGITS):
        short = [value if isinstance(value, int) else float(f"{value:.{digits}g}") for value in found]
        if len({last, *short}) > len(short):
            return short
    return [value for value in dict.fromkeys(short) if value != last]


def widened(axis: Axis, values: list[int | float]) -> Axis:
    """The axis with values outside of it taken in."""
    if axis.choices is not None:
        return Axis(choices=[*axis.choices, *values])
    assert axis.low is not None
    assert axis.high is not None
    return Axis(low=min(axis.low, *values), high=max(axis.high, *values), log=axis.log)
