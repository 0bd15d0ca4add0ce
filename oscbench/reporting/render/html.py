"""The page: one self-contained index.html and a report.md from the same content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from oscbench.analysis.comparison import Aggregate
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.pareto import fronts
from oscbench.analysis.published.matches import beside
from oscbench.analysis.statistics import BCA_FROM
from oscbench.analysis.study import Report, aggregates
from oscbench.reporting.page.figure import Picture, Plan
from oscbench.reporting.page.style import Look, theme
from oscbench.reporting.page.table import Table
from oscbench.reporting.page.verdict import (
    Answer,
    aggregate_words,
    aggregates_method,
    answer,
    overview,
)
from oscbench.reporting.render.records import RecordGroup
from oscbench.reporting.sections.curves import plans
from oscbench.reporting.sections.energy import energy_reason, energy_table
from oscbench.reporting.sections.failures import failures_table
from oscbench.reporting.sections.health import health_table
from oscbench.reporting.sections.measures import measures_table
from oscbench.reporting.sections.pareto import fronts_table
from oscbench.reporting.sections.published import beside_table
from oscbench.reporting.sections.results import comparisons_table, results_table
from oscbench.reporting.sections.search import TunedView
from oscbench.reporting.sections.subsets import lengths_table, subsets_table
from oscbench.reporting.sections.sweep import VariedView
from oscbench.reporting.sections.targets import targets_table
from oscbench.reporting.sections.timing import TimingView
from oscbench.words import capitalised, p_value

# More answers than this are told in a line each with their strongest caveat, and in full in their sections; more than the second
# number are no answer any more: the page then counts the verdicts.
SPOKEN = 12
BRIEF = 60
# With more numbers than this, points of suites that vary keep but their results in the page.
SHOWN_CELLS = 6_000
# With more than this in what is shown, a row's name leads to its records and each number does not.
LINKED_CELLS = 12_000
# Pictures beyond this many bytes stay files beside the page, so that it opens on a phone; and beyond those that fit a page of this size.
EMBEDDED_BYTES = 3_000_000
PAGE_BYTES = 4_800_000
# So many ranks figures of single values stand behind those of whole suites.
_BEHIND = 3


@dataclass(frozen=True)
class Lead:
    """The answers of one section, and where it lies in the page."""

    slug: str
    title: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class SectionView:
    """A section with everything that is shown of it."""

    experiment: Experiment
    answers: tuple[Answer, ...]
    results: Table
    comparisons: Table | None
    measures: Table | None
    health: Table | None
    failures: Table | None
    subsets: Table | None
    lengths: Table | None
    fronts: Table | None
    targets: Table | None
    energy: Table | None
    energy_reason: str
    published: Table | None
    published_same: int
    plans: tuple[Plan, ...]
    pictures: tuple[Picture, ...] = ()

    @property
    def tables(self) -> list[Table]:
        """The tables that there are."""
        every = [self.results, self.comparisons, self.fronts, self.targets, self.energy, self.published]
        every += [self.subsets, self.lengths, self.measures, self.health, self.failures]
        return [table for table in every if table is not None]

    @property
    def files(self) -> list[tuple[str, Table]]:
        """The tables besides results and failures, with what they are about: what a large report leaves to their CSV files."""
        start = f"{self.experiment.slug}-"
        rest = [table for table in self.tables if table not in (self.results, self.failures)]
        return [(table.name.removeprefix(start).replace("-", " "), table) for table in rest]

    def of_kind(self, *prefixes: str) -> list[Picture]:
        """Pictures whose kind starts with one of some words."""
        return [picture for picture in self.pictures if picture.kind.startswith(prefixes)]


Shown = SectionView | VariedView | TunedView | TimingView
View = TypeVar("View", SectionView, VariedView, TunedView, TimingView)


@dataclass(frozen=True)
class Page:
    """All that the templates are given."""

    report: Report
    views: tuple[SectionView, ...]
    varied: tuple[VariedView, ...]
    timings: tuple[TimingView, ...]
    tuned: tuple[TunedView, ...]
    environment: Table
    unanswered: Table
    glance: Table | None
    leaderboards: tuple[Table, ...]
    groups: tuple[RecordGroup, ...]
    left_out: int = 0
    drawings: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Everything with tables and figures, in the order of the page."""
        return (*self.varied, *self.views, *self.tuned, *self.timings)

    @property
    def title(self) -> str:
        """The tasks, or their number where they are many."""
        labels = list(dict.fromkeys(shown.experiment.task_label for shown in self.views))
        labels += ["Timing"] if self.timings else []
        return ", ".join(labels) if len(labels) <= 3 else f"{len(labels)} tasks"

    @cached_property
    def large(self) -> bool:
        """Whether there is more to show than a page has room for."""
        return sum(map(_numbers, self.tables())) > SHOWN_CELLS

    def folded(self, shown: SectionView) -> bool:
        """Whether a section shows its results alone: a point of a varied suite in a large report, whose suite compares it already."""
        return self.large and shown.experiment.slug in self.report.points

    @cached_property
    def every_number_links(self) -> bool:
        """Whether each number leads to its records, or in a very large report only each row's name."""
        left_to_files = (t for v in self.views if self.folded(v) for _, t in v.files)
        return sum(map(_numbers, self.tables())) - sum(map(_numbers, left_to_files)) <= LINKED_CELLS

    def tables(self) -> Iterator[Table]:
        """Those of all sections, shown or left to files."""
        for shown in self.shown:
            yield from shown.tables

    @property
    def left_out_words(self) -> str:
        """How many figures a report of this size does without; empty where none."""
        if not self.left_out:
            return ""
        return f"{self.left_out} less important figures are left out of a report of this size; a report of fewer suites draws more."

    @cached_property
    def lead(self) -> list[Lead]:
        """What is answered, suites that vary first; their points are left to their sections."""
        found = [Lead(f.slug, f.title, f.answers) for f in self.varied]
        found += [
            Lead(v.experiment.slug, v.experiment.title, v.answers)
            for v in self.views
            if v.experiment.slug not in self.report.points
        ]
        shared = {*self.shared_caveats}
        return [
            replace(one, answers=tuple(answer.without(shared) for answer in one.answers))
            for one in found
            if one.answers
        ]

    @cached_property
    def shared_caveats(self) -> list[str]:
        """Caveats of every comparison of the report, which are told once."""
        every = [(*a.caveats, *a.more) for a in map(answer, (c for c in self.report.comparisons if c.paired))]
        if len(every) < 2:
            return []
        return [note for note in every[0] if all(note in notes for notes in every)]

    @property
    def telling(self) -> str:
        """How the lead is told: `full`, `brief`, or `counted` where there are too many answers to be read."""
        count = sum(len(one.answers) for one in self.lead)
        return "full" if count <= SPOKEN else "brief" if count <= BRIEF else "counted"

    @property
    def told(self) -> list[Lead]:
        """What is told in words: all of the lead, or where that is too long only the suites that vary, each a question of its own."""
        if self.telling != "counted":
            return self.lead
        varied = {shown.slug for shown in self.varied}
        return [one for one in self.lead if one.slug in varied]

    @property
    def overview(self) -> str:
        """The verdicts counted, where not every answer is told in full; else empty."""
        return overview(self.report.comparisons) if self.telling != "full" else ""

    @cached_property
    def _aggregates(self) -> list[Aggregate]:
        """Each a bootstrap, so made once for all that is said of them."""
        return aggregates(self.report)

    @property
    def aggregates(self) -> list[str]:
        """Effects over tasks, in words; empty where no pair was compared in several."""
        return [aggregate_words(aggregate) for aggregate in self._aggregates]

    @property
    def aggregates_method(self) -> str:
        """What these effects are and what they do not tell."""
        return aggregates_method(self._aggregates)

    @property
    def timed(self) -> list[TimingView]:
        """The timing sections that have a ratio to tell in words."""
        return [shown for shown in self.timings if shown.answer]

    @property
    def size(self) -> str:
        """How many cells and trained entries the page tells of."""
        cells, entries = len(self.report.loaded.records), len(self.report.names)
        return f"{cells} cells" + (f", {entries} entries" if entries else "")

    @property
    def span(self) -> str:
        """Days from the first to the last record, UTC.

        The page depends on its records alone, so it holds no other date.
        """
        days = sorted(record.finished_utc.date().isoformat() for record in self.report.loaded.records)
        return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"

    @property
    def method(self) -> str:
        """How differences, intervals and p values of this report came about."""
        questions = [one.tested for one in self.report.comparisons]
        total = sum(one.paired is not None for one in self.report.comparisons)
        over = (
            "over all of them"
            if total == max(questions, default=0)
            else "over those of each suite, a question"
        )
        holm = f", Holm-corrected {over}" if total > 1 else ""
        if holm and any(one.needed for one in self.report.comparisons):
            holm += "; comparisons whose few seeds could pass nothing take no part in that (Tarone 1990)"
        fewest = min((c.paired.n for c in self.report.comparisons if c.paired and c.paired.n > 1), default=0)
        if 0 < fewest < BCA_FROM:
            holm += (
                f"; with {fewest} seeds no p can be below {p_value(2.0 ** (1 - fewest))}, whatever came out"
            )
        return (
            "Differences are taken seed by seed; every interval is a 95 % paired t interval over seeds, "
            f"every p comes from a sign-flip permutation test (exact up to 13 seeds){holm}."
        )

    @property
    def one_condition(self) -> str:
        """The caveat that holds for the whole report; empty where none does."""
        if not self.report.comparisons:
            if not self.views:
                return "Nothing was trained here, so nothing is said of accuracy."
            return "Nothing is compared: the records name no reference, and --compare was not given."
        return ""


