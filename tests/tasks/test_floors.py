"""Floors: counting against its literal equations, bags that know no order, and every task's own in the form that it scores."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from oscbench import catalog
from oscbench.tasks import word_lm
from oscbench.tasks.agreement import Agreement, AgreementConfig
from oscbench.tasks.char_lm import CharLM, CharLMConfig
from oscbench.tasks.digits import Digits, DigitsConfig
from oscbench.tasks.recall import Recall, RecallConfig
from oscbench.tasks.support.floors import STRENGTHS, best_logistic, histogram, logistic, moments
from oscbench.tasks.support.text.ngrams import NGrams, frequencies

CPU = torch.device("cpu")
VOCABULARY = 5


def grams(rows: list[list[int]], length: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row[at : at + length]) for row in rows for at in range(len(row) - length + 1))


def discounts(counts: Counter[tuple[int, ...]]) -> list[float]:
    """D1, D2 and D3+ of eq. 26 of Chen and Goodman."""
    n = [sum(count == number for count in counts.values()) for number in (1, 2, 3, 4)]
    if not all(n):
        return [0.5, 0.5, 0.5]
    y = n[0] / (n[0] + 2 * n[1])
    found = [1 - 2 * y * n[1] / n[0], 2 - 3 * y * n[2] / n[1], 3 - 4 * y * n[3] / n[2]]
    return [min(max(one, 0.0), most) for most, one in enumerate(found, start=1)]


def literal(rows: list[list[int]], context: list[int], token: int, order: int) -> float:
    """Modified Kneser-Ney as its equation has it, from the definition of each count."""
    length = len(context) + 1
    if length == order:
        counts = grams(rows, length)
    else:
        longer = {gram for row in rows for gram in grams([row], length + 1)}
        begun = {tuple(row[:length]) for row in rows if len(row) >= length}
        counts = Counter([gram[1:] for gram in longer] + list(begun))
    below = literal(rows, context[1:], token, order) if context else 1 / VOCABULARY
    after = {gram[-1]: count for gram, count in counts.items() if list(gram[:-1]) == context}
    if not after:
        return below
    d = discounts(counts)
    total = sum(after.values())
    free = sum(d[min(count, 3) - 1] for count in after.values())
    own = after.get(token, 0)
    return (own - d[min(own, 3) - 1] if own else 0.0) / total + free / total * below


@pytest.mark.parametrize(("length", "order"), [(400, 3), (60, 3), (90, 4), (90, 1)])
def test_counts_are_smoothed_as_the_equation_says(length: int, order: int) -> None:
    text = (
        torch.randint(0, 4, (length,), generator=torch.Generator().manual_seed(0)) % 3
        + torch.arange(length) % 2
    )
    rows = torch.tensor([[0, 1, 2, 3, 4, 0, 1], [3, 3, 1, 0, 2, 2, 2]])
    found = NGrams(text, VOCABULARY, order=4).log_probabilities(rows, order).exp().double()
    assert torch.allclose(found.sum(-1), torch.ones(2, 7).double(), atol=1e-6)
    for row in range(2):
        for place in range(7):
            context = rows[row, max(0, place - order + 2) : place + 1].tolist() if order > 1 else []
            for token in range(VOCABULARY):
                expected = literal([text.tolist()], context, token, order)
                assert float(found[row, place, token]) == pytest.approx(expected, rel=1e-5)


def test_what_validation_is_asked_by_is_what_is_predicted() -> None:
    """Of the tokens that follow alone, and of all."""
    rows = torch.randint(0, VOCABULARY, (30, 9), generator=torch.Generator().manual_seed(4))
    counted = NGrams(rows[:20], VOCABULARY, order=4)
    inputs, targets = rows[15:, :-1], rows[15:, 1:]
    for order in (1, 2, 3, 4):
        every = counted.log_probabilities(inputs, order).exp()
        alone = counted.probabilities(inputs, targets, order).float()
        assert torch.allclose(every.gather(-1, targets[..., None])[..., 0], alone, rtol=1e-5)


def test_rows_begin_anew() -> None:
    """What stands first in a row has been preceded by nothing, which is one kind of thing; no context reaches over a row."""
    rows = torch.randint(0, VOCABULARY, (20, 5), generator=torch.Generator().manual_seed(1))
    found = NGrams(rows, VOCABULARY, order=3).log_probabilities(rows[:2]).exp().double()
    for place in range(5):
        context = rows[0, max(0, place - 1) : place + 1].tolist()
        for token in range(VOCABULARY):
            assert float(found[0, place, token]) == pytest.approx(
                literal(rows.tolist(), context, token, 3), rel=1e-5
            )


def test_padding_is_never_predicted() -> None:
    rows = torch.tensor([[1, 2, 0, 0], [3, 4, 3, 0]])
    counted = NGrams(rows, VOCABULARY, order=2, ignored=0)
    found = counted.log_probabilities(torch.tensor([[2]])).exp()[0, 0]
    # 2 is followed by padding alone, so that nothing was counted after it, and single tokens decide: 1 and 3 at a beginning, 2, 4, 3 later.
    kept = torch.tensor([0.0, 0.5, 0.5, 1.5, 0.5]) / 5
    assert torch.allclose(found, kept + 2.0 / 5 / VOCABULARY)
    shares = frequencies(rows, VOCABULARY, ignored=0).exp()
    assert float(shares[0]) == pytest.approx(4 * 0.2 / (5 + 4))
    assert float(shares.sum()) == pytest.approx(1.0)


def test_validation_chooses_how_far_counting_looks() -> None:
    """A text that repeats itself every seven tokens is known from its last three; noise from none."""
    text = torch.tensor([0, 1, 0, 2, 0, 1, 3] * 60)
    counted = NGrams(text, VOCABULARY, order=6)
    assert counted.chosen([(text[None, :50], text[None, 1:51])]) >= 4
    noise = torch.randint(0, VOCABULARY, (500,), generator=torch.Generator().manual_seed(2))
    other = torch.randint(0, VOCABULARY, (1, 201), generator=torch.Generator().manual_seed(3))
    counted = NGrams(noise, VOCABULARY, order=6)
    order = counted.chosen([(other[:, :-1], other[:, 1:])])
    costs = [counted._cost(other[:, :-1], other[:, 1:], one) for one in range(2, 7)]
    assert order == 2 + costs.index(min(costs)) == 2


def test_rows_of_joined_words_end_where_all_do() -> None:
    """The floor knows it, as a model with positions does; elsewhere no row ends, and what it said of other words is scaled."""
    told = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    ended = word_lm._ended(told).exp()
    assert torch.allclose(ended.sum(-1), torch.ones(2, 4), atol=1e-6)
    assert torch.equal(ended[:, -1, word_lm.EOS], torch.ones(2))
    assert not ended[:, :-1, word_lm.EOS].any()
    assert torch.allclose(ended[0, 0, 3] / ended[0, 0, 4], (told[0, 0, 3] - told[0, 0, 4]).exp())


def test_a_histogram_does_not_see_where_and_a_mean_of_frames_not_when() -> None:
    images = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    from oscbench.tasks import Batch

    bag = histogram([Batch(images, torch.zeros(6))], bins=4)
    shuffled = images.flatten(2)[..., torch.randperm(16)].view_as(images)
    assert torch.allclose(bag(images), bag(shuffled))
    assert bag(images).shape == (6, 8)
    assert torch.allclose(bag(images).view(6, 2, 4).sum(-1), torch.ones(6, 2))
    frames = torch.rand(3, 7, 5)
    assert torch.allclose(moments(frames), moments(frames.flip(1)), atol=1e-6)


def test_logistic_regression_never_answers_what_training_lacks() -> None:
    from oscbench.tasks import Batch

    inputs = torch.cat((torch.zeros(20, 2), torch.ones(20, 2)))
    targets = torch.tensor([1] * 20 + [3] * 20)
    floor = logistic([Batch(inputs, targets)], lambda x: x, lambda y: y, 5)
    prediction = floor(torch.tensor([[0.0, 0.0], [1.0, 1.0]])).prediction
    assert prediction.argmax(-1).tolist() == [1, 3]
    assert prediction.shape == (2, 5)


def scored(task: Any, name: str) -> dict[str, float]:
    return {key: score.value for key, score in task.evaluate(task.floor(name), "test", CPU).items()}


def test_digits_are_told_by_their_ink_only_a_little() -> None:
    task = Digits(DigitsConfig())
    assert set(Digits.floors(task.config)) == {"chance", "bag"}
    chance, bag = scored(task, "chance")["accuracy"], scored(task, "bag")["accuracy"]
    most = int(torch.bincount(task.splits["train"].targets).argmax())
    assert chance == pytest.approx(float((task.splits["test"].targets == most).float().mean()))
    assert 0.2 < bag < 0.6


def test_a_bag_of_words_does_not_know_who_agrees() -> None:
    task = Agreement(AgreementConfig(training_sentences=2000, validation_sentences=100, test_sentences=1000))
    found = scored(task, "bag")
    assert abs(found["accuracy"] - 0.5) < 0.06
    assert {"accuracy_simple", "accuracy_hard"} <= set(found)
    assert Agreement.failure is not None
    assert Agreement.failure.metric in found


def test_recall_of_any_value_is_right_once_in_so_many_pairs() -> None:
    config = RecallConfig(num_pairs=[2, 8], length=32, train_examples=200, test_examples=2000)
    found = scored(Recall(config), "bag")
    assert found["accuracy_2_pairs"] == pytest.approx(0.5, abs=0.05)
    assert found["accuracy_8_pairs"] == pytest.approx(1 / 8, abs=0.03)
    assert scored(Recall(config), "chance")["accuracy"] < 0.05


def test_counting_bytes_beats_their_frequencies(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    words = ["the", "cat", "sat", "on", "the", "mat", "and", "the", "dog", "ran", "to", "the", "cat"]
    generator = torch.Generator().manual_seed(0)
    path.write_text(" ".join(words[int(i)] for i in torch.randint(len(words), (5000,), generator=generator)))
    task = CharLM(CharLMConfig(path=str(path), length=32))
    frequencies, counted = (scored(task, name)["bits_per_character"] for name in ("chance", "ngram"))
    bits = torch.bincount(task.splits["train"].long(), minlength=256).double()
    entropy = -(bits / bits.sum()).xlogy(bits / bits.sum()).sum() / math.log(2)
    assert frequencies == pytest.approx(float(entropy), abs=0.05)
    assert counted < 0.6 * frequencies


@pytest.mark.parametrize("name", catalog.names("tasks"))
def test_floors_have_names_and_say_what_they_do(name: str) -> None:
    task = catalog.load("tasks", name)
    floors = task.floors(task.Config())
    assert not floors or "chance" in floors
    assert all(text and not text.endswith(".") for text in floors.values())


def test_a_linear_model_of_digits_sees_where_pixels_stand() -> None:
    """And so reads nearly all of them, at the strength that validation prefers; a bag of the same pixels does not."""
    task = Digits(DigitsConfig())
    assert list(Digits.references(task.config)) == ["linear"]
    score = task.evaluate(task.floor("linear"), "test", CPU)["accuracy"].value
    assert 0.96 < score < 0.99
    assert task.evaluate(task.floor("bag"), "test", CPU)["accuracy"].value < 0.4
    chosen = [
        best_logistic(task.fitting(), task.batches("validation", 256), lambda x: x.flatten(1), 10, [strength])
        for strength in STRENGTHS
    ]
    rights = [task.evaluate(one, "validation", CPU)["accuracy"].value for one in chosen]
    found = task.evaluate(task.floor("linear"), "validation", CPU)["accuracy"].value
    assert found == max(rights) > min(rights)
