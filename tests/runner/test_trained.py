"""Kept weights at work again: read by name, scored on other data and lengths, and continuing a text."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
import torch
from command_line import records, run

import oscbench
from oscbench import evaluate, load_model
from oscbench.errors import UserError
from oscbench.records import Store
from oscbench.runner.trained import TrainedModelError, task_for
from oscbench.runner.training import room
from oscbench.runner.training.specs import Parts

LANGUAGE = {
    "task": "{name: char_lm, length: 32, windows: 64, evaluation_windows: 4}",
    "model": "{width: 16, heads: 2, layers: 2}",
    "train": "{epochs: 1, batch_size: 16}",
    "mechanisms": "[{name: softmax}, {name: rope}]",
    "seeds": 1,
    "floors": "false",
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A results folder with two models of digits and their weights."""
    folder = tmp_path_factory.mktemp("digits")
    suite = folder / "small.yaml"
    suite.write_text(
        "task: digits\nmodel: {width: 16, heads: 2, layers: 1, patch: 4}\ntrain: {epochs: 1, batch_size: 256}\n"
        "mechanisms: [softmax, kope]\nseeds: 1\nfloors: false\n"
    )
    assert run(suite, folder / "results", keep=["weights"]) == 0
    return folder / "results"


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """The same of bytes."""
    folder = tmp_path_factory.mktemp("language")
    suite = folder / "bytes.yaml"
    suite.write_text("\n".join(f"{key}: {value}" for key, value in LANGUAGE.items()))
    assert run(suite, folder / "results", keep=["weights"]) == 0
    return folder / "results"


def test_a_model_is_loaded_by_record_identity_or_file(digits):
    record = records(digits)["kope", "default", 0]
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = oscbench.load_model(record, digits)(images).prediction
    store = Store(digits)
    for name in (record.identity, record.identity[:8], store.path_of(record), store.weights_path(record)):
        assert torch.equal(oscbench.load_model(name, digits)(images).prediction, wanted), name
    frame = oscbench.load(digits)
    named = frame.loc[frame["mechanism"] == "kope", "identity"].iloc[0]
    assert torch.equal(oscbench.load_model(named, digits)(images).prediction, wanted)


