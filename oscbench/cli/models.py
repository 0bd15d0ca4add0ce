"""Commands over trained models, whose weights `run --keep weights` has left beside their records."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oscbench.cli.options import ImportsOption, RecordArgument, ResultsOption, allow, given_for
from oscbench.errors import UserError
from oscbench.terminal import print_table

MOST_SEED = 2**63 - 1
"""Of a generator of PyTorch's."""


class SplitName(StrEnum):
    """What `oscbench evaluate` can score on."""

    test = "test"
    validation = "validation"


class ScoresForm(StrEnum):
    """How `oscbench evaluate` says what it found."""

    table = "table"
    json = "json"


def evaluate(
    record: RecordArgument,
    task: Annotated[
        str | None,
        typer.Option(
            help="A task; by default the record's own.",
            parser=given_for("--task", "the name of one, as oscbench list tasks shows them"),
            metavar="TEXT",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the task; may be repeated.")
    ] = None,
    length: Annotated[int, typer.Option(min=1, help="Of the inputs, times that of training.")] = 1,
    size: Annotated[
        int | None, typer.Option(min=1, help="Of the images, a side in pixels; by default the task's own.")
    ] = None,
    split: Annotated[SplitName, typer.Option(help="Examples to score on.")] = SplitName.test,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    form: Annotated[
        ScoresForm, typer.Option("--format", help="A table to read, or every score with all its digits.")
    ] = ScoresForm.table,
    results: ResultsOption = Path("results"),
    allow_imports: ImportsOption = False,
) -> None:
    """Score a trained model: on its own task, on another whose inputs it can read, on longer inputs or on larger images."""
    allow(allow_imports)
    from oscbench import words
    from oscbench.runner.trained import scores_of

    found = scores_of(
        record, results, task, settings or [], split=split.value, length=length, size=size, device=device
    )
    if form is ScoresForm.json:
        print(json.dumps({name: one.model_dump(exclude_none=True) for name, one in found.items()}, indent=1))
        return
    print_table(
        [
            {"measure": name, "value": words.quantity(float(one.value), one.unit, 4), "n": f"{one.n:,}"}
            for name, one in found.items()
            if one.value is not None
        ]
    )


def generate(
    record: RecordArgument,
    prompt: Annotated[str, typer.Option(help="What to begin with; by default how texts begin.")] = "",
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="How many bytes or words to add; by default 200, or as many as the model's positions reach.",
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the draws; 0 takes the likeliest.")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the draws.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: ResultsOption = Path("results"),
    allow_imports: ImportsOption = False,
) -> None:
    """Let a trained language model go on with a text."""
    allow(allow_imports)
    if temperature == float("inf"):
        raise UserError("--temperature: got inf; give a number, as in 0.8")
    from oscbench.runner.trained import text_of

    print(text_of(record, results, prompt, tokens, temperature=temperature, seed=seed, device=device))
