"""Commands that tell what came out."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oscbench.cli.options import ResultsOption, path_for
from oscbench.errors import UserError
from oscbench.terminal import print_table


class ExportFormat(StrEnum):
    """What `oscbench export` can write."""

    csv = "csv"
    json = "json"
    parquet = "parquet"


def report(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to report on; all by default.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="mechanism or mechanism:variant, a,b,…; each is compared with the last; may be repeated."
        ),
    ] = None,
    results: ResultsOption = Path("results"),
    output: Annotated[
        Path, typer.Option(help="Folder of the page.", parser=path_for("--output"), metavar="PATH")
    ] = Path("reports"),
    formats: Annotated[
        str, typer.Option("--format", help="html, md, latex; several with commas.")
    ] = "html,md",
    target: Annotated[
        list[float] | None,
        typer.Option(
            min=0.0,
            help="Level of the metric (0.9 is 90 %) to count steps, seconds, FLOPs and joules to; may be repeated.",
        ),
    ] = None,
    pages_only: Annotated[
        bool, typer.Option("--pages-only", help="Pages with their pictures inside, and nothing beside them.")
    ] = False,
) -> None:
    """Write the comparison: a first page, one for each suite, tables as CSV, figures as PNG and SVG."""
    import numpy as np

    from oscbench.records import Store
    from oscbench.reporting import build_report

    if results.is_dir() and Store(results).files(".safetensors"):
        from oscbench.runner.trained import (
            diagnose,
        )  # which loads torch, for models that have kept their weights

        diagnose(results, suites or [], lambda line: print(line, file=sys.stderr))
    names = _names(formats)
    # Values of a record may be as large as numbers get; what then overflows is shown so, and a warning names no file.
    with np.errstate(over="ignore", invalid="ignore"):
        page = build_report(
            results, output, suites or [], compare or [], names, target or [], pages_only, print
        )
    print(page)


def export(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to export; all by default.")] = None,
    results: ResultsOption = Path("results"),
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = ExportFormat.csv,
    output: Annotated[
        Path | None,
        typer.Option(help="File; standard output by default.", parser=path_for("--output"), metavar="PATH"),
    ] = None,
) -> None:
    """Write one tidy row a cell."""
    from oscbench.reporting import export_frame

    export_frame(results, suites or [], form.value, output)


def claims(
    results: ResultsOption = Path("results"),
    one: Annotated[
        str | None, typer.Argument(metavar="ID", help="A claim, as in K1: what stands behind its verdict.")
    ] = None,
) -> None:
    """What the papers claim, and what the records here say of it."""
    from oscbench.analysis.claims import verdicts

    if one is None:
        rows, summary = verdicts.overview(results)
        print_table(rows)
        print(summary)
        return
    print("\n".join(verdicts.details(results, one)))


def compare(
    old: Annotated[
        Path,
        typer.Argument(
            help="A file of `tox -e bench`, or a results folder.", parser=path_for("OLD"), metavar="OLD"
        ),
    ],
    new: Annotated[Path, typer.Argument(help="The same, later.", parser=path_for("NEW"), metavar="NEW")],
    only: Annotated[
        str,
        typer.Option(
            help="Kinds of quantities, several with commas: hard (of the code), peak_bytes, ratios."
        ),
    ] = "hard,peak_bytes,ratios",
) -> None:
    """Say what costs more in NEW than OLD; exit code 3 if anything does."""
    from oscbench.analysis.costs.regression import compare_paths

    rows, summary, code = compare_paths(old, new, [one.strip() for one in only.split(",")])
    if rows:
        print_table(rows)
    print(summary)
    raise typer.Exit(code)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f'--format: got "{text}"; give at least one, as in html or html,md')
    return names
