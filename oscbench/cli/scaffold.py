"""Commands for something of one's own: begin it, and hold it to what all promise."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oscbench.cli.options import ImportsOption, allow, path_for
from oscbench.terminal import print_table


class NewKind(StrEnum):
    """What `oscbench new` can begin."""

    mechanism = "mechanism"
    task = "task"
    measure = "measure"


_WHERE = {
    "mechanism": 'put "{0}" among the mechanisms of a suite',
    "task": 'write task: "{0}" in a suite',
    "measure": 'put "{0}" among the measures of a suite',
}


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
    """Write a first mechanism, task or measure of your own: a file that runs as it is."""
    from oscbench.scaffold import new_part

    path, named = new_part(kind.value, name, folder)
    outside = ":" in named
    print(path)
    permit = " --allow-imports" if outside else ""
    there = f" in {path.parent}" if outside and path.parent.resolve() != Path.cwd() else ""
    held = f"oscbench check {named}{permit}, then " if kind is NewKind.mechanism else ""
    print(f"next: {held}{_WHERE[kind.value].format(named)}, and oscbench run SUITE{permit}{there}")


def check(
    mechanism: Annotated[str, typer.Argument(help="A mechanism, as suites name it.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the mechanism; may be repeated.")
    ] = None,
    allow_imports: ImportsOption = False,
) -> None:
    """Hold a mechanism to the laws that all keep: causality, padding, order, gradients, precision, declared FLOPs."""
    allow(allow_imports)
    from oscbench.runner.checking import check as checked

    rows, broken = checked(mechanism, settings or [])
    print_table(rows)
    if broken:
        raise typer.Exit(1)
