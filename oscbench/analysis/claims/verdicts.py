"""From findings to verdicts: a claim is as good as its grounds, two at least and one of them on real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oscbench import words
from oscbench.analysis.claims.evidence import Evidence, Finding, Levels, Outcome
from oscbench.analysis.claims.ledger import Claim, Ground, read_claims
from oscbench.analysis.claims.rules import find
from oscbench.analysis.frame import Loaded, load
from oscbench.analysis.statistics.multiplicity import simultaneous_level
from oscbench.errors import ReportError, nearest

Verdict = Literal["holds", "holds in part", "does not hold", "undecided", "not tested here"]
VERDICTS: tuple[Verdict, ...] = ("holds", "holds in part", "does not hold", "undecided", "not tested here")
ENOUGH = 2
"""Grounds that an unqualified verdict rests on, one of them on real data."""
NOT_GIVEN = "not given, so that nothing is decided here"


@dataclass(frozen=True)
class Judged:
    """One ground of a claim with what its records say.

    Attributes:
        findings: Answers to what it asks.
        given: Answers to what must be given first.
    """

    ground: Ground
    findings: tuple[Finding, ...]
    given: tuple[Finding, ...] = ()

    @property
    def unmet(self) -> bool:
        """Whether something that must be given first is not, or is not known to be."""
        return any(one.outcome != "holds" for one in self.given)

    @property
    def outcome(self) -> Outcome:
        """All questions must hold; one that does not is enough against it; where one or what must be given is missing nothing is decided.

        What was asked or chosen after the records existed may keep a ground from being decided, and decides none; nor does a ground
        that only suggests. A ground that was changed then cannot hold.
        """
        if all(finding.outcome == "not tested" for finding in self.findings):
            return "not tested"
        if self.ground.suggests or self.unmet:
            return "undecided"
        deciding = {finding.outcome for finding in self.findings if not finding.suggests}
        if "does not hold" in deciding:
            return "does not hold"
        held = all(finding.outcome == "holds" and not finding.suggests for finding in self.findings)
        return "holds" if held and not self.ground.changed else "undecided"


@dataclass(frozen=True)
class Entry:
    """One claim with its verdict.

    Attributes:
        where: On which grounds the verdict rests, and which are not tested.
    """

    claim: Claim
    grounds: tuple[Judged, ...]
    verdict: Verdict
    where: str

    @property
    def rests_on_toys(self) -> bool:
        """Whether it does not hold, and that on no real ground."""
        against = [judged.ground for judged in self.grounds if judged.outcome == "does not hold"]
        return self.verdict == "does not hold" and not any(ground.real for ground in against)

    @property
    def lines(self) -> list[str]:
        """Each ground's findings in words, or what it would take to test it; then why some only suggest, each reason once."""
        found = []
        only_suggest: dict[str, list[str]] = {}
        for judged in self.grounds:
            name = words.capitalised(judged.ground.ground)
            if judged.outcome == "not tested":
                takes = f": {judged.ground.takes}" if judged.ground.takes else ""
                found.append(f"{name}: not tested here{takes}.")
                continue
            found += [f"{name}: *{_first(one)}*. {one.text}{_when(one)}." for one in judged.given]
            for finding in judged.findings:
                hides = f": {finding.hides}" if finding.hides else ""
                aside = bool(
                    judged.ground.suggests
                    or judged.unmet
                    or (judged.ground.changed and finding.outcome == "holds")
                )
                told = _told(finding, finding.suggests or aside)
                found.append(f"{name}: *{told}{hides}*. {finding.text}{_when(finding)}.")
            if judged.ground.suggests:
                only_suggest.setdefault(judged.ground.suggests, []).append(name)
            if judged.ground.changed:
                found.append(
                    f"{name}: changed after the records existed, so it cannot hold: {judged.ground.changed}."
                )
        return found + [
            f"{'; '.join(names)}: {'they decide' if len(names) > 1 else 'it decides'} nothing, since {reason}."
            for reason, names in only_suggest.items()
        ]


def _told(finding: Finding, suggests: bool) -> str:
    """An outcome, or what only suggests one."""
    suggested = suggests and finding.outcome in ("holds", "does not hold")
    return f"suggests that it {finding.outcome}" if suggested else finding.outcome


def _first(finding: Finding) -> str:
    """Whether what a ground takes as given is."""
    if finding.outcome in ("undecided", "not tested"):
        return f"not known to be given{f': {finding.hides}' if finding.hides else ''}"
    return "given" if finding.outcome == "holds" else NOT_GIVEN


