"""What is asked of a task's data once they are there: that something can be trained and tested on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oscbench.errors import PartError, kind_of

if TYPE_CHECKING:
    from torch import Tensor

    from oscbench.tasks import Split, Task


def task_name(task: object) -> str:
    """What messages call a task: the name of its file."""
    return type(task).__module__.rpartition(".")[2]


def not_empty(task: Task) -> None:
    """Refuse a split without examples; of each the first is read, and nothing more.

    Raises:
        PartError: names the task and the split.
    """
    empty = ["train"] if task.num_training_examples < 1 else []
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        first = next(iter(task.batches(split, 1)), None)
        empty += [split] if first is None or not len(first.targets) else []
    if empty:
        raise PartError(f"task {task_name(task)}: split {empty[0]} is empty")


def whole(task: object, splits: Mapping[str, Any]) -> None:
    """Refuse splits in memory that are missing, empty, of unequal parts, or hold numbers that are none.

    Raises:
        PartError: names the task and the split.
    """
    for split in ("train", "validation", "test"):
        where, data = f"task {task_name(task)}: split {split}", splits.get(split)
        if not (hasattr(data, "inputs") and hasattr(data, "targets")):
            there = f"there are: {', '.join(splits)}" if splits else "there are none"
            wrong = "is missing" if split not in splits else f"is {kind_of(data)}, and no Batch"
            raise PartError(f"{where} {wrong}; {there}")
        assert data is not None
        if len(data.inputs) != len(data.targets):
            raise PartError(f"{where} has {len(data.inputs):,} inputs and {len(data.targets):,} targets")
        if not len(data.targets):
            raise PartError(f"{where} is empty")
        numbers = data.inputs.is_floating_point() and data.inputs.numel()
        if numbers and not all(end.isfinite() for end in data.inputs.aminmax()):  # both hand NaN on
            raise PartError(f"{where} has inputs that are not finite")


def tokens(task: object, splits: Mapping[str, Any], vocabulary: int) -> None:
    """Refuse ids of tokens that no embedding has a row for.

    Raises:
        PartError: names the task and the split.
    """
    for split, data in splits.items():
        _below(f"task {task_name(task)}: split {split}", "token", data.inputs, vocabulary)


def classes(task: object, splits: Mapping[str, Any], count: int) -> None:
    """Refuse targets that are no class of so many, or no class at all.

    Raises:
        PartError: names the task and the split.
    """
    for split, data in splits.items():
        where, targets = f"task {task_name(task)}: split {split}", data.targets
        if targets.is_floating_point() or targets.is_complex():
            raise PartError(f"{where} has targets in {targets.dtype}; wanted: a class each, in torch.int64")
        _below(where, "class", targets, count)


def _below(where: str, what: str, numbers: Tensor, count: int) -> None:
    """Refuse numbers that are not from 0 to one less than so many."""
    low, high = (int(end) for end in numbers.aminmax())
    if low < 0 or high >= count:
        raise PartError(f"{where} has the {what} {low if low < 0 else high}; its inputs say 0 to {count - 1}")
