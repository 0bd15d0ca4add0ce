"""From a results folder to a folder with pages, tables and figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from oscbench import words
from oscbench.analysis.completeness import unfinished
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.frame import Loaded, load, tidy
from oscbench.analysis.search import searches
from oscbench.analysis.study import Study, assemble
from oscbench.errors import ReportError, allowed, kind_and_line
from oscbench.records import Store
from oscbench.reporting.render.export import encode
from oscbench.roles import left_out

if TYPE_CHECKING:
    from oscbench.reporting.page.blocks import Page
    from oscbench.reporting.page.figure import Picture
    from oscbench.reporting.page.table import Table

FORMATS = ("html", "md", "latex")
# Drawing takes most of a report's time: a large report leaves out its less important figures, and says so.
MAX_FIGURES = 60
INDEX, MARKDOWN = "index.html", "report.md"
LOOKED_AT = 1 << 20
"""Bytes of a page that is there already, in which one of ours names us."""


@dataclass(frozen=True)
class Report:
    """All pages with the pictures that there was room for.

    Attributes:
        pages: The first one, and one a suite.
        pictures: By `id` of their plans.
        study: What the pages tell of.
    """

    pages: tuple[Page, ...]
    pictures: Mapping[int, Picture]
    study: Study

    def tables(self) -> Iterator[Table]:
        """Every table of every page, each name once."""
        from oscbench.reporting.page.blocks import tables_of

        found = {table.name: table for page in self.pages for table in tables_of(page.blocks())}
        yield from found.values()


def build_report(
    results: Path,
    output: Path,
    suites: Sequence[str] = (),
    compare: Sequence[str] = (),
    formats: Sequence[str] = ("html", "md"),
    targets: Sequence[float] = (),
    pages_only: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Write index.html with a page for each suite and records.html, report.md, tables/*.csv and figures/*.png|svg.

    Args:
        results: Folder of records.
        output: Folder to write; made where it does not exist, and files of an earlier report of the same
            name replaced.
        suites: Names or labels of suites, each a page of its own; all when empty.
        compare: Lists with commas of `mechanism` or `mechanism:variant` names, each compared with the
            **last** one of its list; when empty, every entry is compared with the reference that the records were matched to, if any.
        formats: Any of `html`, `md`, `latex` (LaTeX adds tables/*.tex).
        targets: Levels of the headline metric, in its own unit, that steps, seconds, FLOPs and joules are counted to; one near the
            reference's best when empty.
        pages_only: Write the pages with their pictures inside and report.md, and nothing beside them.
        tell: Is told the answer in two lines, and a line for whatever had to be left out, once all is written.

    Returns:
        The first page, or report.md where no html was asked for, or the folder where neither was.

    Raises:
        ReportError: bad suite, compare name, format or target, no records, or an output folder that cannot be
            written; one line.
    """
    for name in formats:
        if name not in FORMATS:
            raise ReportError(f'--format: got "{name}"; {allowed(name, sorted(FORMATS))}')
    if pages_only and "latex" in formats:
        raise ReportError(
            "--pages-only writes no tables beside the pages, and --format latex is such tables; leave one of them out"
        )
    study = study_of(results, suites, compare, targets)
    _prepare(output, pages_only, formats)
    report = report_of(study)
    try:
        if not pages_only:
            _write_files(report, output, "latex" in formats)
        written = _write_pages(report, results, output, formats, pages_only)
    except OSError as error:
        raise ReportError(f"{output}: report cannot be written ({error.strerror})") from error
    if tell:
        for line in (*in_two_lines(study), *(f"left out: {one}" for one in report.pages[0].lost)):
            tell(line)
    return written


def in_two_lines(study: Study) -> tuple[str, str]:
    """Who is ahead of whom, and what to keep in mind of that."""
    from oscbench.reporting.page.caveats import kept_in_mind
    from oscbench.reporting.sections.overview import answers

    first, *others = answers(study)
    missing = [f"not finished: {note}" for note in _notes(study)]
    more = [f"{words.many(len(others), 'more baseline')} on the page"] if others else []
    caveats = [words.lowered(note) for note in kept_in_mind(study.comparisons)]
    rest = [f"{len(caveats) - 1} more to keep in mind"] if len(caveats) > 1 else []
    careful = "; ".join([*missing, *caveats[:1], *rest, *more])
    return first, f"{_size(study)}{f'; {careful}' if careful else ''}."


