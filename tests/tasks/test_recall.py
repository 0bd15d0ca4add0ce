"""Associative recall: nothing matches by accident, every query has the one right answer, and splits are their own."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from oscbench.suite.errors import explain
from oscbench.tasks.recall import NO_TARGET, Recall, RecallConfig

SMALL = {
    "num_keys": 12,
    "num_values": 5,
    "train_examples": 60,
    "validation_examples": 20,
    "test_examples": 31,
}


def made(**settings: object) -> Recall:
    return Recall(RecallConfig.model_validate({"num_pairs": 4, "length": 20, **SMALL, **settings}))


@pytest.mark.parametrize("gaps", ["uniform", "power_law"])
def test_a_reader_with_a_dictionary_is_always_right_and_nothing_matches_by_accident(gaps: str) -> None:
    task = made(gaps=gaps, num_pairs=[2, 6], num_fillers=3)
    first_key, first_value = task.config.first_key, task.config.first_value
    assert task.inputs.vocabulary == 3 + 12 + 5
    for batch in task.splits.values():
        assert {int((row != NO_TARGET).sum()) for row in batch.targets} == {2, 6}
        for tokens, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            pairs = sum(target != NO_TARGET for target in targets)
            bound = {
                key: value - first_value
                for key, value in zip(tokens[: 2 * pairs : 2], tokens[1 : 2 * pairs : 2], strict=True)
            }
            assert len(bound) == pairs
            assert all(first_key <= key < first_value for key in bound)
            assert all(0 <= value < 5 for value in bound.values())
            asked = {
                token: target for token, target in zip(tokens, targets, strict=True) if target != NO_TARGET
            }
            assert asked == bound
            others = [token for token, target in zip(tokens, targets, strict=True) if target == NO_TARGET]
            assert all(token < first_key for token in others[2 * pairs :])
            assert all(target == NO_TARGET for target in targets[: 2 * pairs])


def test_data_are_fixed_whatever_the_global_generator_and_splits_are_their_own() -> None:
    torch.manual_seed(1)
    one = made()
    torch.manual_seed(2)
    two = made()
    assert one.data_hash() == two.data_hash()
    assert one.data_hash() != made(gaps="power_law").data_hash()
    seen = [{tuple(row) for row in batch.inputs.tolist()} for batch in one.splits.values()]
    assert sum(len(part) for part in seen) == len(seen[0] | seen[1] | seen[2])
    assert [len(batch.targets) for batch in one.splits.values()] == [60, 20, 31]
    longer = made(train_examples=80)
    assert torch.equal(longer.splits["test"].inputs, one.splits["test"].inputs)


def test_power_law_asks_sooner_than_uniform_and_no_pair_is_preferred() -> None:
    size = {"train_examples": 4000, "length": 60, "num_pairs": 6}

    def places(gaps: str) -> torch.Tensor:
        """Where the pairs are asked, (examples, pairs), from the end of the pairs."""
        train = made(gaps=gaps, **size).splits["train"]
        keys = train.inputs[:, 0:12:2]
        return (train.inputs[:, None, 12:] == keys[:, :, None]).double().argmax(-1)

    uniform, soon = places("uniform"), places("power_law")
    assert uniform.double().mean().item() == pytest.approx(47 / 2, abs=0.5)
    assert soon.double().mean() < 15
    # Place 0 has weight 1, place 9 about a tenth of it.
    assert (soon == 0).sum() > 3 * (soon == 9).sum()
    by_pair = soon.double().mean(0)
    assert (by_pair.max() - by_pair.min()) / by_pair.mean() < 0.1


def test_only_queries_count() -> None:
    task = made(num_pairs=[2, 4])
    batch = next(task.batches("test", 8))
    asked = batch.targets != NO_TARGET
    right = torch.zeros(*batch.inputs.shape, 5)
    right[asked] = 50.0 * torch.nn.functional.one_hot(batch.targets[asked], 5).float()
    assert task.scores(right, batch).tolist() == [1.0] * (4 * 2 + 4 * 4)
    assert task.scores(-right, batch).sum() == 0
    disturbed = (
        right
        + 100.0 * torch.randn(right.shape, generator=torch.Generator().manual_seed(0)) * ~asked[..., None]
    )
    assert task.loss(disturbed, batch).item() == pytest.approx(0.0, abs=1e-6)


def test_subsets_part_the_queries_by_pairs() -> None:
    task = made(num_pairs=[2, 4])
    batch = next(task.batches("test", 8))
    parts = task.subsets(batch)
    assert {name: int(mask.sum()) for name, mask in parts.items()} == {"2_pairs": 8, "4_pairs": 16}
    assert bool((parts["2_pairs"] ^ parts["4_pairs"]).all())
    scores = task.scores(torch.zeros(*batch.inputs.shape, 5), batch)
    assert all(mask.shape == scores.shape for mask in parts.values())
    assert made().subsets(batch) == {}


def test_a_longer_sequence_has_as_many_pairs() -> None:
    longer = made().at_length(3)
    batch = next(longer.batches("test", 31))
    assert batch.inputs.shape == (31, 60)
    assert ((batch.targets != NO_TARGET).sum(1) == 4).all()
    assert longer.inputs.vocabulary == made().inputs.vocabulary


def test_order_comes_from_its_generator_alone() -> None:
    task = made()
    epochs = [
        list(task.training_batches(25, torch.Generator().manual_seed(seed), torch.Generator()))
        for seed in (0, 0, 1)
    ]
    assert [len(batch.targets) for batch in epochs[0]] == [25, 25, 10]
    assert torch.equal(epochs[0][0].inputs, epochs[1][0].inputs)
    assert not torch.equal(epochs[0][0].inputs, epochs[2][0].inputs)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"num_pairs": 30}, "30 distinct keys cannot be drawn from num_keys 12; raise num_keys"),
        ({"num_pairs": 8}, "8 pairs and their queries need 24 tokens, got 20; raise length"),
        ({"num_pairs": [2, 2]}, "num_pairs: a number stands there twice"),
        ({"num_pairs": []}, "task.num_pairs: got ()"),
        ({"num_pairs": "four"}, 'task.num_pairs: got "four"'),
        ({"gaps": "powerlaw"}, 'did you mean "power_law"?'),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RecallConfig.model_validate({"num_pairs": 4, "length": 20, **SMALL, **settings}, strict=True)
    text = explain(caught.value, RecallConfig, ("task",))
    assert expected in text
    assert "\n" not in text
