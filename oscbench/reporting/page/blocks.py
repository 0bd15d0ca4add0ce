"""What a section gives and every renderer loops over: headings, prose, facts, tables, figures, verdicts, and folds of them.

A section knows nothing of HTML, Markdown or LaTeX, and a renderer knows nothing of sections, so that what they say cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from oscbench import words
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.study import Study
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.table import Table
from oscbench.reporting.page.verdict import Answer

FRONT, SUITE = "front", "suite"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Prose:
    """A paragraph, or with several texts a list of them; `lead` is what a reader came for, `quiet` an aside."""

    kind: ClassVar[str] = "prose"
    texts: tuple[str, ...]
    tone: Literal["plain", "lead", "quiet", "caveat"] = "plain"


@dataclass(frozen=True)
class Facts:
    """What was found, item by item."""

    kind: ClassVar[str] = "facts"
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Verdict:
    """One comparison as a card.

    Attributes:
        answer: In words.
        ends: Ends of the axis that the bars of all cards of the section share, in the comparison's unit; None for no bar.
    """

    kind: ClassVar[str] = "verdict"
    answer: Answer
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Folded:
    """Blocks behind a line that opens them."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Files:
    """Tables that stand in their CSV files alone, each with what it is about."""

    kind: ClassVar[str] = "files"
    text: str
    tables: tuple[tuple[str, Table], ...]


Block = Heading | Prose | Facts | Verdict | Folded | Files | Table | Plan


class Section(Protocol):
    """One part of a report: a file in `sections/` whose last line names a class of this shape.

    Attributes:
        title: Its heading.
        rank: Its place on the page; smaller stands higher.
        page: `front` for the first page, `suite` for the page of each suite, whose study holds that suite alone.
    """

    title: str
    rank: int
    page: str

    def blocks(self, study: Study) -> Sequence[Block]:
        """Everything that is shown; nothing where the study has nothing of it."""
        ...


@dataclass(frozen=True)
class Part:
    """A section as it stands on a page; `file` is its own."""

    slug: str
    title: str
    blocks: tuple[Block, ...]
    file: str = ""


@dataclass(frozen=True)
class Page:
    """One file of the report.

    Attributes:
        file: Its name.
        title: Its heading, a question where there is one.
        lines: What stands below the heading.
        parts: Its sections, in order.
        above: (file, name) of the page that it belongs to, if any.
        notes: What is not finished.
        lost: Sections and roles that could not be used, and why.
    """

    file: str
    title: str
    lines: tuple[str, ...]
    parts: tuple[Part, ...]
    above: tuple[str, str] | None = None
    notes: tuple[str, ...] = field(default=())
    lost: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        """All blocks, those behind folds among them."""
        for part in self.parts:
            yield from walk(part.blocks)


def page_of(suite: str) -> str:
    """File of a suite's page; a name that others may be spelled like there has a hash too."""
    spelled = words.slug(suite)
    mark = "" if spelled.replace("-", "_") == suite else f"-{words.mark(suite)}"
    return f"suite-{spelled}{mark}.html"


def walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks and what is folded in them, in order."""
    for block in blocks:
        yield block
        if isinstance(block, Folded):
            yield from walk(block.blocks)


def tables_of(blocks: Iterable[Block]) -> Iterator[Table]:
    """Every table, those that are left to files among them."""
    for block in walk(blocks):
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Files):
            yield from (table for _, table in block.tables)


def per_experiment(
    study: Study, make: Callable[[Experiment], Sequence[Block]], note: str = ""
) -> list[Block]:
    """Blocks of every experiment, each under its own heading where there are several, below a note on all of them.

    Of a suite that varies over a number only the largest value is shown; the tables of the other values are left to files.
    """
    found: list[Block] = []
    shown = [(experiment, blocks) for experiment in study.shown if (blocks := list(make(experiment)))]
    for experiment, blocks in shown:
        if len(study.shown) > 1 or experiment.slug in study.points:
            found.append(Heading(study.title_of(experiment)))
        found += blocks
    rest = [
        (study.point_name(experiment), table)
        for experiment in study.rest
        for table in tables_of(make(experiment))
    ]
    if rest:
        found.append(Files("The same at the other values", tuple(rest)))
    return [Prose((note,), "quiet"), *found] if note and found else found
