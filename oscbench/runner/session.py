"""One `oscbench run`: plan, run, and say how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from tqdm import tqdm

from oscbench.errors import nearest
from oscbench.records import Record, ResultsError, Store, suite_name
from oscbench.records.ledger import Extension, ledger_path, trial_label, write_ledger
from oscbench.runner.cell_spec import Cell, Keeping
from oscbench.runner.estimate import total_seconds
from oscbench.runner.executors.local import Pool, Reporter
from oscbench.runner.floors import floor_cells
from oscbench.runner.measurements import Measurements
from oscbench.runner.preview import Preview, preview
from oscbench.runner.progress import reporter
from oscbench.runner.reporters import RecordReporters, Telling
from oscbench.runner.search_preview import SearchPreview, preview_search, search_seconds, there
from oscbench.runner.summary import next_command, tell_summary
from oscbench.runner.training.checkpoint import prove_usable
from oscbench.runner.training.plan import make_plan
from oscbench.runner.training.search import Search, key_of, ledger_of, search, searches, with_choices
from oscbench.suite import LoadedSuite, Suite, SuiteError, left_out, load_points

LONG = {"epochs": 100_000, "steps": 100_000_000}
"""Lengths of a training beyond which a run says so before it starts."""
KEPT = ("weights",)
"""What a run can keep beside its records."""


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
    keep: Sequence[str] = (),
    checkpoints: str | None = None,
    checkpoint_minutes: float = 5.0,
    stall_minutes: float | None = None,
    limit_minutes: float | None = None,
    log: Sequence[str] = (),
) -> int:
    """Run every cell that has no record yet; returns the exit code.

    Args:
        suite: file or name.
        results: folder of the records.
        only: which cells.
        overrides: of the suite's settings.
        jobs: cells at once; by default one a core.
        device: by default what the suite says.
        fresh: old records are put aside.
        keep: what is kept beside the records: `weights`.
        checkpoints: folder or URL where cells in progress leave word of themselves; by default within the results folder.
        checkpoint_minutes: between two checkpoints of a cell.
        stall_minutes: without a step after which a cell is killed and recorded as failed.
        limit_minutes: that a cell may take at all.
        log: reporters that are told of every record, `tensorboard` for one.

    Raises:
        UserError: a mistake in the suite or its options, or a results folder that cannot be written.
    """
    for one in keep:
        if one not in KEPT:
            raise SuiteError(f'--keep: got "{one}"; {nearest(one, KEPT)}')
    points = _planned(suite, overrides, only, device)
    _tell_of_lengths(points)
    store = Store(results, tell=_tell)
    store.prepare()
    where = checkpoints if checkpoints is not None else str(results / ".checkpoints")
    prove_usable(where)
    keeping = Keeping("weights" in keep, where, checkpoint_minutes)
    pool = partial(
        Pool,
        keeping=keeping,
        stall_s=None if stall_minutes is None else 60.0 * stall_minutes,
        limit_s=None if limit_minutes is None else 60.0 * limit_minutes,
    )
    # With `--only seed=…` other seeds keep the model that was measured for them, and so does this one.
    anew = fresh and not any(choice.startswith("seed") for choice in only)
    measurements = Measurements(store, anew=anew)
    reporters = RecordReporters(log, results, _tell)
    codes = []
    for place, (loaded, cells) in enumerate(points, start=1):
        if len(points) > 1:
            _tell(f"point {place} of {len(points)}: {loaded.label}")
        codes.append(
            _run_point(
                loaded, cells, store, measurements, pool, jobs, reporters, fresh=fresh, chosen=bool(only)
            )
        )
    reporters.close()
    _tell(f"next: {next_command((suite_name(cells[0].suite) for _, cells in points), results)}")
    return max(codes)


def _planned(
    suite: str, overrides: list[str], only: list[str], device: str | None
) -> list[tuple[LoadedSuite, list[Cell]]]:
    """All points of a suite with their cells, so that a mistake in the last one is found before the first one runs."""
    planned = []
    points = load_points(suite, overrides)
    for loaded in points:
        try:
            planned.append((loaded, make_plan(loaded, only=only, device=device)))
        except SuiteError as error:
            if loaded.label == loaded.suite.name:
                raise
            raise SuiteError(f"{error} (in {loaded.label})") from error
    first = points[0].suite
    if isinstance(first, Suite) and (missing := left_out(first)):
        _tell(f"{first.name}: positions that a mechanism cannot have are left out: {'; '.join(missing)}")
    return planned


def validate(suite: str) -> str:
    """What a suite holds, in a line.

    Raises:
        UserError: a mistake in it.
    """
    points = _planned(suite, [], [], None)
    among = f" at {len(points)} points" if len(points) > 1 else ""
    return f"{suite}: {sum(len(cells) for _, cells in points)} cells{among}, no mistakes"


def _run_point(
    loaded: LoadedSuite,
    cells: list[Cell],
    store: Store,
    measurements: Measurements,
    pool: Callable[..., Pool],
    jobs: int | None,
    reporters: RecordReporters,
    *,
    fresh: bool,
    chosen: bool,
) -> int:
    """Floors, unless single cells were chosen; search where the suite asks for it; and run the cells. The exit code."""

    def computed(asked: list[Cell], told: Reporter) -> list[Record]:
        if fresh:
            _put_aside(asked, store)
        asked = measurements.given_to(asked)
        made = pool(
            store=store, jobs=_at_once(asked, jobs), reporter=Telling(told, reporters), adopt=not fresh
        )
        done = made.run(asked)
        _tell_of_weights(done, store, made.keeping)
        return done

    floors: list[Record] = []
    if asked := [] if chosen else floor_cells(loaded, cells):
        with reporter(f"floors of {cells[0].suite}", len(asked)) as told:
            floors = computed(asked, told)
    trials: dict[str, Record] = {}
    found = searches(loaded.suite, loaded.source, cells) if isinstance(loaded.suite, Suite) else []
    if found:
        trials = _tuned(found, computed, store, _at_once(cells, jobs))
        cells = with_choices(cells, found)
    with reporter(cells[0].suite, len(cells), cells, _at_once(cells, jobs)) as told:
        records = computed(cells, told)
    return tell_summary(records, [*floors, *trials.values()], store, cells[0].suite)


def _tuned(
    found: list[Search], computed: Callable[[list[Cell], Reporter], list[Record]], store: Store, jobs: int
) -> dict[str, Record]:
    """Run the searches and keep their ledger; all trial cells by identity."""
    records: dict[str, Record] = {}
    total = sum(one.tune.trials * one.tune.seeds for one in found)
    with reporter(trial_label(found[0].cell.suite), total, (), jobs) as told:

        def run(asked: list[Cell]) -> list[Record]:
            # A choice that came up again is here already, and `--fresh` does not mean it.
            new = [cell for cell in asked if cell.identity not in records]
            records.update({record.identity: record for record in computed(new, told)} if new else {})
            return [records[cell.identity] for cell in asked]

        announced: set[str] = set()

        def note() -> None:
            write_ledger(store, ledger_of(found))
            for text in (_extended(one, extension) for one in found for extension in one.extensions):
                if text not in announced:
                    announced.add(text)
                    _tell(text)

        search(found, run, note)
    print(f"ledger of the search in {ledger_path(store, found[0].cell.suite)}", file=sys.stderr)
    return records


def _extended(one: Search, extension: Extension) -> str:
    """A line that says where a search goes beyond its ranges."""
    (name, variant), tried = key_of(one.cell), ", ".join(map(str, extension.tried))
    return (
        f"{name}:{variant}: {extension.place} {extension.chosen} is at the {extension.end} end of its range; "
        f"going on to {tried}"
    )


def dry_run(
    suite: str,
    *,
    results: Path,
    only: list[str],
    overrides: list[str],
    jobs: int | None = None,
    device: str | None = None,
    fresh: bool = False,
) -> tuple[list[dict[str, object]], str]:
    """Rows of the cells that would run, and a line with the estimated time.

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
    line = f"{waiting} of {count} cells{among} to run, about {told} with {jobs} at once"
    trials = [search for one in previewed for search in one.searches]
    if trials:
        total = sum(search.total for search in trials)
        line = f"{sum(search.left for search in trials)} of {total} trial cells and then {line}"
    return rows, line


