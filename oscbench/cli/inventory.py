"""Commands that say what there is: names, this machine, data sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oscbench.cli.options import path_for
from oscbench.errors import UserError
from oscbench.terminal import print_table


class Kind(StrEnum):
    """What `oscbench list` can list."""

    mechanisms = "mechanisms"
    tasks = "tasks"
    measures = "measures"
    suites = "suites"
    backends = "backends"


class DataAction(StrEnum):
    """What `oscbench data` can do."""

    list = "list"
    verify = "verify"
    add = "add"


def list_things(kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.mechanisms) -> None:
    """List mechanisms, tasks, measures, suites or backends."""
    from oscbench.machine import inventory

    print_table(getattr(inventory, kind.value)())


def env() -> None:
    """Versions and devices, which backends work here, and which measures can be trusted, or why not."""
    from oscbench.machine import inventory, trust

    for rows in (inventory.machine(), inventory.backends(), trust.rows()):
        print_table(rows)
        print()


def data(
    action: Annotated[DataAction, typer.Argument(help="What to do.")],
    name: Annotated[str | None, typer.Argument(help="A data set of the list; verify takes all.")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="File or folder to add; it stays where it is.",
            parser=path_for("--from"),
            metavar="PATH",
        ),
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies.")] = False,
) -> None:
    """The data store: list what is there and who needs it, verify its hashes, add a data set under its name."""
    from oscbench.data import listing

    if action is not DataAction.add and (source is not None or link):
        raise UserError(f"data {action}: {'--from' if source is not None else '--link'} belongs to data add")
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
