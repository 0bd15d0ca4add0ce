"""The ledger of a search: what every mechanism was given, what it cost, what came out, and what was chosen (no torch)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from oscbench import words
from oscbench.records import packed
from oscbench.records.identity import digest
from oscbench.records.reading import contents
from oscbench.records.schema import Status
from oscbench.records.store import LEDGER_SUFFIX, ResultsError, Store, suite_name
from oscbench.records.writing import in_one_step


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Extension(_Frozen):
    """A range that a search went beyond by itself, since its choice stood at an end.

    Attributes:
        place: of the setting.
        end: `low` or `high`.
        chosen: the value that stood there.
        tried: values beyond it.
    """

    place: str
    end: Literal["low", "high"]
    chosen: Any
    tried: tuple[Any, ...]


class TrialRow(_Frozen):
    """One trial.

    Attributes:
        values: place -> what was chosen.
        score: mean over the scoring seeds, null where one of them has none.
        scores: of each scoring seed, in order.
        statuses: of each scoring seed's cell.
        identities: of these cells.
        repeats: the trial is a choice that was made before, since the space holds no more; it cost nothing again.
        extension: 0 for the trials that every entry has; 1 and 2 for those beyond its ranges.
        seconds: all its cells took.
        training_flops: of the steps that all its cells took; null where FLOPs were not counted.
    """

    values: dict[str, Any]
    score: float | None
    scores: tuple[float | None, ...]
    statuses: tuple[Status, ...]
    identities: tuple[str, ...]
    repeats: bool
    extension: int = 0
    seconds: float
    training_flops: float | None


class LedgerEntry(_Frozen):
    """The search of one mechanism and variant.

    Attributes:
        space: place -> what could be chosen.
        given: what the suite itself says of these places, as a trial has it; null where part of it lies outside the space.
        trials: all, in order.
        chosen: values of the best trial; empty where none ended well, and the suite's own values then hold.
        score: of the chosen values; null where no trial ended well.
        seconds: of all trials.
        training_flops: of all trials; null where a trial has none.
        by_setting: place -> (value, score) of every trial that has a score, by value.
        finished: all trials have run.
        extensions: ranges that it went beyond, in order.
    """

    mechanism: str
    variant: str
    space: dict[str, Any]
    given: dict[str, Any] | None = None
    trials: tuple[TrialRow, ...]
    chosen: dict[str, Any]
    score: float | None
    seconds: float
    training_flops: float | None
    by_setting: dict[str, tuple[tuple[Any, float], ...]]
    finished: bool
    extensions: tuple[Extension, ...] = ()

    @property
    def reached(self) -> dict[str, Any]:
        """The space with what its extensions took in."""
        found = {place: dict(axis) for place, axis in self.space.items()}
        for one in self.extensions:
            axis = found[one.place]
            if "choices" in axis:
                axis["choices"] = [*axis["choices"], *one.tried]
            else:
                axis["low"], axis["high"] = min(axis["low"], *one.tried), max(axis["high"], *one.tried)
        return found

    @property
    def chosen_trial(self) -> TrialRow | None:
        """The trial whose values were chosen; None where no trial ended well."""
        if self.score is None:
            return None
        rows = (row for row in self.trials if row.values == self.chosen and row.score == self.score)
        return next(rows, None)

    @property
    def given_trial(self) -> TrialRow | None:
        """The trial of what the suite itself gives, which is the first one where the space holds it."""
        if self.given is None:
            return None
        return next((row for row in self.trials if row.values == self.given), None)


class Ledger(_Frozen):
    """All searches of a suite.

    Attributes:
        suite: label of the reported records.
        trial_suite: label of the trials' records.
        trials: that every entry was granted.
        scoring_seeds: of every trial.
        metric: by which trials are scored, on validation.
        direction: of the metric.
        sampler: what drew the values, with version and seed.
        request: hash of what all entries share; an older ledger with another one is replaced, not continued.
        entries: one a mechanism and variant.
    """

    schema_version: Literal[1] = 1
    suite: str
    trial_suite: str
    trials: int
    scoring_seeds: tuple[int, ...]
    metric: str
    direction: Literal["higher", "lower"]
    sampler: str
    request: str
    entries: tuple[LedgerEntry, ...]


def trial_label(suite: str) -> str:
    """The label of trials: `digits` -> `digits[tune]`, `digits[train.epochs=3]` -> `digits[train.epochs=3,tune]`."""
    return f"{suite[:-1]},tune]" if suite.endswith("]") else f"{suite}[tune]"


def is_trial(suite: str) -> bool:
    """Whether records of this label are trials of a search, which are kept and not reported."""
    return suite.endswith(("[tune]", ",tune]"))


def ledger_path(store: Store, suite: str) -> Path:
    """Where the ledger of a suite's label lies, beside its records."""
    mark = "" if suite == suite_name(suite) else f"-{words.mark(suite)}"
    return store.folder(suite) / f"tuning{mark}{LEDGER_SUFFIX}"


def read_ledger(path: Path) -> Ledger | None:
    """The ledger in a file; None where there is none, or none that can be read."""
    try:
        packed.regular(path)
        return Ledger.model_validate_json(path.read_bytes())
    except (OSError, ValidationError, packed.UnreadableError):
        return None


def find_ledgers(root: Path) -> Iterator[tuple[Store, Ledger]]:
    """Every ledger among the records below a folder, with the store that holds its trials, in a stable order."""
    store = Store(root)
    for path in store.files(LEDGER_SUFFIX):
        ledger = read_ledger(path)
        if ledger is not None:
            yield Store(path.parent.parent, store.tell), ledger
    for path in store.files(packed.SUFFIX):
        for text in contents(path).ledgers:
            with contextlib.suppress(ValidationError):
                yield Store(path.parent, store.tell), Ledger.model_validate_json(text)


def shared_request(tune: Mapping[str, Any], protocol: str) -> str:
    """Hash of what all entries of a search share: what was asked for, and under which protocol."""
    return digest({"tune": tune, "protocol": protocol})


def _continues(earlier: LedgerEntry, entry: LedgerEntry) -> bool:
    """Whether an earlier search has all trials of this one, and more: a run that goes through them again was interrupted there."""
    first, second = ([row.identities for row in one.trials] for one in (earlier, entry))
    return len(first) > len(second) and first[: len(second)] == second


def write_ledger(store: Store, ledger: Ledger) -> Path:
    """Write a ledger in one step; entries of an earlier one stay where this run left them out (`--only`), or has not come so far again.

    Raises:
        ResultsError: the file system refuses.
    """
    path = ledger_path(store, ledger.suite)
    with store.alone(ledger.suite, "ledger"):
        return _merged(path, ledger)


def _merged(path: Path, ledger: Ledger) -> Path:
    earlier = read_ledger(path)
    if earlier is not None and earlier.request == ledger.request:
        entries = {(entry.mechanism, entry.variant): entry for entry in earlier.entries}
        for entry in ledger.entries:
            before = entries.get((entry.mechanism, entry.variant))
            if before is None or not _continues(before, entry):
                entries[entry.mechanism, entry.variant] = entry
        ledger = ledger.model_copy(update={"entries": tuple(entries.values())})
    try:
        with in_one_step(path) as file:
            file.write(ledger.model_dump_json(indent=1).encode())
    except OSError as error:
        raise ResultsError(f"{path}: ledger cannot be written ({error.strerror})") from error
    return path
