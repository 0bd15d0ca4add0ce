"""Which rule answers which question; those of one kind on one ground are answered together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from oscbench.analysis.claims.course_rules import ahead, rises
from oscbench.analysis.claims.evidence import Evidence, Finding, Levels, absent
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
    OverFloors,
    Quantity,
    Rises,
    Sooner,
    Time,
)
from oscbench.analysis.claims.level_rules import counts, finishes, over_floors, quantities, times
from oscbench.analysis.claims.measure_rules import less, levels, losses
from oscbench.analysis.claims.paired_rules import differences, fails_less
from oscbench.analysis.claims.ratio_rules import half_ways, needs_less, sooner

_RULES: dict[type, Callable[[Any, Evidence, Levels], list[Finding]]] = {
    Difference: differences,
    Sooner: sooner,
    NeedsLess: needs_less,
    FailsLess: fails_less,
    Quantity: quantities,
    Level: levels,
    OverFloors: over_floors,
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


_OVER_VALUES = (Difference, NeedsLess, Falls, Time, Count, Finishes)
"""Questions that know what to do with all the values of a suite that varies."""
_DECLARED_THEMSELVES = (Difference, Falls, Time, Count)
"""Questions that say themselves what was declared, or compare what no chance is in."""
_OF_ALL_RUNS = (FailsLess, Finishes, Time, Count)
"""Questions to which a run that diverged is an answer and no gap."""


def find(asks: Sequence[Ask], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Answer the questions of one ground, in order.

    A claim holds on a ground where all its questions hold: of such an intersection none needs a correction (Berger, Technometrics 24,
    1982). One such ground is enough for a claim to hold in part, so that where not all of them hold each is corrected over the grounds that
    may decide; against a claim one question on one ground is enough, so what speaks against it is corrected over all questions of the claim
    that may decide, of whatever kind, suite and ground (Bonferroni).

    Args:
        asks: The questions.
        evidence: Records.
        levels: Coverage that an interval must have to speak for the claim, and against it.
    """
    found: dict[int, Finding] = {}
    for kind, rule in _RULES.items():
        places = [at for at, ask in enumerate(asks) if isinstance(ask, kind)]
        found |= dict(zip(places, rule([asks[at] for at in places], evidence, levels), strict=True))
    return [_sound(found[at], evidence) for at in range(len(asks))]


def _sound(finding: Finding, evidence: Evidence) -> Finding:
    """A finding that decides nothing by runs that were lost or counted twice, and says whether its comparison was declared."""
    ask = finding.ask
    treatment = getattr(ask, "treatment", "") or getattr(ask, "entry", "")
    baseline = ask.over if isinstance(ask, Rises) else getattr(ask, "baseline", "")
    if not treatment:
        return finding
    if not isinstance(ask, _OVER_VALUES) and ask.value is None and evidence.mixes(treatment, ask.suite):
        return absent(ask, f"{ask.suite} varies, and the question names none of its values")
    if baseline and not isinstance(ask, _DECLARED_THEMSELVES):
        finding = replace(finding, declared=evidence.declared(treatment, baseline, ask.suite))
    gains = {"holds": treatment, "does not hold": baseline}.get(finding.outcome)
    lost = evidence.lost([gains], ask.suite, ask.value) if gains and not isinstance(ask, _OF_ALL_RUNS) else ""
    if lost:
        return replace(finding, outcome="undecided", hides=f"{lost}, and what is left may favour it")
    return finding
