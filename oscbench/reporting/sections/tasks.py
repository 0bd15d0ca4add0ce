"""Effects over several tasks: each pair that was compared in more than one, by its mean difference."""

from __future__ import annotations

from oscbench.analysis.study import Study, aggregates
from oscbench.reporting.page.blocks import FRONT, Block, Folded, Prose
from oscbench.reporting.page.verdict import aggregate_words, aggregates_method


class Tasks:
    """The mean over tasks of what a pair differs by."""

    title = "Over tasks"
    rank = 25
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """A sentence a pair."""
        found = aggregates(study)
        if not found:
            return []
        told = tuple(aggregate_words(aggregate) for aggregate in found)
        inside = (Prose((aggregates_method(found),), "quiet"), Prose(told))
        if len(told) <= SHOWN:
            return list(inside)
        return [Folded(f"{len(told)} pairs that were compared in several tasks", inside)]


SHOWN = 3
section = Tasks