def study_of(
    results: Path, suites: Sequence[str], compare: Sequence[str], targets: Sequence[float] = ()
) -> Study:
    """Everything that is told of some suites of a folder; arguments as of `build_report`."""
    loaded = load(results, suites)
    _check_targets(targets, loaded)
    trained = tuple(record for record in loaded.records if not is_timing(record))
    study = assemble(replace(loaded, records=trained), compare if trained else ())
    searched = searches(study.experiments, loaded, results)
    store = Store(results)
    at_work = {record.identity: store.diagnostics_path(record) for record in trained}
    return replace(
        study,
        loaded=loaded,
        targets=tuple(targets),
        searches=searched,
        diagnostics={identity: path for identity, path in at_work.items() if path.is_file()},
    )


def _check_targets(targets: Sequence[float], loaded: Loaded) -> None:
    """Refuse levels that no run could reach because of how they are written: 95 where 0.95 is meant, -1 or nan.

    Raises:
        ReportError: the first such level.
    """
    metrics = [r.measures[r.metric] for r in loaded.records if not is_timing(r) and r.metric in r.measures]
    fractions = bool(metrics) and all(metric.unit == "fraction" for metric in metrics)
    for target in targets:
        if not (math.isfinite(target) and target >= 0):
            raise ReportError(f"--target {target:g}: a level is a number of at least 0, as in 0.9")
        if fractions and target > 1:
            meant = f"; {target:g} % is {target / 100:g}" if target <= 100 else ""
            raise ReportError(
                f"--target {target:g}: {words.lowered(metrics[0].label)} is a fraction, at most 1{meant}"
            )


def report_of(study: Study) -> Report:
    """The pages of a study, drawn."""
    pages, lost = pages_of(study)
    return _drawn(pages, study, lost)


def pages_of(study: Study) -> tuple[list[Page], list[str]]:
    """The pages of a study before anything is drawn, and a line for whatever had to be left out."""
    # Imported here because matplotlib and seaborn take a second that an export need not wait for.
    from oscbench.reporting import found
    from oscbench.reporting.page.blocks import FRONT, SUITE, Page, page_of

    sections, lost = found.sections()
    owners: dict[str, str] = {}
    lost += left_out()
    own = [study.of(suite) for suite in study.suites]
    parts, broken = found.parts(sections, FRONT, study, owners)
    first = Page(INDEX, title_of(study), (_size(study),), parts, notes=_notes(study), lost=broken)
    pages = [first]
    for suite, one in zip(study.suites, own, strict=True):
        parts, broken = found.parts(sections, SUITE, one, owners)
        above = (INDEX, "the report")
        pages.append(Page(page_of(suite), title_of(one), _about(one), parts, above, _notes(one), broken))
    return pages, lost


def _drawn(pages: Sequence[Page], study: Study, lost: Sequence[str]) -> Report:
    """The pages with as many figures as there is room for, the most telling kinds first, over all pages; the first tells what is lost."""
    from oscbench.reporting.page.blocks import walk
    from oscbench.reporting.page.figure import Plan

    planned = [
        (block, part.file)
        for page in pages
        for part in page.parts
        for block in walk(part.blocks)
        if isinstance(block, Plan)
    ]
    kept = sorted(planned, key=lambda one: one[0].rank)[:MAX_FIGURES]
    pictures, broken = {}, {}
    for plan, file in kept:
        try:
            pictures[id(plan)] = plan.draw()
        except Exception as error:  # a section that cannot be drawn is lost alone, as one that cannot be told
            broken[file] = f"{file}: a figure: {kind_and_line(error)}"
    left = _left(len(planned) - len(kept))
    shown = [_without(page, broken) for page in pages]
    every = dict.fromkeys([*lost, *(line for page in shown for line in page.lost)])
    first = replace(shown[0], lines=(*pages[0].lines, *left), lost=tuple(every))
    return Report((first, *shown[1:]), pictures, study)


def _without(page: Page, broken: Mapping[str, str]) -> Page:
    """A page without the sections whose figures broke."""
    gone = dict.fromkeys(part.file for part in page.parts if part.file in broken)
    if not gone:
        return page
    kept = tuple(part for part in page.parts if part.file not in gone)
    return replace(page, parts=kept, lost=(*page.lost, *(broken[file] for file in gone)))


