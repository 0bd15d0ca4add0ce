"""What a run asks its pool for: floors, the trials of searches, and the reported cells with what their searches chose.

Each search waits for its own trials alone, and the cells of an entry for its own search alone: whatever can run is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from oscbench.errors import UserError
from oscbench.records import Record, Store
from oscbench.records.ledger import Extension, ledger_path, trial_label, write_ledger
from oscbench.records.reading import contents
from oscbench.runner.cell_spec import Cell, Keeping
from oscbench.runner.floors import floor_cells
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.search import Search, key_of, ledger_of, searches, with_choices
from oscbench.runner.waiting import Flow
from oscbench.suite import LoadedSuite, Suite


class Expecting(Protocol):
    """Who is told how many cells there will be."""

    def expect(self, more: int) -> None:
        """So many cells more than was known before, or fewer."""


@dataclass
class Point:
    """One point of a suite while it runs.

    Attributes:
        loaded: the suite there.
        cells: the reported ones, as the suite gives them.
        store: where records go.
        fresh: records and checkpoints that are there already make room.
        keeping: what is kept beside the records.
        tell: is told a line.
        floors: cells of what the task gives away; none where single cells were chosen.
        searches: of the entries.
        records: of the reported cells, as they come.
        beside: of floors and trials.
    """

    loaded: LoadedSuite
    cells: list[Cell]
    store: Store
    fresh: bool
    keeping: Keeping
    tell: Callable[[str], None]
    floors: list[Cell] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    beside: list[Record] = field(default_factory=list)
    _announced: set[str] = field(default_factory=set)

    @property
    def label(self) -> str:
        """Of the point."""
        return self.cells[0].suite

    @property
    def known(self) -> list[Cell]:
        """Cells that will run as they are; a search makes the others."""
        return self.floors if self.searches else [*self.floors, *self.cells]

    @property
    def total(self) -> int:
        """Cells that are expected, trials among them."""
        trials = sum(one.tune.trials * one.tune.seeds for one in self.searches)
        return len(self.floors) + trials + len(self.cells)

    def flows(self, told: Expecting) -> list[Flow]:
        """What it asks a pool for."""
        beside = [self._floors()] if self.floors else []
        if not self.searches:
            return [*beside, self._reported(self.cells)]
        return [*beside, *(self._searched(one, told) for one in self.searches)]

    def _floors(self) -> Flow:
        self.beside += yield self._made_room(self.floors)

    def _reported(self, cells: list[Cell]) -> Flow:
        self.records += yield self._made_room(cells)

    def _searched(self, one: Search, told: Expecting) -> Flow:
        """All trials of a search, one after another, and then its entry's cells."""
        there: dict[str, Record] = {}
        expected = one.tune.trials * one.tune.seeds
        while not one.finished:
            asked = one.ask()
            # A choice that came up again is here already, and `--fresh` does not mean it.
            new = [cell for cell in asked if cell.identity not in there]
            found = (yield self._made_room(new)) if new else []
            there |= {record.identity: record for record in found}
            self.beside += found
            one.tell([there[cell.identity] for cell in asked])
            self._note(one)
            left = one.num_further if len(one.rows) >= one.tune.trials else one.tune.trials - len(one.rows)
            told.expect(len(there) + left * one.tune.seeds - expected)
            expected = len(there) + left * one.tune.seeds
        own = [cell for cell in self.cells if key_of(cell) == key_of(one.cell)]
        yield from self._reported(with_choices(own, [one]))

    def _note(self, one: Search) -> None:
        """Keep the ledger, and tell of a search that goes beyond its ranges."""
        write_ledger(self.store, ledger_of(self.searches))
        for text in (extended(one, extension) for extension in one.extensions):
            if text not in self._announced:
                self._announced.add(text)
                self.tell(text)

    def _made_room(self, cells: list[Cell]) -> list[Cell]:
        """The cells; with `--fresh` old records make room, and are kept in `.set_aside`."""
        if self.fresh:
            put_aside(cells, self.store, self.keeping)
        return cells

    @property
    def ledger(self) -> str | None:
        """A line that says where the searches are told; None without any."""
        return f"ledger of the search in {ledger_path(self.store, self.label)}" if self.searches else None


def point(
    loaded: LoadedSuite,
    cells: list[Cell],
    store: Store,
    *,
    fresh: bool,
    keeping: Keeping,
    chosen: bool,
    tell: Callable[[str], None],
) -> Point:
    """A point with its floors, unless single cells were `chosen`, and its searches."""
    found = searches(loaded.suite, loaded.source, cells) if isinstance(loaded.suite, Suite) else []
    floors = [] if chosen else floor_cells(loaded, cells)
    return Point(loaded, cells, store, fresh, keeping, tell, floors, found)


class PackedError(UserError):
    """Records that are to make room lie in a packed file."""


def prove_loose(points: Sequence[Point]) -> None:
    """Refuse `--fresh` where records of its cells are packed, before any other has made room for nothing.

    Raises:
        PackedError: some are.
    """
    for one in points:
        if not one.fresh:
            continue
        for cell in one.known:
            _loose(cell, one.store)
        if one.searches:  # which cells they make is not known yet
            labels = {one.label, trial_label(one.label)}
            entries = {key_of(search.cell) for search in one.searches}
            packed = contents(one.store.packed(one.label)).records
            if any(r.suite in labels and (r.mechanism, r.variant) in entries for r in packed):
                raise _packed(one.store, one.label)


def _loose(cell: Cell, store: Store) -> Record | None:
    """The record of a cell that is to make room; None where there is none."""
    found = store.find(cell.suite, cell.identity)
    if found is None or found.suite != cell.suite:
        return None
    if not store.path_of(found).exists():
        raise _packed(store, cell.suite)
    return found


def _packed(store: Store, suite: str) -> PackedError:
    return PackedError(
        f"{store.packed(suite)}: holds packed records, which --fresh does not put aside; give another --results"
    )


def put_aside(cells: Sequence[Cell], store: Store, keeping: Keeping) -> None:
    """Old records make room with what lies beside them, and are kept in `.set_aside`; so do checkpoints, which stay where they are.

    Raises:
        PackedError: they are packed.
    """
    for cell in cells:
        found = _loose(cell, store)
        if found is not None:
            store.set_aside(store.path_of(found))
            # All labels of a suite share what lies beside their records.
            shared = store.find(cell.suite, cell.identity, tidy=False) is not None
            for path in () if shared else (store.weights_path(found), store.diagnostics_path(found)):
                if path.exists():
                    store.set_aside(path)
        if (where := keeping.checkpoints_of(cell.suite)) is not None:
            Checkpoints(where, cell.identity).put_aside()


def extended(one: Search, extension: Extension) -> str:
    """A line that says where a search goes beyond its ranges."""
    (name, variant), tried = key_of(one.cell), ", ".join(map(str, extension.tried))
    return (
        f"{name}:{variant}: {extension.place} {extension.chosen} is at the {extension.end} end of its range; "
        f"going on to {tried}"
    )