@dataclass(frozen=True)
class _Previewed:
    """A point in a dry run: its table, its cells, and the searches before them."""

    rows: list[dict[str, object]]
    cells: list[Preview]
    searches: list[SearchPreview]


def _preview_point(loaded: LoadedSuite, cells: list[Cell], store: Store) -> _Previewed:
    found = searches(loaded.suite, loaded.source, cells) if isinstance(loaded.suite, Suite) else []
    search(found, lambda asked: there(asked, store))
    if all(one.finished for one in found):
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
    return 1 if any(cell.spec["kind"] == "timing" for cell in cells) else jobs or cores()


def _put_aside(cells: list[Cell], store: Store) -> None:
    """`--fresh`: old records make room, and are kept in `.set_aside`."""
    for cell in cells:
        found = store.find(cell.suite, cell.identity)
        if found is None or found.suite != cell.suite:
            continue
        if not store.path_of(found).exists():
            raise ResultsError(
                f"{store.packed(cell.suite)}: holds packed records, which --fresh does not put aside; give another --results"
            )
        store.set_aside(store.path_of(found))


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
    trained = [one for one in records if one.status == "ok" and one.spec.get("kind") == "train"]
    lacking = sum(not store.weights_path(one).exists() for one in trained) if keeping.weights else 0
    if lacking:
        _tell(f"  {lacking} of these cells ran before without --keep weights; --fresh runs them again")
