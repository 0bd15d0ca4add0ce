"""What a reader must know of many comparisons at once, told once: caveats that all share, and how the numbers came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from oscbench.analysis.comparison import Comparison
from oscbench.analysis.statistics.seeds import BCA_FROM
from oscbench.analysis.study import Study
from oscbench.reporting.page.verdict import answer
from oscbench.words import p_value

_REASONS = 3


def shared_caveats(comparisons: Sequence[Comparison]) -> list[str]:
    """Caveats of every comparison; none where there is but one, which tells its own."""
    every = [(*a.caveats, *a.more) for a in map(answer, (c for c in comparisons if c.paired))]
    if len(every) < 2:
        return []
    return [note for note in every[0] if all(note in notes for notes in every)]


def kept_in_mind(comparisons: Sequence[Comparison]) -> list[str]:
    """What stands beside an answer where its comparisons are not told one by one: why there is no verdict, and what all of them share."""
    shown = [c for c in comparisons if c.paired]
    counts = Counter(c.withheld for c in shown if c.withheld)
    none = [
        f"No verdict{'' if count == len(shown) else f' for {count} of {len(shown)} comparisons'}: {reason}"
        for reason, count in counts.most_common(_REASONS)
    ]
    own = list(answer(shown[0]).caveats) if len(shown) == 1 else shared_caveats(shown)
    said = all(c.role == "explores" for c in shown)  # a caveat of each, and so one that all share
    return [*none, *own, *([] if said else _undeclared(shown))]


def _undeclared(comparisons: Sequence[Comparison]) -> list[str]:
    """How many were looked at without having been declared; nothing where all were declared."""
    total, left = len(comparisons), sum(c.role != "confirms" for c in comparisons)
    if not left:
        return []
    suggest = "suggests, and fresh seeds confirm"
    if total == 1:
        return [f"This comparison was not declared beforehand (`compare` in a suite): it {suggest}"]
    number = "none" if left == total else f"{total - left}"
    return [
        f"Of {total} comparisons {number} had been declared beforehand (`compare` in a suite): what was not declared {suggest}"
    ]


def method(study: Study) -> str:
    """How differences, intervals and p values came about."""
    comparisons = study.comparisons
    total = sum(one.paired is not None for one in comparisons)
    most = max((one.tested for one in comparisons), default=0)
    over = "over all of them" if total == most else "over those of each suite, a question"
    holm = f", Holm-corrected {over}" if total > 1 else ""
    if holm and any(one.needed for one in comparisons):
        holm += "; comparisons with too few seeds to pass are left out of it (Tarone 1990)"
    fewest = min((c.paired.n for c in comparisons if c.paired and c.paired.n > 1), default=0)
    if 0 < fewest < BCA_FROM:
        holm += f"; with {fewest} seeds no p can be below {p_value(2.0 ** (1 - fewest))}, whatever came out"
    if study.asked:
        baseline = "The last name of each list of names is its baseline."
    elif any(one.role for one in comparisons):
        baseline = (
            "Compared is what a suite declared; where one declared nothing, each entry with the reference that the models "
            "were matched to."
        )
    else:
        baseline = "Each entry is compared with the reference that the models were matched to."
    return (
        "Differences are taken seed by seed; every interval is a 95 % paired t interval over seeds, "
        f"every p comes from a sign-flip permutation test (exact up to 13 seeds){holm}; better and worse take this test "
        f"and an interval that agrees. {baseline}"
    )
