"""Longer inputs: the same text in longer windows, refusals as records, and nothing where there is no length."""

from __future__ import annotations

import pytest
import torch
from command_line import records, run

from oscbench.measures import Subject
from oscbench.measures.length import Length, LengthConfig
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.tasks import LengthError
from oscbench.tasks.char_lm import CharLM, CharLMConfig
from oscbench.tasks.digits import Digits, DigitsConfig


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(
        bytes(torch.randint(97, 123, (4000,), generator=torch.Generator().manual_seed(1)).tolist())
    )
    return path


def subject(text, mechanism, position="auto"):
    from oscbench import catalog

    task = CharLM(CharLMConfig(path=str(text), length=16, evaluation_windows=4))
    mechanism_class = catalog.load("mechanisms", mechanism)
    config = SequenceConfig(width=16, heads=2, layers=1, position=position)
    model = Sequence(config, task.inputs, mechanism_class, mechanism_class.Config(), hidden=8, seed=0)
    probe = next(task.batches("validation", 4))
    return Subject(model, task, probe, torch.device("cpu"), 4)


def at(subject, *factors):
    return Length(LengthConfig(factors=list(factors))).after(subject).measures


def test_the_training_length_is_the_metric_itself(text):
    where = subject(text, "rope")
    (found,) = at(where, 1).values()
    score = where.task.evaluate(where.model, "test", where.device)["bits_per_character"]
    assert found.value == pytest.approx(score.value, rel=1e-6)
    assert found.n == score.count == 4 * 16


def test_longer_windows_are_longer(text):
    found = at(subject(text, "rope"), 1, 2, 3)
    assert list(found) == [f"bits_per_character_at_{factor}x" for factor in (1, 2, 3)]
    assert [entry.n for entry in found.values()] == [64, 128, 192]
    assert all(entry.reason is None and entry.value > 0 for entry in found.values())


@pytest.mark.parametrize(
    ("mechanism", "position"), [("fixed_query", "none"), ("rope", "learned"), ("softmax", "auto")]
)
def test_what_ends_at_the_training_length_is_unsupported_beyond(text, mechanism, position):
    found = at(subject(text, mechanism, position), 1, 2)
    assert found["bits_per_character_at_1x"].value is not None
    beyond = found["bits_per_character_at_2x"]
    assert beyond.value is None
    assert beyond.reason.startswith("unsupported: ")
    assert "16" in beyond.reason, "the reason names how far it reaches"


def test_text_too_short_for_a_window_is_unavailable(text):
    beyond = at(subject(text, "rope"), 100)["bits_per_character_at_100x"]
    assert beyond.value is None
    assert beyond.reason == (
        "unavailable: the text's validation part has 200 bytes, a context 100 times as long needs 1,601"
    )


def test_images_have_no_length():
    with pytest.raises(LengthError, match="inputs of this task have no other length"):
        Digits(DigitsConfig()).at_length(2)


def test_in_a_suite_a_refusal_costs_nothing_else(tiny, tmp_path, text):
    suite = tiny(
        task=f"{{name: char_lm, path: {text}, length: 16, windows: 32, evaluation_windows: 4}}",
        model="{width: 16, heads: 2, layers: 1}",
        train="{steps: 2, batch_size: 16}",
        mechanisms="[fixed_query]",
        measures="[params, {name: length, factors: [1, 2]}]",
    )
    assert run(suite, tmp_path / "results") == 0
    (record,) = records(tmp_path / "results").values()
    assert record.status == "ok"
    assert record.measures["bits_per_character_at_1x"].value == pytest.approx(
        record.measures["bits_per_character"].value
    )
    assert record.measures["bits_per_character_at_2x"].reason.startswith("unsupported: ")
