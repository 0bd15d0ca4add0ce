"""What a suite answers: a card for every comparison, on one axis for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oscbench import words
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, Heading, Prose, Verdict
from oscbench.reporting.page.caveats import method, shared_caveats
from oscbench.reporting.page.verdict import Answer, answer, sweep_answers

SHOWN = 12
"""More cards than this of one question stand behind a fold."""


class Answers:
    """Every comparison of the suite: verdict, effect and interval at once, the test and the costs on demand."""

    title = "The answer"
    rank = 10
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A card a comparison, those over all values of a suite that varies first."""
        if not study.comparisons:
            return [] if not study.experiments else [Prose((NOTHING_COMPARED,), "caveat")]
        shared = shared_caveats(study.comparisons)
        found: list[Block] = []
        questions = [(sweep.title, sweep_answers(sweep)) for sweep in study.sweeps]
        questions += [(study.title_of(e), [answer(c) for c in e.comparisons]) for e in study.single]
        for title, answers in questions:
            if not answers:
                continue
            if len(questions) > 1:
                found.append(Heading(title))
            # The best first; what was not compared last.
            answers = sorted(answers, key=lambda one: -one.span[1] if one.span else math.inf)
            found += _cards([one.without(set(shared)) for one in answers])
        if shared:
            found.append(
                Folded(
                    f"For all of these: {words.lowered(shared[0])}",
                    (Prose(tuple(shared), "caveat"),),
                )
            )
        found.append(Prose((method(study),), "quiet"))
        return found


NOTHING_COMPARED = (
    "Nothing is compared: the records name no reference, and no comparison was asked for (--compare)."
)


def _cards(answers: Sequence[Answer]) -> list[Block]:
    spans = [one.span for one in answers if one.span]
    ends = (min(0.0, *(s[0] for s in spans)), max(0.0, *(s[2] for s in spans))) if spans else None
    cards: list[Block] = [Verdict(one, ends) for one in answers]
    if len(cards) <= SHOWN:
        return cards
    return [*cards[:SHOWN], Folded(f"{len(cards) - SHOWN} more comparisons", tuple(cards[SHOWN:]))]


section = Answers
