"""A dry run: what would run, how large it is, and how long a timed step says it would take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

from oscbench.records import Record, Store
from oscbench.records.schema import FINAL
from oscbench.runner.cell_spec import Cell
from oscbench.runner.kind import Preview
from oscbench.runner.kinds import kind_of
from oscbench.runner.terminal.estimate import total_seconds
from oscbench.runner.training.search import Search, key_of


def preview(cells: list[Cell], store: Store) -> list[Preview]:
    """Sizes and estimates; each mechanism and variant is built and timed once."""
    measured: dict[tuple[str, str], Preview] = {}
    found = []
    for cell in cells:
        key = (cell.spec["mechanism"]["name"], cell.spec["variant"])
        if key not in measured:
            measured[key] = kind_of(cell.spec).preview(cell)
        record = store.find(cell.suite, cell.identity, tidy=False)
        there = record is not None and record.status in FINAL
        found.append(replace(measured[key], cell=cell, there=there))
    return found


@dataclass(frozen=True)
class SearchPreview:
    """One search before it runs, or goes on.

    Attributes:
        search: which, with the trials that are there.
        like: one of its reported cells, as large as a trial cell.
        rounds: trial cells that are left, of each trial: the first may be there in part.
    """

    search: Search
    like: Preview
    rounds: tuple[int, ...]

    @property
    def estimate(self) -> float:
        """Seconds of a trial cell."""
        steps, whole = self.search.tune.steps, self.like.steps
        return self.like.estimate * (steps / whole if steps and whole else 1.0)

    @property
    def left(self) -> int:
        """Trial cells that have still to run."""
        return sum(self.rounds)

    @property
    def total(self) -> int:
        """All trial cells, there or not, and those beyond a range once they are lined up; a small space has no more than it holds."""
        further = sum(row.extension > 0 for row in self.search.rows) + self.search.num_further
        return (self.search.distinct_trials + further) * self.search.tune.seeds

    def row(self) -> dict[str, object]:
        """Its line in the table of a dry run."""
        name, variant = key_of(self.search.cell)
        count = f"{self.left} cell{'s' if self.left > 1 else ''}"
        like = self.like
        spent = like.trouble or f"{self.left * self.estimate:.0f} for {count}"
        return {
            "task": self.search.cell.spec["task"]["name"],
            "mechanism": name,
            "variant": variant,
            "position": self.search.cell.given.get("position", ""),
            "seed": f"{self.search.tune.trials} trials × {self.search.tune.seeds}",
            "params": "" if like.params is None else f"{like.params:,}",
            "MFLOP/sample": "" if like.flops is None else f"{like.flops / 1e6:.2f}",
            "residual": "" if like.residual is None else f"{like.residual:+.2%}",
            "seconds": spent if self.left else "there",
        }


def there(asked: list[Cell], store: Store) -> list[Record]:
    """Records that need not be computed."""
    found = [store.find(cell.suite, cell.identity, tidy=False) for cell in asked]
    return [record for record in found if record is not None and record.status in FINAL]


def preview_search(one: Search, previews: list[Preview], store: Store) -> SearchPreview:
    """What is left of a search that has been given all trials that are there."""
    like = max((p for p in previews if key_of(p.cell) == key_of(one.cell)), key=lambda p: p.estimate)
    if one.finished:
        return SearchPreview(one, like, ())
    asked = one.ask()
    begun = len(asked) - len(there(asked, store))
    if one.num_further:
        return SearchPreview(one, like, (begun, *[one.tune.seeds] * (one.num_further - 1)))
    new = one.distinct_trials - sum(not row.repeats for row in one.rows)
    return SearchPreview(one, like, (begun, *[one.tune.seeds] * max(0, new - 1)))


def search_seconds(found: list[SearchPreview], jobs: int) -> float:
    """Estimated wall-clock seconds: the searches go on together, but each waits for a trial before it asks for the next."""
    seconds = 0.0
    for counts in zip_longest(*(one.rounds for one in found), fillvalue=0):
        cells = [one.estimate for one, count in zip(found, counts, strict=True) for _ in range(count)]
        seconds += total_seconds(cells, jobs)
    return seconds
