"""The command line: parse and dispatch. Heavy imports live inside the commands; there is no logic here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from oscbench.cli import inventory, models, packing, reports, running, scaffold
from oscbench.cli.options import examples, interrupted
from oscbench.runner.interrupt import ending_signals
from oscbench.terminal import outcome

app = typer.Typer(
    name="oscbench",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: half the time of `--help`, and no boxes around one line
)


def _version(asked: bool) -> None:
    if asked:
        import oscbench

        print(f"oscbench {oscbench.__version__}")
        raise typer.Exit


@app.callback(epilog=examples("run smoke", "report smoke", "list suites"))
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


_COMMANDS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "run": (
        running.run,
        (
            "run smoke",
            "run vision_small --only mechanism=kope,softmax --dry-run",
            "run my.yaml --set train.epochs=3 --jobs 2",
        ),
    ),
    "report": (reports.report, ("report", "report vision_small --compare kope,softmax --output page")),
    "evaluate": (
        models.evaluate,
        ("evaluate 3f2a9c --length 4", "evaluate 3f2a9c --task char_lm --set path=book.txt"),
    ),
    "generate": (models.generate, ("generate 3f2a9c --prompt 'def ' --tokens 200",)),
    "export": (reports.export, ("export --format parquet --output cells.parquet",)),
    "claims": (reports.claims, ()),
    "compare": (reports.compare, ("compare old/results results",)),
    "pack": (packing.pack, ()),
    "unpack": (packing.unpack, ()),
    "list": (inventory.list_things, ("list", "list suites")),
    "env": (inventory.env, ()),
    "data": (inventory.data, ("data list", "data add wikitext2 --from ~/wikitext-2-raw")),
    "validate": (running.validate, ("validate my.yaml",)),
    "new": (scaffold.new_thing, ()),
    "check": (scaffold.check, ("check kope", "check my_attention:MyAttention --allow-imports")),
}
"""Every command in the order of the help, with what stands below its own."""

for _name, (_command, _shown) in _COMMANDS.items():
    app.command(name=_name, epilog=examples(*_shown) if _shown else None)(_command)


def main() -> None:
    """Entry point: bad input is one line and exit code 2; Ctrl-C, SIGTERM and SIGHUP are 130; and nothing is a traceback."""
    # While torch and pandas load, an exception from Ctrl-C may land where nobody expects one, and nothing is
    # lost by leaving at once. A run takes the signals over when its cells start.
    for number in ending_signals():
        signal.signal(number, lambda number, frame: os._exit(interrupted()))
    sys.exit(outcome(app))
