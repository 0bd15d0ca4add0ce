"""The answer in ten seconds: a sentence a baseline, and every difference with its interval, task by task."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib
import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.study import Question, Study
from oscbench.analysis.sweeps.setting import grids
from oscbench.reporting.page.blocks import FRONT, Block, Folded, Prose
from oscbench.reporting.page.caveats import kept_in_mind, method
from oscbench.reporting.page.figure import LETTERS, Picture, Plan, axis_label, canvas, crowded, finish, scaled
from oscbench.reporting.page.forest import Difference, Heading, Line, draw_forest
from oscbench.reporting.page.style import look_of, settings
from oscbench.reporting.page.verdict import improvement
from oscbench.settings import name_of

Rows = Sequence[tuple[Question, Comparison]]
_SPELLED, _TASKS = 3, 2
"""So many treatments are spelled out in a sentence, and tasks of each."""
_LINE = 0.155
"""Inches of a line of the forest plot."""
_NARROW = 26
"""Letters of a label below an axis that long names leave half of the picture."""


class Overview:
    """What the report answers, before anything else."""

    title = "The answer"
    rank = 10
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """A sentence for each baseline, then a forest plot each, then one line that opens all caveats."""
        if not study.comparisons:
            return [Prose(tuple(answers(study)), "caveat")]
        by_baseline = _by_baseline(study)
        found: list[Block] = [Prose((text,), "lead") for text in answers(study)]
        for name, rows in by_baseline.items():
            for unit, same in _by_unit(rows).items():
                slug = words.slug(f"forest {name} {unit}")
                found.append(Plan(0, partial(forest_picture, slug, name, same)))
        shared = kept_in_mind(study.comparisons)
        about = (Prose(tuple(shared), "caveat"), Prose((method(study),), "quiet"))
        ends = list(dict.fromkeys((shared[0], shared[-1]))) if shared else []
        first = f": {'; '.join(map(words.lowered, ends))}" if ends else ""
        found.append(Folded(f"What to keep in mind{first}", about if shared else about[1:]))
        return found


def answers(study: Study) -> list[str]:
    """A sentence for each baseline, the most compared with first; or why there is none."""
    if study.comparisons:
        return [sentence(name, rows) for name, rows in _by_baseline(study).items()]
    if study.experiments:
        return [
            "Nothing is compared: the records name no reference, and no comparison was asked for (--compare)."
        ]
    return ["Nothing was trained here, so nothing is said of accuracy."]


def _by_baseline(study: Study) -> dict[str, list[tuple[Question, Comparison]]]:
    """Rows of each baseline; the one that most is compared with first.

    Values of one setting are told by themselves, if anything else is compared.
    """
    values = {s.entry for grid in grids(study.single) for _, s in grid.points}
    if all(c.pair.treatment in values for c in study.comparisons):
        values = set()
    found: dict[str, list[tuple[Question, Comparison]]] = {}
    for question in study.questions:
        for comparison in (c for c in question.comparisons if c.pair.treatment not in values):
            found.setdefault(comparison.baseline, []).append((question, comparison))
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _by_unit(rows: Rows) -> dict[str, list[tuple[Question, Comparison]]]:
    """Rows that can stand over one axis: those with an interval, by unit."""
    found: dict[str, list[tuple[Question, Comparison]]] = {}
    for question, comparison in rows:
        if improvement(comparison) is not None:
            found.setdefault(comparison.unit, []).append((question, comparison))
    return found


def sentence(baseline: str, rows: Rows) -> str:
    """Who is ahead of a baseline, who behind and by how much, and of whom nothing can be said."""
    standings = sorted(map(_standing, _by_treatment(rows).items()), key=lambda one: one.order)
    clear = [one for one in standings if one.ahead or one.behind]
    spelled = [one for one in clear if one.ahead][:_SPELLED] or clear[:_SPELLED]
    others = [one for one in clear if one not in spelled]
    parts = [f"{one.name} is {' and '.join(filter(None, (one.ahead, one.behind)))}" for one in spelled]
    parts += _named([one.name for one in others if one.ahead and not one.behind], "ahead as well")
    parts += _named(
        [one.name for one in others if one.ahead and one.behind], "ahead in places and behind in others"
    )
    parts += _named([one.name for one in others if not one.ahead], "behind")
    parts += _named([one.name for one in standings if one.alike], "equivalent")
    parts += [f"{one.name} is not compared ({one.lost})" for one in standings if one.lost]
    open_ = [one for one in standings if not (one.ahead or one.behind or one.alike or one.lost)]
    if not clear:
        leaning = [f"{one.name} {one.leaning}" for one in open_ if one.leaning]
        open_ = [one for one in open_ if not one.leaning]
        parts += [f"with too few seeds for a test, {words.listed(leaning[:_SPELLED])}"] if leaning else []
    names = [one.name for one in open_]
    if names:
        many = f"{len(names)} {'others' if parts else 'mechanisms'}"
        parts.append(f"no clear verdict on {words.listed(names) if len(names) <= _SPELLED else many}")
    return f"Against {baseline}, {'; '.join(parts)}."


def _named(names: Sequence[str], what: str) -> list[str]:
    return [f"{words.listed(names)} {'is' if len(names) == 1 else 'are'} {what}"] if names else []


@dataclass(frozen=True)
class _Standing:
    """What one treatment reached against a baseline, in words; empty where that is nothing."""

    name: str
    ahead: str
    behind: str
    alike: bool
    lost: str
    leaning: str
    order: tuple[float, float]


def _by_treatment(rows: Rows) -> dict[str, list[tuple[Question, Comparison]]]:
    found: dict[str, list[tuple[Question, Comparison]]] = {}
    for question, comparison in rows:
        found.setdefault(comparison.treatment, []).append((question, comparison))
    return found


def _standing(item: tuple[str, Rows]) -> _Standing:
    name, own = item
    ahead, behind = (
        _where(own, verdict, word) for verdict, word in (("better", "ahead"), ("worse", "behind"))
    )
    alike = all(c.verdict == "equivalent" for _, c in own)
    wins = sum(c.verdict == "better" for _, c in own) - sum(c.verdict == "worse" for _, c in own)
    spans = [span[1] for _, c in own if (span := improvement(c))]
    lost = own[0][1].reason if all(c.paired is None for _, c in own) else ""
    return _Standing(name, ahead, behind, alike, lost, _leaning(own), (-wins, -max(spans, default=0.0)))


def _where(own: Rows, verdict: str, word: str) -> str:
    """`ahead on digits in 2 of 3 suites (+0.80 to +1.20 points)`: each task once; empty where that is the verdict nowhere."""
    by_task: dict[str, list[Comparison]] = {}
    for question, comparison in own:
        if comparison.verdict == verdict:
            by_task.setdefault(question.task_label, []).append(comparison)
    asked = Counter(question.task_label for question, _ in own)
    each = [
        f"{words.lowered(label)}{_share(len(found), asked[label])} ({_range(found)})"
        for label, found in list(by_task.items())[:_TASKS]
    ]
    more = [f"{len(by_task) - _TASKS} more tasks"] if len(by_task) > _TASKS else []
    return f"{word} on {words.listed([*each, *more])}" if each else ""


def _share(found: int, asked: int) -> str:
    return f" in {found} of {asked} suites" if found < asked else ""


def _range(comparisons: Sequence[Comparison]) -> str:
    means = sorted((c.paired.mean for c in comparisons if c.paired), key=abs)
    unit = comparisons[0].unit
    least, most = (words.difference(mean, unit, with_unit=False) for mean in (means[0], means[-1]))
    alike = least == most or any(c.unit != unit for c in comparisons)
    whole = words.difference(means[-1], unit)
    return whole if alike else f"{least} to {whole}"


def _leaning(own: Rows) -> str:
    """`leads by 1.98 points`, where there are too few seeds for a test and yet an interval that leaves no difference out."""
    for question, comparison in own:
        span = improvement(comparison)
        if span and comparison.verdict == "underpowered" and (span[0] > 0 or span[2] < 0):
            by = words.difference(abs(span[1]), comparison.unit).lstrip("+")
            several = f" on {words.lowered(question.task_label)}" if len(own) > 1 else ""
            return f"{'leads' if span[0] > 0 else 'trails'} by {by}{several}"
    return ""


def forest_picture(slug: str, baseline: str, rows: Rows) -> Picture:
    """Improvement over a baseline with its 95 % interval, grouped by task and suite; filled where the verdict is better or worse."""
    unit = rows[0][1].unit
    ends = _ends([span for _, c in rows if (span := improvement(c))])
    lines = _lines(rows)
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(1.0 + _LINE * len(lines))
        low, high = scaled(ends, unit)
        draw_forest(axes, lines, (float(low), float(high)), coloured=True)
        plain = {"fraction": "percentage points", "": "1"}.get(unit, unit)
        narrow = crowded([c.treatment for _, c in rows])
        axes.set_xlabel(axis_label(f"Better than {baseline} by", plain, _NARROW if narrow else LETTERS))
        title = _finding(baseline, [c for _, c in rows])
        figure.suptitle(
            "\n".join(textwrap.wrap(title, 52)), x=0.01, ha="left", fontsize=9.5, fontweight="bold"
        )
        told = "; ".join(f"{q.task_label} ({q.label}), {_words(c)}" for q, c in rows)
        alt = f"Forest plot: improvement over {baseline} with 95 % intervals. {told}."
        return finish(figure, slug, "forest", title, alt)


def _lines(rows: Rows) -> list[Line]:
    """From above: each task's name, each suite's where it is another, and its comparisons, the best first."""
    grouped: dict[str, dict[str, tuple[Question, list[Comparison]]]] = {}
    for question, comparison in rows:
        inside = grouped.setdefault(question.task_label, {})
        inside.setdefault(question.title, (question, []))[1].append(comparison)
    found: list[Line] = []
    for task, questions in grouped.items():
        found.append(Heading(task))
        for question, own in questions.values():
            found.append(Heading(_row_name(question), quiet=True))
            found += [
                _line(c, span) for c in sorted(own, key=_mean, reverse=True) if (span := improvement(c))
            ]
    return found


def _line(comparison: Comparison, span: tuple[float, float, float]) -> Difference:
    """One difference, signed so that more is better; every dot alike, since its name tells whose it is."""
    low, mean, high = map(float, scaled(span, comparison.unit))
    return Difference(
        comparison.treatment,
        low,
        mean,
        high,
        look_of(comparison.pair.treatment)._replace(marker="o"),
        comparison.verdict in ("better", "worse"),
        _words(comparison),
        words.difference(span[1], comparison.unit, with_unit=False),
    )


def _mean(comparison: Comparison) -> float:
    return (improvement(comparison) or (0.0, 0.0, 0.0))[1]


def _row_name(question: Question) -> str:
    over = f", mean over {name_of(question.varied)}" if question.varied else ""
    return f"{question.label.replace('_', ' ')}{over}"


def _ends(spans: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Ends of the axis: all that is ahead, and of what is behind as much as leaves the small differences readable."""
    top = max(max(high for _, _, high in spans), 0.0)
    reach = 2 * max(top, float(np.median([abs(mean) for _, mean, _ in spans])))
    kept = [low for low, mean, _ in spans if -reach <= mean]
    bottom = min(min(kept, default=0.0), 0.0)
    margin = 0.04 * (top - bottom) or 1e-3
    return max(bottom, -1.5 * reach) - margin, top + margin