def view(
    experiment: Experiment, looks: Mapping[str, Look], targets: Sequence[float] = (), point: bool = False
) -> SectionView:
    """Everything that is shown of a section.

    Args:
        experiment: Entries and comparisons.
        looks: Colour and marker of every entry.
        targets: Levels of its metric that costs are counted to.
        point: Whether it is one value of a suite that varies, whose own figures tell more.
    """
    published = beside(experiment)
    drawn = (replace(plan, rank=plan.rank + _BEHIND * point) for plan in plans(experiment, looks))
    return SectionView(
        experiment=experiment,
        answers=tuple(answer(comparison) for comparison in experiment.comparisons),
        results=results_table(experiment),
        comparisons=comparisons_table(experiment),
        measures=measures_table(experiment),
        health=health_table(experiment),
        failures=failures_table(experiment),
        subsets=subsets_table(experiment),
        lengths=lengths_table(experiment),
        fronts=fronts_table(experiment, fronts(experiment)),
        targets=targets_table(experiment, targets),
        energy=energy_table(experiment),
        energy_reason=energy_reason(experiment),
        published=beside_table(experiment, published),
        published_same=sum(one.same for one in published),
        plans=tuple(drawn),
    )


def _numbers(table: Table) -> int:
    return len(table.rows) * len(table.columns)


