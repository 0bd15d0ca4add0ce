"""One `oscbench run`: plan, run, and say how it ended."""

from __future__ import annotations

import os
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from oscbench.records import Record, Store
from oscbench.runner.plan import Cell, make_plan
from oscbench.runner.pool import Pool
from oscbench.runner.preview import preview, total_seconds
from oscbench.runner.progress import reporter
from oscbench.suite import load_suite

NOT_WELL = ("failed", "oom")


def cores() -> int:
    """Processor cores that this process may use: how many cells run at once by default."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_suite(
    suite: str,
    *,
    results: Path,
    only: list[str],
    overrides: list[str],
    jobs: int | None = None,
    device: str | None = None,
    fresh: bool = False,
) -> int:
    """Run every cell that has no record yet; returns the exit code.

    Raises:
        UserError: a mistake in the suite or its options, or a results folder that cannot be written.
    """
    cells = make_plan(load_suite(suite, overrides), only=only, device=device)
    store = Store(results, tell=_tell)
    store.prepare()
    if fresh:
        _put_aside(cells, store)
    with reporter(cells[0].suite, len(cells)) as told:
        records = Pool(store, _at_once(cells, jobs), told, adopt=not fresh).run(cells)
    return _summary(records, results, cells[0].suite)


def dry_run(
    suite: str,
    *,
    results: Path,
    only: list[str],
    overrides: list[str],
    jobs: int | None = None,
    device: str | None = None,
) -> tuple[list[dict[str, object]], str]:
    """Rows of the cells that would run, and a line with the estimated time.

    Raises:
        UserError: a mistake in the suite or its options.
    """
    cells = make_plan(load_suite(suite, overrides), only=only, device=device)
    previews = preview(cells, Store(results))
    rows = [
        {
            "task": one.cell.spec["task"]["name"],
            "mechanism": one.cell.spec["mechanism"]["name"],
            "variant": one.cell.spec["variant"],
            "seed": one.cell.spec["seed"],
            "params": "" if one.params is None else f"{one.params:,}",
            "MFLOP/sample": "" if one.flops is None else f"{one.flops / 1e6:.2f}",
            "residual": "" if one.residual is None else f"{one.residual:+.2%}",
            "seconds": "there" if one.there else one.trouble or f"{one.seconds:.0f}",
        }
        for one in previews
    ]
    jobs = _at_once(cells, jobs)
    seconds = timedelta(seconds=round(total_seconds(previews, jobs)))
    waiting = sum(not one.there for one in previews)
    return rows, f"{waiting} of {len(cells)} cells to run, about {seconds} with {jobs} at once"


def _at_once(cells: list[Cell], jobs: int | None) -> int:
    """Cells at once; where times are taken only one, whatever was asked for."""
    return 1 if any(cell.spec["kind"] == "timing" for cell in cells) else jobs or cores()


def _put_aside(cells: list[Cell], store: Store) -> None:
    """`--fresh`: old records make room, and are kept in `.set_aside`."""
    for cell in cells:
        found = store.find(cell.suite, cell.identity)
        if found is not None and found.suite == cell.suite:
            store.set_aside(store.path_of(found))


def _tell(text: str) -> None:
    """A line on standard error, above the bars if there are any."""
    tqdm.write(text, file=sys.stderr)


def _summary(records: list[Record], results: Path, suite: str) -> int:
    counts = Counter(record.status for record in records)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    print(f"{suite}: {told}; records in {results}", file=sys.stderr)
    for record in records:
        if record.status != "ok":
            name = f"{record.mechanism}:{record.variant} seed {record.seed}"
            print(f"  {record.status}: {name}: {record.reason}", file=sys.stderr)
    return 1 if any(record.status in NOT_WELL for record in records) else 0
