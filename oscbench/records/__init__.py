"""The only door to `results/`: schema, identity and store (no torch)."""

from oscbench.records.identity import identity, protocol
from oscbench.records.reading import Damaged
from oscbench.records.schema import (
    Curve,
    HealthRow,
    Matching,
    Measurement,
    MechanismCard,
    Record,
)
from oscbench.records.store import ResultsError, Store, suite_name

__all__ = [
    "Curve",
    "Damaged",
    "HealthRow",
    "Matching",
    "Measurement",
    "MechanismCard",
    "Record",
    "ResultsError",
    "Store",
    "identity",
    "protocol",
    "suite_name",
]
