"""The ledger of claims as a page."""

from __future__ import annotations

from collections.abc import Sequence

from oscbench.analysis.claims.ledger import read_claims
from oscbench.analysis.claims.verdicts import Entry, counted, fill
from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document, table

_HEAD = """# What the papers claim, and what holds here

{counted} Every verdict is computed from the [reference records](../../results/reference) by the rules of
[claims.yaml](../../results/published/claims.yaml); none is typed.

A claim *holds* where each of its grounds is tested and holds, of which there are two at least, one of them on real data; it holds *in part*
where some hold and others do not, or wait to be tested: then each is corrected over the grounds that may decide, since one of them would be
enough. Against a claim one ground is enough, which may be a toy, unless it only suggests since what is asked there is not what the paper
claims. It *does not hold* where an interval excludes what it says, or where two entries are shown to be equivalent within the margin that the
suite declares (or half a point, or a hundredth of a bit, which are usual here and were not declared for it); what speaks against a claim is
corrected over all of its questions that may decide (Bonferroni).
Rules were changed when records were there: by those that stood when their suites ran, K4, K6, K11, S1, T1, S3, F1 and A3 did not hold. (K6
asked there against RoPE with rotated values and frozen phases, as K7 to K9 did; that is asked of K4 now.) What was taken out
of a ground then is said there, and such a ground cannot hold any more; what was noted or made a condition then is marked.
It is said of these small models only, none of the papers' large settings is tested, and of the suites behind the verdicts only those on
Sudoku, scenes and streets, and those at settings of their own, searched their learning rates: on spoken words and agreement the rate is the
paper's own, elsewhere one rate for all, searched for nobody.
Where something must be *given* first (that an entry learned what it was trained on), nothing is decided there before it is.
*Undecided* is neither: what could still hide is said. A verdict takes eight paired seeds, and, where scores are
compared, a task whose best entry is ahead of the floors that ran there.
Intervals are 95 % t intervals over seeds, p is that of the sign-flip test. "Not declared beforehand" marks comparisons of suites that ran
before suites could declare what they ask, or that were declared when runs of theirs were there, and "asked after" what was thought of later:
they suggest, fresh seeds must confirm them, and no verdict rests on one. Ratios of times have the interval of their rounds, and counts none.
Seeds of spoken digits share six speakers, so that their intervals are narrower than those over new people would be.

"""


def document(loaded: Loaded) -> Document:
    """A table of all claims, then what stands behind each."""
    entries = fill(read_claims(), loaded)
    rows = [
        (f"[{e.claim.id}](#{e.claim.id.lower()})", e.claim.claim, f"**{e.verdict}**", e.where)
        for e in entries
    ]
    parts = [_HEAD.format(counted=counted(entries)), table(("", "Claim", "Verdict", "Where"), rows), "\n"]
    return Document("".join([*parts, *_sections(entries)]))


def _sections(entries: Sequence[Entry]) -> list[str]:
    found = []
    for entry in entries:
        lines = "\n".join(f"- {line}" for line in entry.lines)
        found.append(
            f"\n## {entry.claim.id}\n\n{entry.claim.claim} ({entry.claim.source}): **{entry.verdict}**.\n\n{lines}\n"
        )
    return found
