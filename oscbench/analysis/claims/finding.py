"""What a rule finds: an outcome, its size in words, and what could still hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oscbench import words
from oscbench.analysis.claims.ledger import Ask
from oscbench.analysis.comparison import VERDICT_SEEDS

CORRECTED = "corrected over the claim's questions its interval reaches what is claimed"
Outcome = Literal["holds", "does not hold", "undecided", "not tested"]
FEW_SEEDS = f"estimates only: a verdict takes {VERDICT_SEEDS} seeds"


@dataclass(frozen=True)
class Finding:
    """What the records say to one question.

    Attributes:
        outcome: `not tested` where the records lack what it asks about.
        text: The size with its interval and seeds, or what is missing.
        hides: What could still be the case where it is undecided.
        declared: Whether the suite declared this comparison before it ran; None where the rule compares nothing.
    """

    ask: Ask
    outcome: Outcome
    text: str
    hides: str = ""
    declared: bool | None = None

    @property
    def suggests(self) -> bool:
        """Whether it may not decide: it was asked, or its comparison chosen, when records were there already."""
        return bool(self.ask.asked) or self.declared is False


def by_interval(ask: Ask, text: str, num_seeds: int, *, holds: bool, fails: bool, hides: str = "") -> Finding:
    """The verdict of an interval over seeds: where it lies decides, from as many seeds on as a verdict takes.

    Args:
        ask: The question.
        text: The size in words.
        num_seeds: Behind the interval.
        holds: It lies wholly where the claim puts it.
        fails: It lies wholly elsewhere.
        hides: What could still be the case where it is neither.
    """
    if num_seeds < VERDICT_SEEDS:
        return Finding(ask, "undecided", text, FEW_SEEDS)
    if holds:
        return Finding(ask, "holds", text)
    if fails:
        return Finding(ask, "does not hold", text)
    return Finding(ask, "undecided", text, hides)


def absent(ask: Ask, what: str = "") -> Finding:
    """The records lack what a question asks about."""
    where = f"{ask.suite}[{ask.value}]" if ask.value else ask.suite
    whose = [getattr(ask, name, "") for name in ("entry", "treatment", "baseline", "mechanism")]
    who = words.listed([name for name in whose if name])
    return Finding(ask, "not tested", what or f"no records of {f'{who} in ' if who else ''}{where} here")


def p_told(p: float) -> str:
    """`p = 0.031`, `p < 0.001`."""
    shown = words.p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"
