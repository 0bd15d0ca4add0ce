"""What each mechanism does, in a sentence, and where it comes from."""

from __future__ import annotations

from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Facts, Folded


class Mechanisms:
    """Idea and citation of every entry."""

    title = "The mechanisms"
    rank = 87
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A line an entry, behind a fold."""
        standings = {s.name: s for e in study.experiments for s in e.standings}
        if not standings:
            return []
        items = tuple(
            (name, " ".join(filter(None, (s.idea, s.citation and f"({s.citation})"))))
            for name, s in sorted(standings.items())
            if s.idea or s.citation
        )
        return [Folded("Ideas and papers", (Facts(items),))]


section = Mechanisms
