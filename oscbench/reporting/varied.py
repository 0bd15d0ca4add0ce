"""Suites that vary over a number: the headline metric against it, and what is different where.

The points of a varied suite are sections of their own, and comparisons are made inside a point only. Here they stand side by side;
Holm's correction runs over the points of one pair, because the question is at which of them the pair differs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from oscbench.reporting import formats
from oscbench.reporting.comparison import Comparison
from oscbench.reporting.fairness import spec_differences
from oscbench.reporting.frame import headline
from oscbench.reporting.sections import Section, Standing
from oscbench.reporting.selection import Pair
from oscbench.reporting.statistics import ALPHA, holm, seeds_needed

_CHANGES = re.compile(r",(?=[A-Za-z_][\w.-]*=)")


@dataclass(frozen=True)
class Tested:
    """One pair at one value; `p` is Holm-corrected over the values at which the pair was tested.

    Attributes:
        value: of what varies.
        section: the point.
        comparison: as the point's section has it, with p values over the whole report.
        p: corrected; NaN where there is no test.
        tested: at how many values there is one.
    """

    value: float
    section: Section
    comparison: Comparison
    p: float
    tested: int

    @property
    def verdict(self) -> str:
        """What the test supports, in words."""
        paired = self.comparison.paired
        if paired is None:
            return self.comparison.state
        if not math.isfinite(self.p):
            return "one seed: no test"
        if self.p > ALPHA:
            return "underpowered" if paired.n < seeds_needed(self.tested) else "no clear difference"
        if self.comparison.direction not in ("higher", "lower"):
            return "different"
        return "better" if (paired.mean > 0) == (self.comparison.direction == "higher") else "worse"


@dataclass(frozen=True)
class Family:
    """The points of a suite that differ in one number.

    Attributes:
        suite: its name, with other changes than that number if there are any.
        key: path of the number, as in task.fraction.
        points: (value, section), ascending.
        left_out: labels of points with several protocols, which are never compared.
    """

    suite: str
    key: str
    points: tuple[tuple[float, Section], ...]
    left_out: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Name for anchors and files."""
        return formats.slug(f"{self.suite} {self.last.task} over {self.key}")

    @property
    def last(self) -> Section:
        """The point with the largest value."""
        return self.points[-1][1]

    @property
    def values(self) -> list[float]:
        """What the number was, ascending."""
        return [value for value, _ in self.points]

    @property
    def is_share_of_data(self) -> bool:
        """Whether the number is the share of the training data."""
        return self.key.rpartition(".")[2] == "fraction" and self.values[0] > 0 and self.values[-1] <= 1

    @cached_property
    def names(self) -> list[str]:
        """Every entry with a finished cell at any point, by name."""
        return sorted({s.name for _, section in self.points for s in section.standings if s.finished})

    def standing(self, section: Section, name: str) -> Standing | None:
        """An entry at a point; None where it has no finished cell."""
        return next((s for s in section.standings if s.name == name and s.finished), None)

    def by_seed(self, section: Section, name: str) -> dict[int, float]:
        """Headline values of an entry at a point."""
        standing = self.standing(section, name)
        return {r.seed: headline(r) for r in standing.finished} if standing else {}

    @cached_property
    def tests(self) -> list[list[Tested]]:
        """For every pair its comparisons at all values."""
        pairs: dict[Pair, list[tuple[float, Section, Comparison]]] = {}
        for value, section in self.points:
            for comparison in section.comparisons:
                pairs.setdefault(comparison.pair, []).append((value, section, comparison))
        found = []
        for group in pairs.values():
            p_values = holm([c.paired.p if c.paired else math.nan for *_, c in group])
            tested = sum(map(math.isfinite, p_values))
            found.append([Tested(*one, p, tested) for one, p in zip(group, p_values, strict=True)])
        return found


def families(sections: Sequence[Section]) -> list[Family]:
    """Suites of which several labels differ in one number, `x[train.steps=100]` and `x[train.steps=200]`."""
    groups: dict[tuple[str, str, str], dict[float, Section]] = {}
    split: dict[tuple[str, str, str], set[str]] = {}
    for section in sections:
        name, changes = label_parts(section.suite)
        for key, text in changes.items():
            value = _number(text)
            if value is None:
                continue
            rest = ",".join(f"{k}={v}" for k, v in changes.items() if k != key)
            group = (f"{name}[{rest}]" if rest else name, section.task, key)
            if section.split:
                split.setdefault(group, set()).add(section.suite)
            else:
                groups.setdefault(group, {}).setdefault(value, section)
    return [
        Family(suite, key, tuple(sorted(points.items())), tuple(sorted(split.get((suite, task, key), ()))))
        for (suite, task, key), points in groups.items()
        if len(points) > 1 and any(s.summary for section in points.values() for s in section.standings)
    ]


def label_parts(label: str) -> tuple[str, dict[str, str]]:
    """`x[a=1,b=[2,3]]` -> `x` and what was changed."""
    name, bracket, rest = label.partition("[")
    parts = _CHANGES.split(rest.removesuffix("]")) if bracket else []
    return name, {part.partition("=")[0]: part.partition("=")[2] for part in parts}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def facts(family: Family) -> list[tuple[str, str]]:
    """What varies, and whatever else is unlike between the points."""
    found = [
        ("Varied", f"{family.key}: {listed(family.values)}; comparisons are made within each value only")
    ]
    unlike = sorted(set(_unlike(family)))
    found += [("Also unlike between the values", "; ".join(unlike[:6]))] if unlike else []
    found += [("Left out", f"{label}: several protocols") for label in family.left_out]
    return found


def _unlike(family: Family) -> Iterable[str]:
    """Settings besides the varied one in which an entry's cells differ from those at the largest value."""
    below = f"{family.key}:", f"{family.key}."
    for name in family.names:
        at_last = family.standing(family.last, name)
        for _, section in family.points[:-1]:
            here = family.standing(section, name)
            if here and at_last:
                for text in spec_differences(here.finished[0].spec, at_last.finished[0].spec):
                    if not text.startswith(below):
                        yield text.partition(":")[0]


def answers(family: Family) -> list[str]:
    """A sentence for every pair: at which values it differs."""
    sentences = []
    for tests in family.tests:
        verdicts: dict[str, list[float]] = {}
        for one in tests:
            verdicts.setdefault(one.verdict, []).append(one.value)
        last = family.key.rpartition(".")[2]
        told = "; ".join(f"{verdict} at {last} {listed(values)}" for verdict, values in verdicts.items())
        sentences.append(f"{tests[0].comparison.treatment} against {tests[0].comparison.baseline}: {told}")
    return sentences


def listed(values: Sequence[float]) -> str:
    """`0.05, 0.1 and 1`."""
    shown = [f"{value:g}" for value in values]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def smallest_reaching(values: Mapping[float, float], level: float, direction: str) -> float:
    """The smallest key whose value is as good as `level`; NaN where none is."""
    reached = [key for key, v in values.items() if (v <= level if direction == "lower" else v >= level)]
    return min(reached, default=math.nan)
