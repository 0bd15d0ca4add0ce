"""The command line: parse and dispatch. Heavy imports live inside the commands; there is no logic here."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from oscbench.errors import UserError
from oscbench.terminal import outcome, print_table

app = typer.Typer(
    name="oscbench",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: half the time of `--help`, and no boxes around one line
)


def _examples(*commands: str) -> str:
    """Lines under the help of a command; the mark keeps them apart."""
    return "Examples:\n\n\b\n" + "\n".join(f"  oscbench {command}" for command in commands)


def _suites(incomplete: str) -> list[str]:
    """Completions of a suite's name."""
    from oscbench.suite import suite_names

    return sorted(name for name in suite_names() if name.startswith(incomplete))


SuiteArgument = Annotated[
    str, typer.Argument(help="A suite file, or a suite's name.", autocompletion=_suites)
]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of the records.")]

ImportsOption = Annotated[
    bool,
    typer.Option(
        "--allow-imports", help="Let the suite name classes as package.module:Class, which runs their code."
    ),
]


def _version(asked: bool) -> None:
    if asked:
        import oscbench

        print(f"oscbench {oscbench.__version__}")
        raise typer.Exit


@app.callback(
    epilog=_examples(
        "run smoke",
        "report smoke",
        "list suites",
    )
)
def everything(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Do oscillator attentions buy anything over softmax and RoPE, and at what cost?"""
    del version
    if context.invoked_subcommand is None:
        print(context.get_help())


class Kind(StrEnum):
    """What `oscbench list` can list."""

    mechanisms = "mechanisms"
    tasks = "tasks"
    measures = "measures"
    suites = "suites"
    backends = "backends"


class NewKind(StrEnum):
    """What `oscbench new` can begin."""

    mechanism = "mechanism"


class ExportFormat(StrEnum):
    """What `oscbench export` can write."""

    csv = "csv"
    json = "json"
    parquet = "parquet"


class DataAction(StrEnum):
    """What `oscbench data` can do."""

    list = "list"
    verify = "verify"
    add = "add"


@app.command(
    epilog=_examples(
        "run smoke",
        "run images --only mechanism=kope,softmax --dry-run",
        "run my.yaml --set train.epochs=3 --jobs 2",
    )
)
def run(
    suite: SuiteArgument,
    results: ResultsOption = Path("results"),
    only: Annotated[
        list[str] | None, typer.Option(help="mechanism=a,b, variant=a,b or seed=0,1; may be repeated.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key.path=value, as in train.epochs=3; may be repeated.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Cells at once; by default one a core.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda; by default what the suite says.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Put old records aside and compute again.")] = False,
    keep: Annotated[
        list[str] | None, typer.Option(help="weights: of every trained model, beside its record.")
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(help="Folder or URL of the cells in progress; by default within RESULTS.")
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0.0, help="Between two checkpoints of a cell.")
    ] = 5.0,
    stall_minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="A cell without a step for so long is ended, and recorded as failed."),
    ] = None,
    limit_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="A cell that takes longer is ended, and recorded as failed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells, their sizes and an ETA.")
    ] = False,
    allow_imports: ImportsOption = False,
) -> None:
    """Run a suite: one record a cell; what is there already is not computed again."""
    _allow(allow_imports)
    from oscbench.runner import session

    shared: dict[str, Any] = {
        "results": results,
        "only": only or [],
        "overrides": overrides or [],
        "jobs": jobs,
        "device": device,
    }
    if dry_run:
        rows, estimate = session.dry_run(suite, **shared, fresh=fresh)
        print_table(rows)
        print(estimate)
        return
    try:
        code = session.run_suite(
            suite,
            **shared,
            fresh=fresh,
            keep=keep or [],
            checkpoints=checkpoints,
            checkpoint_minutes=checkpoint_minutes,
            stall_minutes=stall_minutes,
            limit_minutes=limit_minutes,
        )
    except KeyboardInterrupt:
        code = _interrupted(f"the same command{' without --fresh' * fresh} goes on where this one stopped")
    raise typer.Exit(code)


@app.command(epilog=_examples("report", "report images --compare kope,softmax --output page"))
def report(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to report on; all by default.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="mechanism or mechanism:variant, a,b,…; each is compared with the last; may be repeated."
        ),
    ] = None,
    results: ResultsOption = Path("results"),
    output: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("reports"),
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
    from oscbench.reporting import build_report

    page = build_report(
        results, output, suites or [], compare or [], _names(formats), target or [], pages_only
    )
    print(page)


@app.command(epilog=_examples("export --format parquet --output cells.parquet"))
def export(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to export; all by default.")] = None,
    results: ResultsOption = Path("results"),
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = ExportFormat.csv,
    output: Annotated[Path | None, typer.Option(help="File; standard output by default.")] = None,
) -> None:
    """Write one tidy row a cell."""
    from oscbench.reporting import export_frame

    export_frame(results, suites or [], form.value, output)


@app.command()
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


@app.command()
def pack(
    suite: Annotated[str, typer.Argument(help="The suite whose records are packed, all of its labels.")],
    results: ResultsOption = Path("results"),
    output: Annotated[Path, typer.Option(help="Folder of the packed records.")] = Path("results/reference"),
) -> None:
    """Pack a suite's records into one file, OUTPUT/DEVICE/SUITE.jsonl.gz, which is read like the folder."""
    from oscbench.records import packing

    for made in packing.pack(suite, results, output):
        print(f"{made.path}: {made.count} records, {made.new} of them new")


@app.command()
def unpack(
    file: Annotated[Path, typer.Argument(help="As results/reference/cpu/SUITE.jsonl.gz.")],
    results: ResultsOption = Path("results"),
) -> None:
    """Write packed records as one JSON file each, to look into or to go on from."""
    from oscbench.records import packing

    count, folder = packing.unpack(file, results)
    print(f"{count} records in {folder}")


@app.command(name="list", epilog=_examples("list", "list suites"))
def list_things(kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.mechanisms) -> None:
    """List mechanisms, tasks, measures, suites or backends."""
    from oscbench.machine import inventory

    print_table(getattr(inventory, kind.value)())


@app.command()
def env() -> None:
    """Versions and devices, which backends work here, and which measures can be trusted, or why not."""
    from oscbench.machine import inventory, trust

    for rows in (inventory.machine(), inventory.backends(), trust.rows()):
        print_table(rows)
        print()


@app.command(epilog=_examples("data list", "data add wikitext2 --from ~/wikitext-2-raw"))
def data(
    action: Annotated[DataAction, typer.Argument(help="What to do.")],
    name: Annotated[str | None, typer.Argument(help="A data set of the list; verify takes all.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="File or folder to add; it stays where it is.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies.")] = False,
) -> None:
    """The data store: list what is there and who needs it, verify its hashes, add a data set under its name."""
    from oscbench.data import listing

    if action is DataAction.list:
        print_table(listing.table(name))
        for line in (listing.summary(), *listing.lost(name)):
            print(line)
    elif action is DataAction.verify:
        rows, wrong = listing.verified(name)
        if rows:
            print_table(rows)
        else:
            print(listing.nothing())
        if wrong:
            raise UserError("; ".join(wrong))
    else:
        print(listing.added(name, source, link=link))


@app.command(epilog=_examples("compare old/results results"))
def compare(
    old: Annotated[Path, typer.Argument(help="A file of `tox -e bench`, or a results folder.")],
    new: Annotated[Path, typer.Argument(help="The same, later.")],
) -> None:
    """Say what got dearer between two runs; exit code 3 if anything did."""
    from oscbench.analysis.costs.regression import compare_paths

    rows, summary, code = compare_paths(old, new)
    print_table(rows)
    print(summary)
    raise typer.Exit(code)


@app.command(epilog=_examples("validate my.yaml"))
def validate(suite: SuiteArgument, allow_imports: ImportsOption = False) -> None:
    """Check a suite without running it."""
    _allow(allow_imports)
    from oscbench.runner import session

    print(session.validate(suite))


@app.command(name="new")
def new_thing(
    kind: Annotated[NewKind, typer.Argument(help="What to begin.")],
    name: Annotated[str, typer.Argument(help="Its name, in suites and records, as in my_attention.")],
    folder: Annotated[
        Path | None, typer.Option("--to", help="Folder to write to; by default a clone's own, or this one.")
    ] = None,
) -> None:
    """Write a first mechanism of your own: a file that trains and passes the tests as it is."""
    from oscbench.scaffold import new_mechanism

    path, named = new_mechanism(name, folder)
    allow = " --allow-imports" if ":" in named else ""
    print(path)
    print(f'next: put "{named}" among the mechanisms of a suite, and oscbench run SUITE{allow}')


def main() -> None:
    """Entry point: bad input is one line and exit code 2, Ctrl-C is 130, and neither is a traceback."""
    # While torch and pandas load, an exception from Ctrl-C may land where nobody expects one, and nothing is
    # lost by leaving at once. A run takes the signal over when its cells start.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(_interrupted()))
    sys.exit(outcome(app))


def _allow(imports: bool) -> None:
    from oscbench import catalog

    if imports:
        catalog.allow_imports()


def _interrupted(then: str = "") -> int:
    """Say so; the exit code of Ctrl-C."""
    print("\noscbench: interrupted" + (f"; {then}" if then else ""), file=sys.stderr, flush=True)
    return 130


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f'--format: got "{text}"; give at least one, as in html or html,md')
    return names


if __name__ == "__main__":
    main()
