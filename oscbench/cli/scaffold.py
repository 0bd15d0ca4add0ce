"""The command that begins something of one's own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oscbench.cli.options import path_for


class NewKind(StrEnum):
    """What `oscbench new` can begin."""

    mechanism = "mechanism"


def new_thing(
    kind: Annotated[NewKind, typer.Argument(help="What to begin.")],
    name: Annotated[str, typer.Argument(help="Its name, in suites and records, as in my_attention.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Folder to write to; by default a clone's own, or this one.",
            parser=path_for("--to"),
            metavar="PATH",
        ),
    ] = None,
) -> None:
    """Write a first mechanism of your own: a file that trains and passes the tests as it is."""
    from oscbench.scaffold import new_mechanism

    path, named = new_mechanism(name, folder)
    outside = ":" in named
    print(path)
    allow = " --allow-imports" if outside else ""
    there = f" in {path.parent}" if outside and path.parent.resolve() != Path.cwd() else ""
    print(f'next: put "{named}" among the mechanisms of a suite, and oscbench run SUITE{allow}{there}')