def _left(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{count} less important figures are left out of a report of this size; a report of fewer suites draws more.",
    )


def title_of(study: Study) -> str:
    """The question of a suite, or of all that is compared; else the tasks."""
    descriptions = {e.description for e in study.experiments} | {
        r.suite_description for r in study.loaded.records if not study.experiments
    }
    if len(study.suites) == 1 and len(descriptions) == 1:
        question, mark, _ = next(iter(descriptions)).partition("?")
        if mark:
            return question + mark
    baselines = [name for name, _ in Counter(c.baseline for c in study.comparisons).most_common()]
    if baselines and len(study.suites) > 1:
        return f"What is better than {' or '.join(baselines[:2])}?"
    labels = list(dict.fromkeys(e.task_label for e in study.experiments))
    labels += ["Timing"] if any(map(is_timing, study.loaded.records)) else []
    return ", ".join(labels) if len(labels) <= 3 else f"{len(labels)} tasks"


def _about(study: Study) -> tuple[str, ...]:
    """What is asked, and how much there is."""
    descriptions = dict.fromkeys(e.description for e in study.experiments) or dict.fromkeys(
        r.suite_description for r in study.loaded.records
    )
    return (f"Suite {study.suites[0]}: {_size(study)}", *(text for text in descriptions if text))


def _size(study: Study) -> str:
    """How many cells and trained entries, and the days of their records, UTC.

    The page depends on its records alone, so it holds no other date.
    """
    records = study.loaded.records
    entries = {s.entry for e in study.experiments for s in e.standings}
    days = sorted(record.finished_utc.date().isoformat() for record in records)
    span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return (
        words.many(len(records), "cell")
        + (f", {len(entries)} entries" if entries else "")
        + f", records of {span}"
    )


def _notes(study: Study) -> tuple[str, ...]:
    """What is not finished."""
    return tuple(f"{one.suite}: {one.done} of {one.asked} cells" for one in unfinished(study))


def _prepare(output: Path, pages_only: bool, formats: Sequence[str]) -> None:
    """Make the folders before the long work, so that a bad place is found out at once."""
    try:
        for page, form, ours in (
            (output / INDEX, "html", b"oscbench"),
            (output / MARKDOWN, "md", b"records of "),
        ):
            if form in formats and page.is_file() and ours not in page.read_bytes()[:LOOKED_AT]:
                raise ReportError(f"{page}: is there already and no report of ours; choose another --output")
        for folder in (output,) if pages_only else (output / "tables", output / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
        probe = output / ".writing"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ReportError(f"{output}: output folder cannot be written ({error.strerror})") from error


def _write_files(report: Report, output: Path, latex: bool) -> None:
    """Tables as CSV, all cells, and pictures."""
    from oscbench.reporting.render import latex as paper

    for table in report.tables():
        if table.raw:
            (output / "tables" / f"{table.name}.csv").write_text(table.csv(), encoding="utf-8")
        if latex:
            (output / "tables" / f"{table.name}.tex").write_text(paper.latex(table), encoding="utf-8")
    (output / "tables" / "cells.csv").write_bytes(encode(tidy(report.study.loaded.records), "csv"))
    for picture in report.pictures.values():
        (output / "figures" / f"{picture.name}.png").write_bytes(picture.png)
        (output / "figures" / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")


def _write_pages(
    report: Report, results: Path, output: Path, formats: Sequence[str], pages_only: bool
) -> Path:
    from oscbench.reporting.render import html, markdown
    from oscbench.reporting.render.records import records_page

    written = output
    if "md" in formats:
        written = output / MARKDOWN
        written.write_text(markdown.render(report.pages[0]), encoding="utf-8")
        for page in () if pages_only else report.pages[1:]:
            beside_it = output / Path(page.file).with_suffix(".md").name
            beside_it.write_text(markdown.render(page), encoding="utf-8")
    if "html" in formats:
        study, pages = report.study, list(report.pages)
        if not pages_only:
            trials = [record for tuned in study.searches for record in tuned.records]
            pages.append(records_page(study.loaded, trials, study.names, results, output, pages[0].title))
        beside = html.Beside(files=not pages_only, records=not pages_only)
        for page in pages:
            text = html.render(page, report.pictures, beside, report.pages)
            (output / page.file).write_text(text, encoding="utf-8")
        written = output / INDEX
    return written
