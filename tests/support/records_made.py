"""A record for tests of where records are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from oscbench.records import MechanismCard, Record

START = datetime(2026, 1, 1, tzinfo=UTC)


def record(**changes):
    """A whole record, with changes."""
    given = {
        "identity": "0123456789abcdef",
        "suite": "mine",
        "protocol": "p",
        "task": "digits",
        "task_label": "digits",
        "mechanism": "kope",
        "variant": "default",
        "seed": 0,
        "status": "ok",
        "device": "cpu",
        "metric": "accuracy",
        "card": MechanismCard(name="kope", label="KoPE", idea="", citation="", traits={}),
        "spec_given": {},
        "spec": {},
        "versions": {},
        "started_utc": START,
        "finished_utc": START + timedelta(seconds=1),
        "seconds": 1.0,
    }
    return Record(**(given | changes))
