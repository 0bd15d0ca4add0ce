"""What was equal between the entries of each experiment, and by how much."""

from __future__ import annotations

from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Facts, Folded, per_experiment


class Fairness:
    """The fairness block of every experiment."""

    title = "What was equal"
    rank = 30
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Facts an experiment; those of one alone stand open."""
        if len(study.shown) == 1:
            return per_experiment(study, lambda e: [Facts(e.facts)])
        return [Folded(study.title_of(e), (Facts(e.facts),)) for e in study.shown]


section = Fairness
