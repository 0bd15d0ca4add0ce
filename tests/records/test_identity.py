"""No two requests share an identity, and a protocol holds all that a fair comparison must share."""

from __future__ import annotations

import copy

import pytest

from oscbench.records import identity, protocol
from oscbench.records.identity import canonical
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite

OWN = {("mechanism",), ("variant",), ("seed",), ("versions", "mechanism")}


@pytest.fixture(scope="module")
def spec():
    return make_plan(load_suite("smoke"), only=["mechanism=kope"], device="cpu")[0].spec


def flipped(value):
    """Other values in the place of one."""
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, int):
        return [value + 1, -value - 1, None]
    if isinstance(value, float):
        return [value * 2 + 1, value * (1 + 2**-50) + 5e-324, None]
    if isinstance(value, str):
        return [value + "x", value.upper() + "_", None]
    if value is None:
        return [0, False, ""]
    return []


def changes(value, place=()):
    """(place, whole changed copy) for every field, and for every key more or less."""
    for other in flipped(value):
        yield place, other
    if isinstance(value, dict):
        yield (*place, "one more"), {**value, "one more": 1}
        for key in value:
            yield (*place, key), {name: entry for name, entry in value.items() if name != key}
            for where, changed in changes(value[key], (*place, key)):
                yield where, {**value, key: changed}
    if isinstance(value, list):
        yield place, [*value, 0]
        for index, entry in enumerate(value):
            yield place, value[:index] + value[index + 1 :]
            for where, changed in changes(entry, (*place, index)):
                yield where, [*value[:index], changed, *value[index + 1 :]]


def is_own(place):
    return any(place[: len(own)] == own for own in OWN)


def test_every_field_of_a_spec_makes_a_new_identity(spec):
    found = {}
    for place, changed in changes(spec):
        assert identity(changed) != identity(spec), place
        found.setdefault(identity(changed), canonical(changed))
        assert found[identity(changed)] == canonical(changed), place
    assert len(found) > 150


def test_protocol_ignores_mechanism_variant_and_seed_and_nothing_else(spec):
    for place, changed in changes(spec):
        assert (protocol(changed) == protocol(spec)) == is_own(place), place


def test_order_of_keys_is_no_matter(spec):
    backwards = dict(reversed(copy.deepcopy(spec).items()))
    backwards["train"] = dict(reversed(backwards["train"].items()))
    assert identity(backwards) == identity(spec)


def test_every_setting_is_in_the_spec_so_that_defaults_written_out_change_nothing(spec):
    written = make_plan(
        load_suite("smoke", ["train.weight_decay=0.05", "train.clip=1.0", "threads=1", "task.shift=1"]),
        only=["mechanism=kope"],
        device="cpu",
    )
    assert written[0].identity == identity(spec)


def test_request_with_no_number_in_a_numbers_place_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        identity({"x": float("nan")})
