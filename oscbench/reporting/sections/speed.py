"""What timing suites answer, a line each."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.costs.timing import timing_groups
from oscbench.analysis.fairness import busy_notes
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import FRONT, Block, Folded, Prose


class Speed:
    """What the largest size costs, over the reference's time."""

    title = "Time"
    rank = 40
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """A line a group that has a ratio; the first of each suite stands open. And whether the machine was busy."""
        told = [
            (g.suite, f"{words.capitalised(g.title)}: {g.answer}")
            for g in timing_groups(study.loaded.records)
            if g.answer
        ]
        first = dict(reversed(told))
        rest = tuple(line for _, line in told if line not in first.values())
        found: list[Block] = [Prose(tuple(reversed(first.values())))] if first else []
        timed = [record for record in study.loaded.records if is_timing(record)]
        found += [Prose((words.capitalised(note),), "caveat") for note in busy_notes(timed, "these")]
        return found + ([Folded(f"{len(rest)} more settings", (Prose(rest),))] if rest else [])


section = Speed