def _words(comparison: Comparison) -> str:
    paired = comparison.paired
    if paired is None:
        return comparison.name
    ends = words.interval(paired.interval.low, paired.interval.high, comparison.unit)
    return f"{comparison.name}: {words.difference(paired.mean, comparison.unit)} {ends}, {comparison.verdict_in_words}"


def _finding(baseline: str, comparisons: Sequence[Comparison]) -> str:
    """Who is ahead somewhere and never behind; or that nobody is."""
    verdicts: dict[str, set[str]] = {}
    for one in comparisons:
        verdicts.setdefault(one.treatment, set()).add(one.verdict)
    ahead = [name for name, seen in verdicts.items() if "better" in seen and "worse" not in seen]
    if not ahead:
        return (
            f"Nothing is ahead of {baseline} without being behind elsewhere"
            if _mixed(verdicts)
            else f"Nothing is clearly ahead of {baseline}"
        )
    shown = ahead[:3]
    everywhere = all(verdicts[name] == {"better"} for name in shown)
    where = ", and nowhere behind" if everywhere else " in places, and nowhere behind"
    return f"Ahead of {baseline}{where}: {words.listed(shown)}"


def _mixed(verdicts: Mapping[str, set[str]]) -> bool:
    return any({"better", "worse"} <= seen for seen in verdicts.values())


section = Overview
