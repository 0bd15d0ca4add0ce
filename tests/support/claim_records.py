"""Made records with a known difference, and what a rule of the ledger finds in them."""

from __future__ import annotations

import numpy as np
from pydantic import TypeAdapter
from synthetic_records import make_record

from oscbench.analysis.claims.evidence import Evidence, Levels
from oscbench.analysis.claims.ledger import Ask, Claim, Ground
from oscbench.analysis.claims.rules import find
from oscbench.analysis.frame import Loaded
from oscbench.records import Record

NOISE = np.array([0.004, -0.002, 0.003, -0.005, 0.001, -0.001, 0.002, -0.002])


def ask(rule: str, **given: object) -> Ask:
    read: Ask = TypeAdapter(Ask).validate_python({"rule": rule, "suite": "toy", **given})
    return read


def cells(mechanism: str, values: list[float], **changes: object) -> list[Record]:
    return [make_record(mechanism, seed, value=v, **changes) for seed, v in enumerate(values)]  # type: ignore[arg-type]


def pair(lift: float, noise: float = 1.0, seeds: int = 8, **changes: object) -> list[Record]:
    plain = [0.9] * seeds
    wave = [0.9 + lift + noise * float(NOISE[s % 8]) for s in range(seeds)]
    return [*cells("plain", plain, **changes), *cells("wave", wave, **changes)]


def outcome(records: list[Record], rule: str, **given: object) -> tuple[str, str]:
    (found,) = find([ask(rule, **given)], Evidence(Loaded(tuple(records), (), ())), Levels())
    return found.outcome, found.text + " | " + found.hides


WAVE = {"treatment": "wave", "baseline": "plain"}


def claim_of(*grounds: list[Ask]) -> Claim:
    made = tuple(Ground(ground=f"g{at}", asks=tuple(asks)) for at, asks in enumerate(grounds))
    return Claim(id="X", claim="waves are better", source="none", grounds=made)


def declaring(records: list[Record], *pairs: str) -> list[Record]:
    """Records of a suite that declared these comparisons before it ran."""
    told = {"compare": [pair.split(" - ") for pair in pairs]}
    return [r.model_copy(update={"spec_given": r.spec_given | told}) for r in records]


def with_floor(records: list[Record], floor: float) -> list[Record]:
    """The same on one draw of data, with an untrained floor."""
    (bag,) = cells("bag", [floor])
    bag = bag.model_copy(update={"spec": bag.spec | {"kind": "floor"}})
    return [r.model_copy(update={"data_hash": "d"}) for r in (*records, bag)]
