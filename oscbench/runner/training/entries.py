"""What an entry of a suite has of its own beside its mechanism's settings: where its tokens' places come from, and how embeddings start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from oscbench import catalog
from oscbench.errors import nearest
from oscbench.positions import joined, parted
from oscbench.settings import spelled
from oscbench.suite import SuiteError, explain
from oscbench.suite.errors import without_name


def placed(
    name: str, settings: Mapping[str, Any], position: str, model: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A mechanism's settings at a position, and the entry's own values of the model's settings that this takes.

    A position that can be said in several ways is always said in the same one, with as few own values as possible, so that a request has
    one identity however it was written.

    Args:
        name: of the mechanism.
        settings: of the mechanism, defaults filled in or not.
        position: one of `oscbench.positions`.
        model: the suite's model, all settings filled in.

    Raises:
        ValueError: the mechanism cannot have the position.
    """
    mechanism = catalog.load("mechanisms", name)
    added, own = parted(position)
    turned = mechanism.with_own_position(settings, own)
    if turned is None:
        allowed = mechanism.positions(settings)
        raise ValueError(f'{name} cannot have "{position}"; {nearest(position, allowed)}')
    has_setting = "position" in mechanism.Config.model_fields
    if has_setting:
        turned["position"] = "learned" if model["position"] == "auto" and added == "learned" else "none"
    usual = model["position"]
    if usual == "auto":
        usual = _usual(mechanism, mechanism.Config.model_validate(turned))
    return turned, {} if usual == added else {"position": added}


def own_model(shared: dict[str, Any], own: Mapping[str, Any], source: str, where: str) -> dict[str, Any]:
    """An entry's own values of the model's settings, checked; those that are the suite's as well are left out.

    Raises:
        SuiteError: a setting that all entries share, or a value that is not allowed.
    """
    backbone = catalog.load("backbones", shared["name"])
    for key in own:
        if key not in backbone.Config.own:
            raise SuiteError(
                f'{source}: {where}: an entry has no "{key}" of its own, as all share it; {nearest(key, backbone.Config.own)}'
            )
    try:
        merged = backbone.Config.model_validate({**without_name(shared), **own}, strict=True)
        usual = backbone.Config.model_validate(without_name(shared))
    except ValidationError as error:
        raise SuiteError(f"{source}: {where}: {explain(error, backbone.Config)}") from error
    return {key: getattr(merged, key) for key in own if getattr(merged, key) != getattr(usual, key)}


def position_of(spec: dict[str, Any]) -> str:
    """Where the tokens' places come from in a cell, `auto` resolved: one of `oscbench.positions`."""
    mechanism = catalog.load("mechanisms", spec["mechanism"]["name"])
    config = mechanism.Config.model_validate(without_name(spec["mechanism"]))
    added = {**spec["model"], **spec.get("own_model", {})}["position"]
    return joined(_usual(mechanism, config) if added == "auto" else added, mechanism.has_own_position(config))


def with_model(spec: dict[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The spec with other own values of the model's settings; `position` may be any that the mechanism can have.

    Raises:
        SuiteError: a value that is not allowed.
    """
    wanted = {**spec.get("own_model", {}), **values}
    mechanism = catalog.load("mechanisms", spec["mechanism"]["name"])
    if "position" in values:
        settings = without_name(spec["mechanism"])
        settings.pop(mechanism.own_position_setting, None)
        try:
            settings, own = placed(spec["mechanism"]["name"], settings, values["position"], spec["model"])
        except ValueError as error:
            raise SuiteError(f"{where}: model.position: {error}") from error
        del wanted["position"]
        wanted |= own
        resolved = mechanism.Config.model_validate(settings)
        spec = {**spec, "mechanism": {"name": spec["mechanism"]["name"], **spelled(resolved)}}
    found = own_model(spec["model"], wanted, where, "model")
    others = {key: value for key, value in spec.items() if key != "own_model"}
    return {**others, "own_model": found} if found else others


def _usual(mechanism: Any, config: Any) -> str:
    """What `auto` adds to tokens."""
    return "learned" if mechanism.learns_position(config) else "none"
