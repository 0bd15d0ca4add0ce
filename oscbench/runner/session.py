"""One `oscbench run`: plan, run, and say how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from oscbench import catalog, words
from oscbench.analysis.limits import no_verdict
from oscbench.errors import nearest
from oscbench.records import Record, Store, asked, suite_name
from oscbench.records.locks import KINDS as LOCKS
from oscbench.runner.cell_spec import Cell, Keeping
from oscbench.runner.executors import Executor, ExecutorError, Options
from oscbench.runner.floors import floor_cells
from oscbench.runner.flows import Point, point, prove_loose
from oscbench.runner.kind import Preview
from oscbench.runner.kinds import kind_of
from oscbench.runner.matched_times import Measurements
from oscbench.runner.placement import Placement, needs_of
from oscbench.runner.plan import make_plan
from oscbench.runner.pool import Pool
from oscbench.runner.reporters import RecordReporters, Telling, reporter_class
from oscbench.runner.terminal.estimate import total_seconds
from oscbench.runner.terminal.preview import SearchPreview, preview, preview_search, search_seconds, there
from oscbench.runner.terminal.progress import reporter
from oscbench.runner.terminal.summary import next_command, tell_summary
from oscbench.runner.training.checkpoint import prove_usable
from oscbench.runner.training.plan import unread_roles
from oscbench.runner.training.search import search, searches, with_choices
from oscbench.suite import LoadedSuite, Suite, SuiteError, left_out, load_points, paired_seeds

LONG = {"epochs": 100_000, "steps": 100_000_000}
"""Lengths of a training beyond which a run says so before it starts."""
KEPT = ("weights",)
"""What a run can keep beside its records."""


def run_suite(
    suite: str,
    *,
    results: Path,
    only: list[str],
    overrides: list[str],
    jobs: int | None = None,
    device: str | None = None,
    fresh: bool = False,
    keep: Sequence[str] = (),
    checkpoints: str | None = None,
    checkpoint_minutes: float = 5.0,
    stall_minutes: float | None = None,
    limit_minutes: float | None = None,
    log: Sequence[str] = (),
    executor: str = "local",
    address: str | None = None,
    jobs_per_gpu: int = 1,
    locks: str = "auto",
) -> int:
    """Run every cell that has no record yet; returns the exit code.

    Args:
        suite: file or name.
        results: folder of the records.
        only: which cells.
        overrides: of the suite's settings.
        jobs: cells at once; by default as many as the machines' cores hold.
        device: by default what the suite says.
        fresh: old records are put aside.
        keep: what is kept beside the records: `weights`.
        checkpoints: folder or URL where cells in progress leave word of themselves; by default within the results folder.
        checkpoint_minutes: between two checkpoints of a cell.
        stall_minutes: without a step after which a cell is killed and recorded as failed.
        limit_minutes: that a cell may take at all.
        log: reporters that are told of every record, `tensorboard` for one.
        executor: where cells run: `local`, or another of the catalog.
        address: of the executor's cluster; by default this machine.
        jobs_per_gpu: cells that share a GPU.
        locks: between runs on one results folder: `flock`, `lease`, or `auto` for what its file system is good for.

    Raises:
        UserError: a mistake in the suite or its options, or a results folder that cannot be written.
    """
    check_options(results, keep, locks, executor, log)
    # A process on another machine stands in another folder.
    where = checkpoints if checkpoints is not None else str(results.absolute() / ".checkpoints")
    options = Options(jobs, address, jobs_per_gpu, Keeping("weights" in keep, where, checkpoint_minutes))
    machines = make_executor(executor, options)
    try:
        points = _planned(suite, overrides, only, device, lambda: _has_gpu(machines))
        _tell_of_lengths(points)
        store = _opened(results, locks, where)
        keeping, chosen = options.keeping, bool(only)
        run = [point(*one, store, fresh=fresh, keeping=keeping, chosen=chosen, tell=_tell) for one in points]
        prove_loose(run)
        asked.note(store, (_asked(cell) for one in run for cell in one.known))
        _carry_out(run, store, machines, options, only, log, stall_minutes, limit_minutes)
    finally:
        machines.close()
    return _summed_up(run, store, options.keeping)


def _asked(cell: Cell) -> asked.Asked:
    """What a report is to show of a cell, as soon as it has its record."""
    spec = cell.spec
    names = spec["task"]["name"], spec["mechanism"]["name"], spec["variant"]
    return asked.Asked(cell.suite, *names, spec["seed"], cell.identity)


def check_options(results: Path, keep: Sequence[str], locks: str, executor: str, log: Sequence[str]) -> None:
    """What a run would refuse, without beginning one.

    Raises:
        UserError: the first option that names nothing, or a results folder that is none.
    """
    _check("--keep", keep, KEPT)
    _check("--locks", [locks], LOCKS)
    _executor_class(executor)
    for name in log:
        reporter_class(name)
    if results.exists() and not results.is_dir():
        raise SuiteError(f"{results}: results folder cannot be written (it is a file)")


def _check(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for one in given:
        if one not in known:
            raise SuiteError(f'{option}: got "{one}"; {nearest(one, known)}')


def _opened(results: Path, locks: str, checkpoints: str) -> Store:
    """The store of a run, where it and its checkpoints can be written."""
    store = Store(results, tell=_tell, locks=locks)
    store.prepare()
    prove_usable(checkpoints)
    if "://" not in checkpoints and any(Path(checkpoints).glob("*.checkpoint")):
        _tell(
            f"{checkpoints}: checkpoints of an earlier version lie there, which are not read: they lie by suite now; remove them"
        )
    return store


def _carry_out(
    run: Sequence[Point],
    store: Store,
    machines: Executor,
    options: Options,
    only: list[str],
    log: Sequence[str],
    stall_minutes: float | None,
    limit_minutes: float | None,
) -> None:
    """Run all cells of all points, wherever there is room for them, and tell of each."""
    fresh = run[0].fresh
    # With `--only seed=…` other seeds keep the model that was measured for them, and so does this one.
    anew = fresh and not any(choice.startswith("seed") for choice in only)
    placement = Placement(options.jobs_per_gpu)
    placement.update(machines.machines())
    title = run[0].label if len(run) == 1 else suite_name(run[0].label)
    if len(run) > 1:
        _tell(f"{title}: {len(run)} points at once, {run[0].label} the first of them")
    reporters = RecordReporters(log, store.root, _tell)
    at_once = min(placement.capacity(needs_of(run[0].cells[0])), options.jobs or sys.maxsize)
    known = [cell for one in run for cell in one.known]
    with reporter(title, sum(one.total for one in run), known, at_once) as told:
        Pool(
            store,
            machines,
            Telling(told, reporters),
            placement,
            Measurements(store, anew=anew),
            jobs=options.jobs,
            adopt=not fresh,
            keeping=options.keeping,
            stall_s=None if stall_minutes is None else 60.0 * stall_minutes,
            limit_s=None if limit_minutes is None else 60.0 * limit_minutes,
        ).run([flow for one in run for flow in one.flows(told)])
    reporters.close()


def make_executor(name: str, options: Options) -> Executor:
    """An executor by its name in the catalog.

    Raises:
        ExecutorError: there is none of this name, or it cannot be had like this.
    """
    made: Executor = _executor_class(name)(options)
    return made


def _executor_class(name: str) -> Any:
    try:
        return catalog.load("executors", name)
    except catalog.UnknownNameError as error:
        raise ExecutorError(f"--executor: {error}") from error


def _has_gpu(executor: Executor) -> bool:
    return any(machine.gpus for machine in executor.machines())


def _summed_up(run: Sequence[Point], store: Store, keeping: Keeping) -> int:
    """Say how every point ended, and what to do next; the worst of their exit codes."""
    codes = []
    asked.note(store, (record for one in run for record in (*one.beside, *one.records)))
    for one in run:
        _tell_of_weights([*one.beside, *one.records], store, keeping)
        if one.ledger is not None:
            _tell(one.ledger)
        codes.append(tell_summary(one.records, one.beside, store, one.label))
    _tell(f"next: {next_command((suite_name(one.label) for one in run), store.root)}")
    return max(codes)


def _planned(
    suite: str,
    overrides: list[str],
    only: list[str],
    device: str | None,
    has_gpu: Callable[[], bool] = torch.cuda.is_available,
) -> list[tuple[LoadedSuite, list[Cell]]]:
    """All points of a suite with their cells, so that a mistake in the last one is found before the first one runs."""
    planned = []
    points = load_points(suite, overrides)
    for loaded in points:
        try:
            planned.append((loaded, make_plan(loaded, only=only, device=device, has_gpu=has_gpu)))
        except SuiteError as error:
            if loaded.label == loaded.suite.name:
                raise
            raise SuiteError(f"{error} (in {loaded.label})") from error
    first = points[0].suite
    if isinstance(first, Suite):
        if missing := left_out(first):
            _tell(f"{first.name}: positions that a mechanism cannot have are left out: {'; '.join(missing)}")
        _tell_of_verdicts(first)
        if unread := unread_roles(first):
            _tell(
                f"{first.name}: reports read no roles of {', '.join(unread)}, which they would have to import; an entry point "
                "oscbench.measures gives a measure a name, and its roles count"
            )
    return planned


def _tell_of_verdicts(suite: Suite) -> None:
    """Say beforehand where what a suite declares will give estimates only."""
    if suite.compare and (why := no_verdict(len(suite.compare), paired_seeds(suite))):
        _tell(f"{suite.name}: what it compares gives estimates only: {'; '.join(why)}")


def validate(suite: str, overrides: list[str] | None = None) -> str:
    """What a suite holds, in a line.

    Raises:
        UserError: a mistake in it.
    """
    points = _planned(suite, overrides or [], [], None)
    among = f" at {len(points)} points" if len(points) > 1 else ""
    return f"{suite}: {words.many(sum(len(cells) for _, cells in points), 'cell')}{among}, no mistakes"


def dry_run(
    suite: str,
    *,
    results: Path,
    only: list[str],
    overrides: list[str],
    jobs: int | None = None,
    device: str | None = None,
    fresh: bool = False,
) -> tuple[list[dict[str, object]], str, int]:
    """Rows of the cells that would run, a line with the estimated time, and how many of them cannot run here.

    Raises:
        UserError: a mistake in the suite or its options.
    """
    store = Store(results / ".nothing" if fresh else results)  # `--fresh` computes what is there already
    points = _planned(suite, overrides, only, device)
    _tell_of_lengths(points)
    previewed = [_preview_point(loaded, cells, store) for loaded, cells in points]
    rows: list[dict[str, object]] = []
    for (loaded, _), one in zip(points, previewed, strict=True):
        rows += [{"point": loaded.label, **row} for row in one.rows] if len(points) > 1 else one.rows
    jobs = _at_once([cell for _, cells in points for cell in cells], jobs)
    seconds = sum(
        search_seconds(one.searches, jobs) + total_seconds([cell.seconds for cell in one.cells], jobs)
        for one in previewed
    )
    waiting = sum(not cell.there for one in previewed for cell in one.cells)
    count = sum(len(one.cells) for one in previewed)
    among = f" at {len(points)} points" if len(points) > 1 else ""
    told = timedelta(seconds=round(seconds))
    line = f"{waiting} of {words.many(count, 'cell')}{among} to run, about {told} with {jobs} at once"
    floors = [] if only else [cell for one in points for cell in floor_cells(*one)]
    if left := sum(not one.there for one in preview(floors, store)):
        line += f"; {words.many(left, 'floor')} before them, whose time is not estimated"
    stuck = sum(not cell.there and cell.trouble is not None for one in previewed for cell in one.cells)
    if stuck:
        line += f"; {stuck} of them cannot run here, for the reason that stands in the table"
    trials = [search for one in previewed for search in one.searches]
    if trials:
        total = sum(search.total for search in trials)
        line = f"{sum(search.left for search in trials)} of {words.many(total, 'trial cell')} and then {line}"
    return rows, line, stuck


@dataclass(frozen=True)
class _Previewed:
    """A point in a dry run: its table, its cells, and the searches before them."""

    rows: list[dict[str, object]]
    cells: list[Preview]
    searches: list[SearchPreview]


def _preview_point(loaded: LoadedSuite, cells: list[Cell], store: Store) -> _Previewed:
    found = searches(loaded.suite, loaded.source, cells) if isinstance(loaded.suite, Suite) else []
    search(found, lambda asked: there(asked, store))
    if found and all(one.finished for one in found):
        cells = with_choices(cells, found)
    previews = preview(cells, store)
    searching = [preview_search(one, previews, store) for one in found]
    rows = [one.row() for one in searching] + [_row(one) for one in previews]
    return _Previewed(rows, previews, searching)


def _row(one: Preview) -> dict[str, object]:
    return {
        "task": one.cell.spec["task"]["name"],
        "mechanism": one.cell.spec["mechanism"]["name"],
        "variant": one.cell.spec["variant"],
        "position": one.cell.given.get("position", ""),
        "seed": one.cell.spec["seed"],
        "params": "" if one.params is None else f"{one.params:,}",
        "MFLOP/sample": "" if one.flops is None else f"{one.flops / 1e6:.2f}",
        "residual": "" if one.residual is None else f"{one.residual:+.2%}",
        "seconds": "there" if one.there else one.trouble or f"{one.seconds:.0f}",
    }


def _at_once(cells: list[Cell], jobs: int | None) -> int:
    """Cells at once; where times are taken only one, whatever was asked for."""
    if any(kind_of(cell.spec).times for cell in cells):
        return 1
    placement = Placement()
    placement.update(make_executor("local", Options(jobs)).machines())
    return min(placement.capacity(needs_of(cells[0])), jobs or sys.maxsize)


def _tell_of_lengths(points: list[tuple[LoadedSuite, list[Cell]]]) -> None:
    """Warn of a training that nobody will see the end of."""
    for loaded, _ in points:
        for unit, most in LONG.items():
            given = getattr(loaded.suite.train, unit) if isinstance(loaded.suite, Suite) else None
            if given is not None and given > most:
                _tell(f"{loaded.label}: train.{unit}: {given:,} are a great many; is that meant?")


def _tell(text: str) -> None:
    """A line on standard error, above the bars if there are any."""
    tqdm.write(text, file=sys.stderr)


def _tell_of_weights(records: list[Record], store: Store, keeping: Keeping) -> None:
    """A line where weights were asked for of cells that ran before without keeping them."""
    trained = [one for one in records if one.status == "ok" and kind_of(one.spec).trains]
    lacking = sum(not store.weights_path(one).exists() for one in trained) if keeping.weights else 0
    if lacking:
        _tell(f"  {lacking} of these cells ran before without --keep weights; --fresh runs them again")
