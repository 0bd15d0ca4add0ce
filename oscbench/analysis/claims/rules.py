"""Which rule answers which question; those of one kind on one ground are answered together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oscbench.analysis.claims.course_rules import ahead, rises
from oscbench.analysis.claims.evidence import Evidence, Finding
from oscbench.analysis.claims.falling_rules import falls
from oscbench.analysis.claims.ledger import (
    Ahead,
    Ask,
    Count,
    Difference,
    FailsLess,
    Falls,
    Finishes,
    HalfWay,
    Less,
    Level,
    Loses,
    NeedsLess,
    Quantity,
    Rises,
    Sooner,
    Time,
)
from oscbench.analysis.claims.level_rules import counts, finishes, quantities, times
from oscbench.analysis.claims.measure_rules import less, levels, losses
from oscbench.analysis.claims.paired_rules import differences, fails_less
from oscbench.analysis.claims.ratio_rules import half_ways, needs_less, sooner

_RULES: dict[type, Callable[[Any, Evidence, float], list[Finding]]] = {
    Difference: differences,
    Sooner: sooner,
    NeedsLess: needs_less,
    FailsLess: fails_less,
    Quantity: quantities,
    Level: levels,
    Loses: losses,
    Less: less,
    Rises: rises,
    Ahead: ahead,
    HalfWay: half_ways,
    Falls: falls,
    Time: times,
    Count: counts,
    Finishes: finishes,
}


def find(asks: Sequence[Ask], evidence: Evidence, level: float) -> list[Finding]:
    """Answer the questions of one ground, in order.

    A claim holds on a ground where all its questions hold, each at the 5 % level: of such an intersection none needs a correction (Berger,
    Technometrics 24, 1982). Against a claim one question on one ground is enough, so what speaks against it is corrected over all questions
    of the claim that may decide, of whatever kind, suite and ground (Bonferroni).

    Args:
        asks: The questions.
        evidence: Records.
        level: Coverage that an interval must have to speak against the claim.
    """
    found: dict[int, Finding] = {}
    for kind, rule in _RULES.items():
        places = [at for at, ask in enumerate(asks) if isinstance(ask, kind)]
        found |= dict(zip(places, rule([asks[at] for at in places], evidence, level), strict=True))
    return [found[at] for at in range(len(asks))]