def test_a_trained_model_scores_what_its_record_says_and_otherwise_on_other_data(digits):
    for (mechanism, _, _), record in records(digits).items():
        scores = oscbench.evaluate(record, results=digits).set_index("measure")
        assert scores.loc["accuracy", "value"] == record.measures["accuracy"].value, mechanism
        assert scores.loc["accuracy", "n"] == record.measures["accuracy"].n
        other = oscbench.evaluate(record, split="validation", results=digits).set_index("measure")
        assert other.loc["accuracy", "value"] == record.measures["validation_accuracy"].value


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"split": "train"}, 'split: got "train"; allowed: validation and test'),
        ({"length": 0}, "length: got 0; it is how many times the task's own"),
        ({"length": 1.5}, "length: got 1.5; it is how many times the task's own"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(language, given, told):
    record = records(language)["rope", "default", 0]
    with pytest.raises(UserError, match=re.escape(told)):
        oscbench.evaluate(record, results=language, **given)


def test_numbers_of_numpy_and_devices_of_torch_are_what_they_stand_for(digits, language):
    kope, rope = records(digits)["kope", "default", 0], records(language)["rope", "default", 0]
    scores = oscbench.evaluate(kope, length=np.int64(1), device=torch.device("cpu"), results=digits)
    assert scores.set_index("measure").loc["accuracy", "value"] == kope.measures["accuracy"].value
    told = [oscbench.generate(rope, num_tokens=5, seed=s, results=language) for s in (np.int64(4), 4)]
    assert told[0] == told[1]
    with pytest.raises(UserError, match="seed: got 18446744073709551616; a whole number of 64 bits"):
        oscbench.generate(rope, seed=2**64, results=language)
    cut = oscbench.generate(rope, "a\udcff", num_tokens=1, temperature=0.0, results=language)
    assert cut.startswith("a\ufffd"), "a byte of a command line that is no UTF-8 is a byte"


def test_a_text_is_scored_in_longer_contexts(language):
    """As `--length` has it and as a setting of the task."""
    record = records(language)["rope", "default", 0]
    length = 2 * record.spec["task"]["length"]
    longer = oscbench.evaluate(record, settings={"evaluation_length": length}, results=language)
    assert longer.set_index("measure").loc["bits_per_character", "value"] > 0


def test_what_a_model_cannot_read_is_one_line(digits, language):
    record = records(digits)["kope", "default", 0]
    with pytest.raises(UserError, match="made for inputs of height 8, and this task has"):
        oscbench.evaluate(record, "digit_scenes", results=digits)
    with pytest.raises(UserError, match="reads images, and this task has sequences"):
        oscbench.evaluate(record, "char_lm", results=digits)
    with pytest.raises(UserError, match='--task: got "digit"; did you mean "digits"'):
        oscbench.evaluate(record, "digit", results=digits)
    with pytest.raises(UserError, match='--set: shiftt: unknown key "shiftt"; did you mean "shift"'):
        oscbench.evaluate(record, settings={"shiftt": 1}, results=digits)
    with pytest.raises(UserError, match='--set: shift: got "1"; input should be a valid integer'):
        oscbench.evaluate(record, settings={"shift": "1"}, results=digits)
    with pytest.raises(UserError, match="record: got None; give a record, its file or its identity"):
        oscbench.load_model(None, digits)
    with pytest.raises(UserError, match="have no other length"):
        oscbench.evaluate(record, length=2, results=digits)
    with pytest.raises(UserError, match="continues no text"):
        oscbench.generate(record, results=digits)
    with pytest.raises(UserError, match="no record's identity begins with"):
        oscbench.load_model("nothing", digits)
    softmax = records(language)["softmax", "default", 0]
    with pytest.raises(UserError, match="positions reach 32 tokens, a sequence has 64"):
        oscbench.evaluate(softmax, length=2, results=language)
    with pytest.raises(
        UserError, match=r"positions reach 32 tokens.*; after this prompt --tokens 24 is the most"
    ):
        oscbench.generate(softmax, "def f(x):", num_tokens=100, results=language)
    with pytest.raises(UserError, match=r"positions reach 32 tokens.*; the prompt alone has 33"):
        oscbench.generate(softmax, "x" * 33, results=language)
    with pytest.raises(UserError, match="at least 0 and finite"):
        oscbench.generate(softmax, temperature=float("inf"), results=language)
    text = oscbench.generate(softmax, "def f(x):", temperature=0.0, results=language)
    assert text == oscbench.generate(softmax, "def f(x):", num_tokens=24, temperature=0.0, results=language)


def test_what_changed_since_training_is_told(oscbench, tmp_path):
    """Data and a version, in Python and on the command line."""
    text, suite, results = tmp_path / "text.txt", tmp_path / "own.yaml", tmp_path / "results"
    text.write_bytes(b"the first text, which is short. " * 100)
    task = f"{{name: char_lm, path: {text}, length: 32, windows: 8, evaluation_windows: 4}}"
    suite.write_text("\n".join(f"{key}: {value}" for key, value in {**LANGUAGE, "task": task}.items()))
    assert run(suite, results, keep=["weights"]) == 0
    record = records(results)["rope", "default", 0]
    assert record.environment["data"] == {"task.path": hashlib.sha256(text.read_bytes()).hexdigest()[:16]}
    measured = evaluate(record, results=results).set_index("measure")
    assert measured.loc["bits_per_character", "value"] == record.measures["bits_per_character"].value
    assert measured.loc["bits_per_character", "label"] == record.measures["bits_per_character"].label
    text.write_bytes(b"another text that lies at its place " * 100)
    changed = f"{text} (task.path) has changed since this cell ran"
    with pytest.warns(UserWarning, match=re.escape(changed)):
        evaluate(record, results=results)
    assert changed in oscbench("evaluate", record.identity, "--results", results).err
    older = record.model_copy(update={"versions": {**record.versions, "mechanism": 0}, "environment": {}})
    with pytest.warns(UserWarning, match=r"mechanism rope had version 0 when this cell ran, and has \d+ now"):
        load_model(older, results)


def test_images_of_another_size_and_scores_for_programs(oscbench, digits):
    """A task that has no other size says so."""
    record = records(digits)["kope", "default", 0]
    with pytest.raises(UserError, match="have no other size"):
        evaluate(record, size=16, results=digits)
    with pytest.raises(UserError, match="size: got 0; it is the side of the images"):
        evaluate(record, size=0, results=digits)
    with pytest.raises(UserError, match='device: got "tpu"; allowed: auto, cpu, cuda'):
        evaluate(record, device="tpu", results=digits)
    said = oscbench("evaluate", record.identity, "--format", "json", "--results", digits).out
    assert json.loads(said)["accuracy"]["value"] == record.measures["accuracy"].value


def test_weights_are_looked_for_before_a_model_is_built(digits, monkeypatch, tmp_path):
    record = records(digits)["kope", "default", 0]
    with monkeypatch.context() as patched:
        patched.setattr(Parts, "build", lambda *_, **__: pytest.fail("a model was built"))
        with pytest.raises(UserError, match="no weights; run the suite with --keep weights"):
            oscbench.load_model(record, tmp_path)
        failed = record.model_copy(update={"status": "oom", "reason": "needs 2 of 1 GiB"})
        with pytest.raises(UserError, match=r"no weights; the cell is oom \(needs 2 of 1 GiB\)"):
            oscbench.load_model(failed, digits)
    monkeypatch.setattr(room, "memory_of", lambda device: 1)
    with pytest.raises(UserError, match="the model needs 0 of 0 GiB for weights"):
        oscbench.load_model(record, digits)


def test_longer_inputs_and_texts_where_positions_reach(language):
    rope = records(language)["rope", "default", 0]
    same = oscbench.evaluate(rope, results=language).set_index("measure")
    assert same.loc["bits_per_character", "value"] == pytest.approx(
        rope.measures["bits_per_character"].value, rel=1e-5
    )
    longer = oscbench.evaluate(rope, length=2, results=language).set_index("measure")
    assert longer.loc["bits_per_character", "value"] != same.loc["bits_per_character", "value"]
    text = oscbench.generate(rope, "def f(x):", num_tokens=60, seed=1, results=language)
    assert text.startswith("def f(x):")
    assert text == oscbench.generate(rope, "def f(x):", num_tokens=60, seed=1, results=language)
    assert text != oscbench.generate(rope, "def f(x):", num_tokens=60, seed=2, results=language)
    assert len(oscbench.generate(rope, num_tokens=5, temperature=0.0, results=language)) > 1


def test_texts_go_to_ids_and_back():
    record = type("Cell", (), {"spec": {"task": {"name": "char_lm"}}, "seed": 0})
    bytes_ = task_for(record)
    assert bytes_.decode(bytes_.encode("für α")) == "für α"
    words = task_for(record, "word_lm")
    ids = words.encode("The function returns zzzzqq.")
    assert ids[0] == 1, "BOS"
    assert words.decode(ids) == "the function returns <unk> ."
    assert words.encode("").tolist() == [1]
    assert int(ids.max()) < words.inputs.vocabulary


def test_commands_say_scores_and_text(oscbench, digits, language):
    kope, rope = records(digits)["kope", "default", 0], records(language)["rope", "default", 0]
    told = oscbench("evaluate", kope.identity[:10], "--results", digits)
    assert told.code == 0, told.err
    shown = f"{100 * kope.measures['accuracy'].value:.1f} %"
    assert [line.split() for line in told.out.splitlines() if line.startswith("accuracy ")] == [
        ["accuracy", *shown.split(), str(kope.measures["accuracy"].n)]
    ]
    text = oscbench(
        "generate",
        rope.identity[:10],
        "--results",
        language,
        "--prompt",
        "import ",
        "--tokens",
        20,
        "--seed",
        3,
    )
    assert text.out.startswith("import ")
    for arguments in (
        ("evaluate", "zzz", "--results", digits),
        ("evaluate", kope.identity, "--results", digits, "--set", "shift"),
        ("generate", kope.identity, "--results", digits),
        ("evaluate", kope.identity, "--results", digits, "--device", "gpu"),
    ):
        wrong = oscbench(*arguments)
        assert (wrong.code, wrong.out) == (2, ""), arguments
        assert wrong.err.startswith("oscbench: ")
        assert wrong.err.count("\n") == 1


def test_a_task_that_nothing_can_be_tested_on_is_one_line(finished):
    record = next(iter(records(finished).values()))
    with pytest.raises(TrainedModelError, match="task throwaway_parts: split test is empty"):
        task_for(record, "throwaway_parts:EmptyTest", {})
