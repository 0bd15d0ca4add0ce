"""Who solves boards beyond its training, and whom more loops at the test help."""

from __future__ import annotations

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment, values_of
from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document, picture
from oscbench.reporting.documents.support.searches import search_of
from oscbench.reporting.documents.support.standings import comparisons_table, in_short, under_title
from oscbench.reporting.documents.support.suites import (
    VERDICTS,
    description_of,
    few_told,
    nothing_of,
    report_of,
)
from oscbench.reporting.documents.support.tables import (
    flags_row,
    flags_told,
    flops_row,
    measured,
    own_gain,
    positions_row,
    scores_table,
    seeds_row,
)
from oscbench.reporting.sections.loops import kinds_of, loops_picture, ways_of

RANK = 90
_HEAD = f"""# Who solves Sudoku beyond its training, and does more time help?

Two blocks, looped several times on boards with many givens, are tested on harder boards, at the training's loops and at more: made ones are
minimal, of which no given can be taken away, real ones have 17 to 34 givens. Means are with 95 % t intervals over seeds; {VERDICTS}
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Claims on it
stand in [claims](claims.md#a2).
"""
_SUITES = ("sudoku", "sudoku_satnet")
_KINDS = {"hard": "Harder boards", "easy": "Boards like those of training"}
_LEVELS = {
    "naked_singles": "Some cell always has one digit left",
    "hidden_singles": "Some digit always has one place left",
    "guess": "A guess",
}
_CHOICE = """Choosing among eight answers to a board, without looking at the rules: under other names of its digits, and from other random
starts where a mechanism draws them (AKOrN), whose energy its authors choose by. Picking blindly and knowing the truth are bounds."""


def document(loaded: Loaded) -> Document:
    """What each suite compares, and what each mechanism solves after so many loops, by what a board takes, and by votes."""
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    parts: list[str] = []
    files: dict[str, str] = {}
    for experiment in report.experiments:
        text, drawn = _of(experiment, loaded)
        parts.append(text)
        files |= drawn
    asked = [(one.title, one.comparisons) for one in report.experiments]
    more = [sentence for one in report.experiments for sentence in _loops_told(one)]
    head = under_title(_HEAD, in_short(asked, more))
    return Document(f"{head}{''.join(parts)}{few_told(loaded, _SUITES)}", files)


def _loops_told(experiment: Experiment) -> list[str]:
    """What each solves of boards harder than those of training after the fewest loops and after the most, and the gain."""
    loops = kinds_of(experiment).get("hard", [])
    if len(loops) < 2:
        return []
    few, most = (f"{experiment.metric}_hard_loops_{count}" for count in (loops[0], loops[-1]))
    told = []
    for one in experiment.standings:
        if measured(one, {few: "", most: ""}):
            before, after = (
                words.quantity(float(np.mean(values_of(one, name))), "fraction") for name in (few, most)
            )
            told.append(
                f"{one.name} from {before} to {after} ({own_gain(one, most, few)}, {words.many(len(one.finished), 'seed')})"
            )
    return [
        f"{experiment.title}, harder boards solved after {loops[0]} and after {loops[-1]} loops (not declared beforehand): {'; '.join(told)}"
    ]


def _of(experiment: Experiment, loaded: Loaded) -> tuple[str, dict[str, str]]:
    """A suite's part of the page, and its pictures."""
    metric, kinds = experiment.metric, kinds_of(experiment)
    after = {
        f"{metric}_{kind}_loops_{n}": f"{_KINDS[kind]}, {n} loops"
        for kind, loops in kinds.items()
        for n in loops
    }
    levels = {metric: "All harder boards"} | {f"{metric}_{level}": told for level, told in _LEVELS.items()}
    chosen = ways_of(experiment)
    entries = [standing for standing in experiment.standings if measured(standing, after)]
    levels = {name: told for name, told in levels.items() if measured(entries[0], {name: told})}
    shown, files = picture(experiment.suite, loops_picture(experiment, "hard", kinds["hard"]).svg, _ALT)
    described = description_of(experiment.suite, experiment.description)
    above = [seeds_row(entries), positions_row(entries), flops_row(entries), *flags_row(entries)]
    tested = f"{words.capitalised(experiment.metric_label)}, what the suite compares:"
    searched = search_of(experiment, loaded)
    return (
        f"\n## {experiment.title}\n\n{described}\n\n{shown}\n{tested}\n\n"
        f"{comparisons_table(experiment.comparisons)}\n\n"
        f"Boards wholly right after so many loops:\n\n{scores_table('Boards', entries, after, above)}{flags_told(entries)}\n\n"
        f"The same score by what a harder board takes:\n\n{scores_table('Boards', entries, levels)}\n\n"
        f"{_CHOICE}\n\n"
        f"{scores_table('Harder boards', entries, chosen)}\n{searched}",
        files,
    )


_ALT = "Harder boards wholly right by loops at the test; numbers in the tables below"
