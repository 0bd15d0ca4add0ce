"""What several commands share: their arguments, options and endings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from oscbench.errors import UserError


def examples(*commands: str) -> str:
    """Lines under the help of a command; the mark keeps them apart."""
    return "Examples:\n\n\b\n" + "\n".join(f"  oscbench {command}" for command in commands)


def path_for(name: str) -> Callable[[str | Path], Path]:
    """A reader of what stands for an option or argument: an empty path would mean the working folder, which nobody asked for."""
    given = given_for(name, "a path; . is this folder")
    return lambda text: Path(given(str(text)))


def given_for(name: str, what: str) -> Callable[[str], str]:
    """The same for a text that must not be empty."""

    def given(text: str) -> str:
        if not text:
            raise UserError(f'{name}: got ""; give {what}')
        return text

    return given


def _suites(incomplete: str) -> list[str]:
    """Completions of a suite's name."""
    from oscbench.suite import suite_names

    return sorted(name for name in suite_names() if name.startswith(incomplete))


SuiteArgument = Annotated[
    str, typer.Argument(help="A suite file, or a suite's name.", autocompletion=_suites)
]
ResultsOption = Annotated[
    Path,
    typer.Option("--results", help="Folder of the records.", parser=path_for("--results"), metavar="PATH"),
]
ImportsOption = Annotated[
    bool,
    typer.Option(
        "--allow-imports", help="Let the suite name classes as package.module:Class, which runs their code."
    ),
]
RecordArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECORD",
        help="A record's file, or its identity or the first letters of it, as in its file's name.",
    ),
]


def allow(imports: bool) -> None:
    """Let names import modules where that was asked for."""
    from oscbench import catalog

    if imports:
        catalog.allow_imports()


def interrupted(then: str = "") -> int:
    """Say so; the exit code of Ctrl-C."""
    print("\noscbench: interrupted" + (f"; {then}" if then else ""), file=sys.stderr, flush=True)
    return 130
