"""From a results folder to a folder with a page, its tables and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from oscbench.analysis.errors import ReportError
from oscbench.analysis.frame import Loaded, load, tidy
from oscbench.analysis.growth import is_timing
from oscbench.analysis.study import Report, assemble
from oscbench.errors import nearest
from oscbench.reporting.render.export import encode

if TYPE_CHECKING:
    from oscbench.reporting.render.html import Page

FORMATS = ("html", "md", "latex")
# Drawing takes most of a report's time: a large report leaves out its less important figures, and says so.
MAX_FIGURES = 60


def build_report(
    results: Path,
    output: Path,
    suites: Sequence[str] = (),
    compare: Sequence[str] = (),
    formats: Sequence[str] = ("html", "md"),
    targets: Sequence[float] = (),
) -> Path:
    """Write index.html with records.html, report.md, tables/*.csv and figures/*.png|svg.

    Args:
        results: Folder of records.
        output: Folder to write; made where it does not exist, and files of an earlier report of the same
            name replaced.
        suites: Names or labels of suites, each section of one; all when empty.
        compare: Lists with commas of `mechanism` or `mechanism:variant` names, each compared with the
            **last** one of its list; when empty, every entry is compared with the reference that the records were matched to, if any.
        formats: Any of `html`, `md`, `latex` (LaTeX adds tables/*.tex); CSV and figures are always written.
        targets: Levels of the headline metric, in its own unit, that steps, seconds, FLOPs and joules are counted to; one near the
            reference's best when empty.

    Returns:
        The page, or report.md where no html was asked for, or the folder where neither was.

    Raises:
        ReportError: bad suite, compare name or format, no records, or an output folder that cannot be
            written; one line.
    """
    for name in formats:
        if name not in FORMATS:
            raise ReportError(f'report format "{name}" is unknown; {nearest(name, FORMATS)}')
    loaded = load(results, suites)
    trained = tuple(record for record in loaded.records if not is_timing(record))
    report = assemble(replace(loaded, records=trained), compare if trained else ())
    _prepare(output)
    page = _page(report, loaded, results, output, targets)
    try:
        return _write(page, output, formats)
    except OSError as error:
        raise ReportError(f"{output}: report cannot be written ({error.strerror})") from error


def _prepare(output: Path) -> None:
    """Make the folders before the long work, so that a bad place is found out at once."""
    try:
        for folder in ("tables", "figures"):
            (output / folder).mkdir(parents=True, exist_ok=True)
        probe = output / ".writing"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ReportError(f"{output}: output folder cannot be written ({error.strerror})") from error


def _page(report: Report, loaded: Loaded, results: Path, output: Path, targets: Sequence[float]) -> Page:
    # Imported here because matplotlib and seaborn take a second that an export need not wait for.
    from oscbench.analysis.search import tuned_sections
    from oscbench.reporting.page.style import looks
    from oscbench.reporting.render.html import Page, illustrated, view
    from oscbench.reporting.render.records import record_groups
    from oscbench.reporting.sections.environment import environment_table
    from oscbench.reporting.sections.overview import glance_table
    from oscbench.reporting.sections.published_times import unanswered_table
    from oscbench.reporting.sections.ranks import leaderboards
    from oscbench.reporting.sections.search import tuned_view
    from oscbench.reporting.sections.setting import grid_views
    from oscbench.reporting.sections.sweep import varied_views
    from oscbench.reporting.sections.timing import timing_views

    # Entries that stand in most sections, which are those that are compared, get the colours that nobody shares.
    experiments = Counter(
        standing.name for experiment in report.experiments for standing in experiment.standings
    )
    colours = looks(sorted(report.names.values(), key=lambda name: (-experiments[name], name)))
    families = varied_views(report.families, colours)
    single = [s for s in report.experiments if s.slug not in report.points]
    tuned = tuple(tuned_view(t, colours) for t in tuned_sections(report.experiments, loaded, results))
    trials = tuple(record for one in tuned for record in one.trials)
    page = Page(
        report=replace(report, loaded=loaded),
        varied=(*families, *grid_views(single, colours)),
        timings=timing_views(loaded.records),
        tuned=tuned,
        views=tuple(view(s, colours, targets, s.slug in report.points) for s in report.experiments),
        environment=environment_table(loaded.records),
        glance=glance_table(report),
        leaderboards=tuple(leaderboards(report)),
        unanswered=unanswered_table(loaded.records),
        groups=record_groups(replace(loaded, records=loaded.records + trials), report.names, results, output),
    )
    return illustrated(page, MAX_FIGURES)


def _write(page: Page, output: Path, formats: Sequence[str]) -> Path:
    from oscbench.reporting.render.html import render
    from oscbench.reporting.render.latex import latex
    from oscbench.reporting.render.records import FILE

    tables = [*page.tables(), page.environment, page.unanswered, *page.leaderboards]
    for table in tables + ([page.glance] if page.glance else []):
        (output / "tables" / f"{table.name}.csv").write_text(table.csv(), encoding="utf-8")
        if "latex" in formats:
            (output / "tables" / f"{table.name}.tex").write_text(latex(table), encoding="utf-8")
    (output / "tables" / "cells.csv").write_bytes(encode(tidy(page.report.loaded.records), "csv"))
    for shown in page.shown:
        for picture in shown.pictures:
            (output / "figures" / f"{picture.name}.png").write_bytes(picture.png)
            (output / "figures" / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
    texts = render(page)
    written = output
    for name, file in (("md", "report.md"), ("html", "index.html")):
        if name in formats:
            written = output / file
            written.write_text(texts[name], encoding="utf-8")
    if "html" in formats:
        (output / FILE).write_text(texts["records"], encoding="utf-8")
    return written
