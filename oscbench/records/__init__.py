"""The only door to `results/`: schema, identity and store (no torch)."""

from oscbench.records.identity import identity, protocol
from oscbench.records.schema import (
    Curve,
    HealthRow,
    Matching,
    Measurement,
    MechanismCard,
    Record,
)
from oscbench.records.store import Damaged, ResultsError, Store, suite_name

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