def within(drawings: Mapping[str, str], budget: int) -> dict[str, str]:
    """The first of them whose bytes the budget covers."""
    spent = accumulate(len(drawing.encode()) for drawing in drawings.values())
    return {name: drawings[name] for name, bytes_ in zip(drawings, spent, strict=True) if bytes_ <= budget}


def illustrated(page: Page, room: int) -> Page:
    """The page with as many figures as there is room for, and how many are left out."""
    planned = [plan for shown in page.shown for plan in shown.plans]
    # The most telling kinds first, over all sections; a stable sort keeps the page's order inside a kind.
    kept = set(map(id, sorted(planned, key=lambda plan: plan.rank)[:room]))
    ranks: dict[str, int] = {}

    def drawn(shown: View) -> View:
        own = [(plan.rank, plan.draw()) for plan in shown.plans if id(plan) in kept]
        ranks.update((picture.name, rank) for rank, picture in own)
        return replace(shown, pictures=tuple(picture for _, picture in own))

    page = replace(
        page,
        varied=tuple(map(drawn, page.varied)),
        views=tuple(map(drawn, page.views)),
        timings=tuple(map(drawn, page.timings)),
        tuned=tuple(map(drawn, page.tuned)),
        left_out=len(planned) - len(kept),
    )
    return replace(page, drawings=drawings_of(page.shown, ranks))


def drawings_of(views: Sequence[Shown], ranks: Mapping[str, int]) -> dict[str, str]:
    """The drawings that go into the page by their pictures' names, the most telling first, until the budget is spent."""
    pictures = sorted((p for shown in views for p in shown.pictures), key=lambda p: ranks[p.name])
    return within({p.name: p.inline(f"f{place}-") for place, p in enumerate(pictures)}, EMBEDDED_BYTES)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.j2", "html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["theme"] = theme
    environment.filters |= {
        "md": markdown_cell,
        "unbroken": unbroken,
        "capitalised": capitalised,
    }
    return environment


def unbroken(text: str) -> str:
    """Numbers stay on one line with what follows them."""
    return re.sub(r"(?<=[\d=±]) (?=[\d%]|points)", "\u00a0", text)


def markdown_cell(text: object) -> str:
    """Text that cannot break a Markdown table or be taken for HTML."""
    flat = " ".join(str(text).split())
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`")):
        flat = flat.replace(sign, safe)
    return flat


def render(page: Page) -> Mapping[str, str]:
    """`html`, `records` and `md` texts of a page."""
    environment = _environment()
    template = environment.get_template("page.html.j2")
    html = template.render(page=page)
    excess = len(html.encode()) - PAGE_BYTES
    if excess > 0:
        spent = sum(len(drawing.encode()) for drawing in page.drawings.values())
        html = template.render(page=replace(page, drawings=within(page.drawings, spent - excess)))
    return {
        "html": html,
        "records": environment.get_template("records.html.j2").render(page=page),
        "md": re.sub(r"\n{3,}", "\n\n", environment.get_template("report.md.j2").render(page=page)),
    }
