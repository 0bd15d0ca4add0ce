"""The contract of tasks: metrics that are means of scores, and those that are made of sums over a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from oscbench.models.trunk import Output
from oscbench.runner.scores import scored
from oscbench.tasks import Batch, Metric, Score, Split, Task, UnscoredError
from oscbench.tasks.digits import Digits, DigitsConfig

CPU = torch.device("cpu")


class Ratio(Task):
    """A metric that is no mean of examples: the sum of all answers over the sum of all truths."""

    label = "ratio"
    metric = Metric("ratio", "test ratio", "fraction", "higher")
    backbone = "vision"
    num_training_examples = 0

    def __init__(self, config: Any = None) -> None:
        self.truth = torch.tensor([1.0, 2.0, 3.0, 10.0])

    def tensors(self) -> dict[str, Tensor]:
        return {"truth": self.truth}

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        yield from ()

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        for part in self.truth.split(batch_size):
            yield Batch(part, part)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        return (prediction - batch.targets).square().mean()

    def count(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"answers": prediction.sum(), "truths": batch.targets.sum(), "most": (prediction > 2).sum()}

    def finish(self, counts: Any) -> dict[str, Score]:
        value = float(counts["answers"] / counts["truths"])
        large = Score(float(counts["most"]), 4, {"limit": 2})
        return {"ratio": Score(value, 4), "large_answers": large}

    def metric_named(self, name: str) -> Metric:
        return Metric(name, name.replace("_", " "), "fraction" if name == "ratio" else "answers", "higher")


class Half(torch.nn.Module):
    def forward(self, inputs: Tensor) -> Output:
        return Output(torch.where(inputs > 5, inputs / 2, inputs))


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_sums_over_a_split_make_a_metric_however_it_is_cut(batch_size: int) -> None:
    found = Ratio().evaluate(Half(), "test", CPU, batch_size)
    assert found["ratio"].value == pytest.approx(11 / 16)
    assert found["large_answers"].value == 2


def test_records_name_each_metric_as_the_task_does_and_keep_its_details() -> None:
    found = scored(Ratio(), Half(), CPU)
    assert set(found) == {"ratio", "large_answers", "validation_ratio", "validation_large_answers"}
    assert (found["large_answers"].unit, found["large_answers"].label) == ("answers", "large answers")
    assert found["large_answers"].details == {"limit": 2}
    assert found["validation_large_answers"].unit == "answers"


class Answer(torch.nn.Module):
    """Says 3 to every digit."""

    def forward(self, inputs: Tensor) -> Output:
        return Output(torch.nn.functional.one_hot(torch.full((len(inputs),), 3), 10).float())


def test_by_default_a_metric_is_the_mean_of_scores_and_subsets_are_named_after_it() -> None:
    class Parted(Digits):
        def subsets(self, batch: Batch) -> dict[str, Tensor]:
            return {"threes": batch.targets == 3, "none": batch.targets == 11}

    task = Parted(DigitsConfig())
    found = task.evaluate(Answer(), "test", CPU, 64)
    threes = task.splits["test"].targets == 3
    assert found["accuracy"] == Score(float(threes.double().mean()), 500)
    assert found["accuracy_threes"] == Score(1.0, int(threes.sum()))
    assert "accuracy_none" not in found
    assert task.metric_named("accuracy_threes").label == "test accuracy, threes"
    assert scored(task, Answer(), CPU)["accuracy_threes"].label == "test accuracy, threes"


def test_a_task_without_scores_says_so() -> None:
    with pytest.raises(UnscoredError, match="Ratio scores no single example"):
        Ratio().scores(torch.zeros(1), Batch(torch.zeros(1), torch.zeros(1)))
