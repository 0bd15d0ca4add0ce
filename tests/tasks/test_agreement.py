"""Sentences of the published grammar: shares, labels, the ceiling, and what the model is asked."""

from __future__ import annotations

import pytest
import torch

from oscbench.tasks import Batch, agreement
from oscbench.tasks.agreement import (
    HARD,
    NOUN_PAIRS,
    PADDING,
    PREPOSITIONS,
    SHORT,
    VERB_PAIRS,
    WORDS,
    Agreement,
    AgreementConfig,
    sentences,
)

NUMBER_OF = {word: number for pair in (*NOUN_PAIRS, *VERB_PAIRS) for number, word in enumerate(pair)}
AMBIGUOUS = {pair[0] for pair in NOUN_PAIRS if pair[0] == pair[1]}


@pytest.fixture(scope="module")
def batch():
    return sentences(20_000, 0.6, seed=5)


def words(row):
    return [WORDS[index] for index in row.tolist()]


def test_lists_have_the_published_sizes():
    assert (len(NOUN_PAIRS), len(VERB_PAIRS), len(PREPOSITIONS)) == (50, 30, 7)
    assert len(set(WORDS)) == len(WORDS) == 170
    assert {"fish", "deer"} == AMBIGUOUS


def test_every_label_follows_from_the_words(batch):
    for row, (place, agrees, kind) in zip(batch.inputs[:2000], batch.targets[:2000].tolist(), strict=True):
        sentence = words(row)
        assert sentence[:2] == ["<bos>", "the"]
        assert place == (3 if kind == SHORT else 6)
        assert sentence[place + 1 :] == [".", "<eos>"] + ["<pad>"] * (3 if kind == SHORT else 0)
        subject, verb = sentence[2], sentence[place]
        if subject not in AMBIGUOUS:
            assert agrees == (NUMBER_OF[subject] == NUMBER_OF[verb])
            if kind != SHORT and sentence[5] not in AMBIGUOUS:
                assert (kind == HARD) == (NUMBER_OF[sentence[5]] != NUMBER_OF[subject])


def test_shares_are_the_published_ones(batch):
    kind, agrees = batch.targets[:, 2], batch.targets[:, 1]
    assert float((kind == SHORT).double().mean()) == pytest.approx(0.4, abs=0.015)
    assert float((kind == HARD).double().mean()) == pytest.approx(0.3, abs=0.015)
    assert float(agrees.double().mean()) == pytest.approx(0.5, abs=0.015)


def test_the_best_rule_stays_at_the_ceiling(batch):
    """Who knows the grammar and guesses at ambiguous subjects is right in 98.0 % of sentences."""
    right = []
    for row, (place, agrees, _) in zip(batch.inputs, batch.targets.tolist(), strict=True):
        subject, verb = WORDS[row[2]], WORDS[row[place]]
        right.append(0.5 if subject in AMBIGUOUS else (NUMBER_OF[subject] == NUMBER_OF[verb]) == agrees)
    assert sum(right) / len(right) == pytest.approx(0.98, abs=0.003)


def test_splits_are_drawn_apart_and_repeat_themselves():
    small = AgreementConfig(training_sentences=300, validation_sentences=100, test_sentences=100)
    first, again = Agreement(small), Agreement(small)
    assert first.data_hash() == again.data_hash()
    assert first.data_hash() != Agreement(small.model_copy(update={"distractors": 0.5})).data_hash()
    rows = {split: {tuple(row) for row in part.inputs[:100].tolist()} for split, part in first.splits.items()}
    assert rows["validation"] != rows["test"] != rows["train"]


def test_the_logit_is_read_at_the_verb_and_scored_by_kind(batch):
    task = Agreement(AgreementConfig(training_sentences=1, validation_sentences=1, test_sentences=1))
    some = Batch(batch.inputs[:500], batch.targets[:500])
    prediction = torch.full((500, 9, 1), -50.0)  # anywhere else: sure that it does not agree
    rows = torch.arange(500)
    prediction[rows, some.targets[:, 0], 0] = some.targets[:, 1] * 100.0 - 50.0
    assert task.scores(prediction, some).mean() == 1.0
    assert float(task.loss(prediction, some)) < 1e-6
    hard = task.subsets(some)["hard"]
    prediction[hard, some.targets[hard, 0], 0] *= -1
    scores = task.scores(prediction, some)
    assert scores[hard].sum() == 0
    assert scores[~hard].mean() == scores[task.subsets(some)["simple"]].mean() == 1.0


def test_padding_is_the_backbone_s_padding(batch):
    assert Agreement.inputs.padding == PADDING
    assert bool((batch.inputs[:, -3:] == PADDING).all(1).eq(batch.targets[:, 2] == SHORT).all())


def test_there_are_as_many_simple_sentences_as_the_module_says() -> None:
    nouns, verbs = (
        {form for pair in pairs for form in pair} for pairs in (agreement.NOUN_PAIRS, agreement.VERB_PAIRS)
    )
    assert f"{len(nouns) * len(verbs):,} different simple sentences" in " ".join(
        str(agreement.__doc__).split()
    )