def _when(finding: Finding) -> str:
    """What a reader must know of when it was asked."""
    if finding.ask.asked:
        return f"; asked {finding.ask.asked}"
    return "" if finding.declared in (None, True) else "; not declared beforehand"


def fill(claims: Sequence[Claim], loaded: Loaded) -> list[Entry]:
    """Every claim with the verdict that these records give it."""
    evidence = Evidence(loaded)
    return [_entry(claim, evidence) for claim in claims]


def _entry(claim: Claim, evidence: Evidence) -> Entry:
    fails = simultaneous_level(max(1, claim.num_questions))
    grounds = _judged(claim, evidence, Levels(fails=fails))
    if combined(grounds) == "holds in part":
        grounds = _judged(claim, evidence, Levels(simultaneous_level(max(1, claim.num_grounds)), fails))
    return Entry(claim, grounds, combined(grounds), _where(grounds))


def _judged(claim: Claim, evidence: Evidence, levels: Levels) -> tuple[Judged, ...]:
    return tuple(
        Judged(
            ground, tuple(find(ground.asks, evidence, levels)), tuple(find(ground.given, evidence, levels))
        )
        for ground in claim.grounds
    )


def combined(grounds: Sequence[Judged]) -> Verdict:
    """The verdict over several grounds.

    It holds where every ground is tested and holds, of which there are two at least, one of them on real data. Where some hold and others
    do not, or are not tested, or are too few, it holds in part. Grounds that only suggest are none of these.
    """
    if all(judged.outcome == "not tested" for judged in grounds):
        return "not tested here"
    deciding = [judged for judged in grounds if not judged.ground.suggests]
    outcomes = [judged.outcome for judged in deciding]
    if "holds" in outcomes:
        enough = len(deciding) >= ENOUGH and any(judged.ground.real for judged in deciding)
        return "holds" if enough and set(outcomes) == {"holds"} else "holds in part"
    return "does not hold" if "does not hold" in outcomes else "undecided"


def _where(grounds: Sequence[Judged]) -> str:
    """`holds on digits; not tested on CIFAR-10 · DataComp`: grounds are named with commas and "and" of their own."""
    by: dict[Outcome, list[str]] = {}
    for judged in grounds:
        by.setdefault(judged.outcome, []).append(judged.ground.ground)
    order: tuple[Outcome, ...] = ("holds", "does not hold", "undecided", "not tested")
    return "; ".join(f"{outcome} on {' · '.join(by[outcome])}" for outcome in order if outcome in by)


def _of_several(verdict: Verdict, count: int) -> str:
    """A verdict as the verb of so many claims: `7 do not hold`, `1 is undecided`."""
    if verdict in ("undecided", "not tested here"):
        return f"{'is' if count == 1 else 'are'} {verdict}"
    return verdict if count == 1 else verdict.replace("does not", "do not").replace("holds", "hold")


def counted(entries: Sequence[Entry]) -> str:
    """How many claims have which verdict, in one line."""
    counts = {verdict: sum(entry.verdict == verdict for entry in entries) for verdict in VERDICTS}
    toys = sum(entry.rests_on_toys for entry in entries)
    beside = {"does not hold": f" ({toys} of them on made or toy data alone)"} if toys else {}
    told = [
        f"{count} {_of_several(one, count)}{beside.get(one, '')}" for one, count in counts.items() if count
    ]
    return f"Of {len(entries)} claims: {words.listed(told)}."


def overview(results: Path) -> tuple[list[dict[str, str]], str]:
    """A row a claim, and how many have which verdict.

    Raises:
        ReportError: the folder holds no records.
    """
    entries = fill(read_claims(), load(results))
    rows = [{"": e.claim.id, "claim": e.claim.claim, "verdict": e.verdict, "where": e.where} for e in entries]
    return rows, counted(entries)


def details(results: Path, one: str) -> list[str]:
    """A claim, its verdict and all that stands behind it, in lines.

    Raises:
        ReportError: no claim has this id, or the folder holds no records.
    """
    claims = {claim.id: claim for claim in read_claims()}
    if one not in claims:
        raise ReportError(f'no claim is called "{one}"; {nearest(one, claims)}')
    (entry,) = fill([claims[one]], load(results))
    head = f"{one}: {entry.claim.claim} ({entry.claim.source}): {entry.verdict}"
    return [head, *(f"  {line.replace('*', '')}" for line in entry.lines)]
