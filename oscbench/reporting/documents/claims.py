"""The ledger of claims as a page."""

from __future__ import annotations

from collections.abc import Sequence

from oscbench import words
from oscbench.analysis.claims.ledger import read_claims
from oscbench.analysis.claims.verdicts import Entry, counted, fill
from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document, table

RANK = 0
_HEAD = """# What the papers claim, and what holds here

{counted} Every verdict is computed from the [reference records](../../results/reference) by the rules of
[claims.yaml](../../results/published/claims.yaml); none is typed.

A claim *holds* if all its grounds are tested and hold; it needs at least two, one of them on real data. It holds *in part*
if some hold and others do not or are untested; each is then corrected over the grounds that may decide, since one of them would be
enough. Against a claim one ground is enough, even a toy, unless it only suggests because it asks something the paper does not
claim. It *does not hold* where an interval excludes what it says, or where two entries are shown to be equivalent within the margin that the
suite declares (or half a point, or a hundredth of a bit, which are usual here and were not declared for it); what speaks against a claim is
corrected over all of its questions that may decide (Bonferroni).
Rules were changed after records existed: by the rules in force when their suites ran, K4, K6, K10, K11, S1, T1, S3, F1 and A3 did not hold;
F5 held in part, and K11 too once panoptic scenes had run.
(K6, like K7 to K9, then asked against RoPE with rotated values and frozen phases; K4 asks that now.) What was then taken out of a ground is
named there, and that ground can no longer hold; what was then noted or made a condition is marked. Verdicts are on these small models only;
none of the papers' large settings is tested. Of the suites behind them, only those on Sudoku, scenes, streets and tinyshakespeare, and
those at settings of their own, searched learning rates: on spoken words and agreement the rate is the paper's, elsewhere one untuned rate
for all. Where a condition must be *given* first (that an entry learned its training task), nothing is decided until it is. *Undecided* is
neither, and says what remains possible. A verdict takes eight paired seeds, and, where scores are compared, a task whose best entry is
ahead of the floors that ran there. Intervals are 95 % t intervals over seeds, p is that of the sign-flip test. "Not declared beforehand"
marks comparisons of suites that ran before suites could declare questions, or that were declared after some of their runs; "asked after"
marks questions thought of later. Both only suggest: fresh seeds must confirm them, and no verdict rests on one. Ratios of times have
intervals over rounds; counts have none. Seeds of spoken digits share six speakers, so that their intervals are narrower than those over new
people would be.

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
            f'\n<a id="{entry.claim.id.lower()}"></a>\n\n'
            f"## {entry.claim.id}. {words.capitalised(entry.claim.claim)}\n\n"
            f"{entry.claim.source}: **{entry.verdict}**.\n\n{lines}\n"
        )
    return found
