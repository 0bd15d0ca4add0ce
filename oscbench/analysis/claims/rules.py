"""Which rule answers which question; those of one kind on one ground are answered together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oscbench.analysis.claims.course_rules import ahead, rises
from oscbench.analysis.claims.evidence import Evidence
from oscbench.analysis.claims.falling_rules import falls
from oscbench.analysis.claims.finding import Finding
from oscbench.analysis.claims.ledger import (
    Ahead,
    Ask,
    Count,
    Difference,
    FailsLess,
    Falls,
    Finishes,
    Level,
    Loses,
    Quantity,
    Rises,
    Sooner,
    Time,
)
from oscbench.analysis.claims.level_rules import counts, finishes, quantities, times
from oscbench.analysis.claims.measure_rules import levels, losses
from oscbench.analysis.claims.paired_rules import differences, fails_less, sooner

_RULES: dict[type, Callable[[Any, Evidence], list[Finding]]] = {
    Difference: differences,
    Sooner: sooner,
    FailsLess: fails_less,
    Quantity: quantities,
    Level: levels,
    Loses: losses,
    Rises: rises,
    Ahead: ahead,
    Falls: falls,
    Time: times,
    Count: counts,
    Finishes: finishes,
}


def find(asks: Sequence[Ask], evidence: Evidence) -> list[Finding]:
    """Answer the questions of one ground, in order."""
    found: dict[int, Finding] = {}
    for kind, rule in _RULES.items():
        places = [at for at, ask in enumerate(asks) if isinstance(ask, kind)]
        found |= dict(zip(places, rule([asks[at] for at in places], evidence), strict=True))
    return [found[at] for at in range(len(asks))]
