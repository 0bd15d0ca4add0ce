"""Commands that check and run a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from oscbench.cli.options import ImportsOption, ResultsOption, SuiteArgument, allow, given_for, interrupted
from oscbench.terminal import print_table

OnlyOption = Annotated[
    list[str] | None, typer.Option(help="mechanism=a,b, variant=a,b or seed=0,1; may be repeated.")
]
OverridesOption = Annotated[
    list[str] | None, typer.Option("--set", help="key.path=value, as in train.epochs=3; may be repeated.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Cells at once; by default one a core, or one a GPU.")
]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu or cuda; by default what the suite says.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Put old records aside and compute again.")]
KeepOption = Annotated[list[str] | None, typer.Option(help="weights: keep every model's, beside its record.")]
CheckpointsOption = Annotated[
    str | None,
    typer.Option(
        help="Folder or URL of the cells in progress; by default within RESULTS.",
        parser=given_for("--checkpoints", "a folder or a URL"),
        metavar="TEXT",
    ),
]
CheckpointMinutesOption = Annotated[float, typer.Option(min=0.0, help="Minutes between checkpoints.")]
StallMinutesOption = Annotated[
    float | None,
    typer.Option(min=0.0, help="End a cell with no step for this long; it is recorded as failed."),
]
LimitMinutesOption = Annotated[
    float | None, typer.Option(min=0.0, help="A cell that takes longer is ended, and recorded as failed.")
]
LogOption = Annotated[
    list[str] | None,
    typer.Option(help="tensorboard, wandb, trackio or mlflow: told of every record; may be repeated."),
]
ExecutorOption = Annotated[str, typer.Option(help="Where cells run: local or ray.")]
AddressOption = Annotated[
    str | None, typer.Option(help="host:port of the executor's cluster; by default this machine.")
]
JobsPerGpuOption = Annotated[int, typer.Option(min=1, max=64, help="Cells that share a GPU.")]
LocksOption = Annotated[
    str, typer.Option(help="For runs sharing a folder: flock, lease, or auto by its file system.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the cells, their sizes and an ETA.")]


def run(
    suite: SuiteArgument,
    results: ResultsOption = Path("results"),
    only: OnlyOption = None,
    overrides: OverridesOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = None,
    fresh: FreshOption = False,
    keep: KeepOption = None,
    checkpoints: CheckpointsOption = None,
    checkpoint_minutes: CheckpointMinutesOption = 5.0,
    stall_minutes: StallMinutesOption = None,
    limit_minutes: LimitMinutesOption = None,
    log: LogOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    jobs_per_gpu: JobsPerGpuOption = 1,
    locks: LocksOption = "auto",
    dry_run: DryRunOption = False,
    allow_imports: ImportsOption = False,
) -> None:
    """Run a suite, one record per cell; cells already recorded are skipped."""
    allow(allow_imports)
    from oscbench.runner import session

    shared: dict[str, Any] = {
        "results": results,
        "only": only or [],
        "overrides": overrides or [],
        "jobs": jobs,
        "device": device,
    }
    if dry_run:
        session.check_options(results, keep or [], locks, executor, log or [])
        rows, estimate, stuck = session.dry_run(suite, **shared, fresh=fresh)
        print_table(rows)
        print(estimate)
        raise typer.Exit(1 if stuck and executor == "local" else 0)  # machines of a cluster are others
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
            log=log or [],
            executor=executor,
            address=address,
            jobs_per_gpu=jobs_per_gpu,
            locks=locks,
        )
    except KeyboardInterrupt:
        code = interrupted(f"the same command{' without --fresh' * fresh} goes on where this one stopped")
    raise typer.Exit(code)


def validate(
    suite: SuiteArgument, overrides: OverridesOption = None, allow_imports: ImportsOption = False
) -> None:
    """Check a suite without running it."""
    allow(allow_imports)
    from oscbench.runner import session

    print(session.validate(suite, overrides))
