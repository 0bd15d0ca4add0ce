"""Commands that pack records and unpack them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oscbench.cli.options import ResultsOption, path_for


def pack(
    suite: Annotated[str, typer.Argument(help="The suite whose records are packed, all of its labels.")],
    results: ResultsOption = Path("results"),
    output: Annotated[
        Path, typer.Option(help="Folder of the packed records.", parser=path_for("--output"), metavar="PATH")
    ] = Path("results/reference"),
) -> None:
    """Pack a suite's records into one file, OUTPUT/DEVICE/SUITE.jsonl.gz, which is read like the folder."""
    from oscbench.records import packing

    for made in packing.pack(suite, results, output):
        print(f"{made.path}: {made.count} records, {made.new} of them new")


def unpack(
    file: Annotated[
        Path,
        typer.Argument(
            help="As results/reference/cpu/SUITE.jsonl.gz.", parser=path_for("FILE"), metavar="FILE"
        ),
    ],
    results: ResultsOption = Path("results"),
) -> None:
    """Write packed records as one JSON file each, to look into or to go on from."""
    from oscbench.records import packing

    count, folder = packing.unpack(file, results)
    print(f"{count} records in {folder}")
