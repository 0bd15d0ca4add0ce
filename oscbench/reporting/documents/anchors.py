"""Numbers that others published, where ours is the same quantity."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.analysis.published.matches import beside
from oscbench.analysis.study import assemble
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.suites import reported
from oscbench.reporting.documents.support.tables import table_of
from oscbench.reporting.sections.published import COLUMNS

RANK = 150
_HEAD = """# Do we measure what others measured?

Every published number that a suite here measures as it was published: same data, sizes and length of training. Other differences of
recipe that the rules find are noted; a variant in brackets differs as its name says. Published numbers for which ours
are different quantities, and why, stand in each suite's report. ± of ours is half the 95 % t interval of the mean over seeds, ± of theirs
the standard deviation over their seeds. Agreement is scored on validation after the last epoch, as its paper does, and not on the test that
[its own page](agreement.md) has. Where seeds fail, as on agreement, a mean is of two kinds of runs and its interval wide and not to
be trusted: that a number is inside it says little, and how many fail says more. Which of our measurements may stand beside which number is
written in [answers.yaml](../../results/published/answers.yaml), the numbers in [published.json](../../results/published/published.json).
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed.
"""


def document(loaded: Loaded) -> Document:
    """A table a suite, of rows that are the same quantity alone."""
    records = tuple(reported(loaded))
    experiments = assemble(Loaded(records, (), ()), ()).experiments if records else ()
    found = [(one.title, [b for b in beside(one) if b.same]) for one in experiments]
    tables = [f"\n## {title}\n\n{table_of(COLUMNS, same)}\n" for title, same in found if same]
    return Document("".join([_HEAD, *tables]))
