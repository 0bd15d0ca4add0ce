"""Word language modelling: words, rows and scores that can be worked out by hand, on files that the tests make."""

from __future__ import annotations

import importlib
import itertools
import math
import socket
import types
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from oscbench.data import KNOWN, Known, add
from oscbench.data.known import KnownFile
from oscbench.errors import UserError
from oscbench.tasks import LengthError
from oscbench.tasks.support.text.sources import python_documentation
from oscbench.tasks.support.text.words import (
    BOS,
    EOS,
    PAD,
    UNKNOWN,
    WORDS,
    WORDS_AND_PUNCTUATION,
    encoded,
    vocabulary_of,
    words_of,
)
from oscbench.tasks.word_lm import WordLM, WordLMConfig

STORIES = [f"The {animal} ran. It didn't stop!" for animal in ("cat", "dog", "cow") * 70]
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def no_store_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text("The cat, the dog: all of them ran home again. " * 100, encoding="utf-8")
    return path


@pytest.fixture
def wikitext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the form of WikiText-2, whose published sizes are not asked for."""
    names = ("wiki.train.raw", "wiki.valid.raw", "wiki.test.raw")
    known = Known("wikitext2", "a stand-in", tuple(KnownFile(name) for name in names))
    monkeypatch.setitem(KNOWN, "wikitext2", known)
    folder = tmp_path / "wikitext"
    folder.mkdir()
    for name, words in zip(names, ("one two two", "two three", "three one one"), strict=True):
        (folder / name).write_text(f" = Heading = \n \n {words} @-@ end . \n" * 20)
    return folder


@pytest.fixture
def tinystories(tmp_path: Path) -> Path:
    folder = tmp_path / "stories"
    folder.mkdir()
    (folder / "TinyStories-train.txt").write_text("\n<|endoftext|>\n".join(STORIES) + "\n<|endoftext|>\n")
    (folder / "TinyStories-valid.txt").write_text("A long walk.\n\nHome at last.\n<|endoftext|>\nNo.\n")
    return folder


def read(task: WordLM, row: torch.Tensor) -> str:
    """The words of a row."""
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *bytes(task.vocabulary.numpy()).decode().splitlines()]
    return " ".join(words[number] for number in row.tolist())


def test_punctuation_is_a_word_in_joined_text_and_a_space_in_stories() -> None:
    assert words_of("It's 2_a @-@ End.", WORDS_AND_PUNCTUATION) == ["it", "'", "s", "2_a", *"@-@", "end", "."]
    assert words_of("It's “2_a” - End.", WORDS) == ["it", "s", "2", "a", "end"]


def test_vocabulary_holds_the_most_frequent_words_and_breaks_ties_by_the_alphabet() -> None:
    assert vocabulary_of(["b a c", "c d"], WORDS, 4 + 3) == ["c", "a", "b"]


def test_joined_rows_hold_every_word_but_the_last_incomplete_chunk() -> None:
    made = encoded(
        {"train": lambda: ["a b c", "a b d a"], "validation": lambda: ["z a b"], "test": lambda: ["a"]},
        joined=True,
        words=4 + 2,
        length=5,
    )
    a, b = 4, 5
    assert made["train"].tolist() == [[BOS, a, b, UNKNOWN, EOS], [BOS, a, b, UNKNOWN, EOS]]
    assert made["validation"].tolist() == [[BOS, UNKNOWN, a, b, EOS]]
    assert made["test"].shape == (0, 5)
    assert bytes(made["vocabulary"].numpy()) == b"a\nb\n"


def test_stories_stay_apart_and_crumbs_are_left_out() -> None:
    story = " ".join("abcdefghij")
    made = encoded(
        {"train": lambda: [story], "validation": lambda: [story, "a"], "test": lambda: ["a b c d e f g"]},
        joined=False,
        words=100,
        length=7,
    )
    a = 4
    # BOS and ten words and EOS: a row of 7, and one of 5 that is padded.
    assert made["train"].tolist() == [
        [BOS, a, a + 1, a + 2, a + 3, a + 4, a + 5],
        [a + 6, a + 7, a + 8, a + 9, EOS, PAD, PAD],
    ]
    assert len(made["validation"]) == 2, "BOS, one word and EOS are too few"
    assert len(made["test"]) == 1, "two ids were left over"


def test_wikitext_is_what_its_three_files_say(wikitext: Path) -> None:
    task = WordLM(WordLMConfig(corpus="wikitext2", path=str(wikitext), length=10))
    assert read(task, task.splits["train"][0]) == "<bos> = heading = one two two @ - <eos>"
    assert read(task, task.splits["validation"][0]) == "<bos> = heading = two <unk> @ - @ <eos>"
    assert task.inputs.padding is None
    assert task.inputs.length == 9
    assert task.metric.name == "perplexity_wikitext2_words10000_len10"


def test_another_text_does_not_pass_for_wikitext(tmp_path: Path) -> None:
    folder = tmp_path / "ptb"
    folder.mkdir()
    for name in ("wiki.train.raw", "wiki.valid.raw", "wiki.test.raw"):
        (folder / name).write_text("no banknote in a calloway hat\n" * 50)
    with pytest.raises(
        UserError, match=r'has 1,500 bytes, wiki\.train\.raw has 10,940,747.*task\.corpus to "text"'
    ):
        WordLM.describe(WordLMConfig(corpus="wikitext2", path=str(folder)))


def test_stored_corpus_is_found_by_its_name_alone(wikitext: Path) -> None:
    with pytest.raises(UserError, match=r"oscbench data add wikitext2 --from PATH"):
        WordLM.describe(WordLMConfig(corpus="wikitext2"))
    add("wikitext2", wikitext)
    by_corpus, by_path = WordLMConfig(corpus="wikitext2"), WordLMConfig(path="wikitext2")
    assert by_corpus == by_path
    stored = WordLM(by_corpus)
    assert stored.data_hash() == WordLM(WordLMConfig(corpus="wikitext2", path=str(wikitext))).data_hash()


def test_one_training_story_in_a_hundred_is_held_out(tinystories: Path) -> None:
    task = WordLM(WordLMConfig(corpus="tinystories", path=str(tinystories), length=12))
    assert [len(task.splits[split]) for split in SPLITS] == [208, 1, 2]
    assert read(task, task.splits["train"][0]) == "<bos> the cat ran it didn t stop <eos> <pad> <pad> <pad>"
    # The 100th and the 200th of cat, dog, cow, cat, …
    assert [read(task, row).split()[2] for row in task.splits["test"]] == ["cat", "dog"]
    assert read(task, task.splits["validation"][0]).startswith("<bos> <unk> <unk>")
    fewer = WordLM(WordLMConfig(corpus="tinystories", path=str(tinystories), length=12, stories=100))
    assert [len(fewer.splits[split]) for split in SPLITS] == [99, 1, 1]
    assert fewer.metric.name == "perplexity_tinystories_words8004_len12_stories100"


def test_padding_stands_on_the_right_and_is_never_scored(tinystories: Path) -> None:
    task = WordLM(WordLMConfig(corpus="tinystories", path=str(tinystories), length=12))
    assert task.inputs.padding == PAD
    for split in SPLITS:
        padded = task.splits[split] == PAD
        assert padded.any()
        assert torch.equal(padded, padded.cummax(1).values), "nothing follows padding"
    batch = next(task.batches("test", 8))
    prediction = torch.randn(*batch.targets.shape, task.inputs.vocabulary, generator=torch.Generator())
    scored = batch.targets != PAD
    assert task.scores(prediction, batch).shape == (int(scored.sum()),) == (16,)
    before = task.loss(prediction, batch)
    prediction[~scored, :3] = 1e6
    assert torch.equal(task.loss(prediction, batch), before)
    assert task.scores(prediction, batch).mean().item() == pytest.approx(before.item(), rel=1e-5)


def test_guessing_evenly_has_the_vocabulary_as_its_perplexity(text: Path) -> None:
    task = WordLM(WordLMConfig(path=str(text), length=12))

    class Even(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> types.SimpleNamespace:
            return types.SimpleNamespace(prediction=torch.zeros(*inputs.shape, task.inputs.vocabulary))

    found = task.evaluate(Even(), "test", torch.device("cpu"))[task.metric.name]
    assert found.value == pytest.approx(task.inputs.vocabulary)
    assert found.count == 11 * len(task.splits["test"])
    assert task.summary(1e6) == math.inf


def test_targets_are_the_next_words_and_order_comes_from_the_generator(text: Path) -> None:
    task = WordLM(WordLMConfig(path=str(text), length=12))
    batches = list(task.training_batches(32, torch.Generator().manual_seed(0), torch.Generator()))
    assert sum(len(batch.inputs) for batch in batches) == task.num_training_examples
    assert torch.equal(batches[0].inputs[:, 1:], batches[0].targets[:, :-1])
    again = next(iter(task.training_batches(32, torch.Generator().manual_seed(0), torch.Generator())))
    other = next(iter(task.training_batches(32, torch.Generator().manual_seed(1), torch.Generator())))
    assert torch.equal(batches[0].inputs, again.inputs)
    assert not torch.equal(batches[0].inputs, other.inputs)


def test_batches_of_evaluation_hold_no_more_than_memory_is_good_for(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = WordLM(WordLMConfig(path=str(text), length=12))
    whole = torch.cat([batch.inputs for batch in task.batches("test", 256)])
    monkeypatch.setattr("oscbench.tasks.word_lm.LOGITS_AT_ONCE", 2 * 12 * task.inputs.vocabulary)
    pieces = [batch.inputs for batch in task.batches("test", 256)]
    assert max(map(len, pieces)) == 2
    assert torch.equal(torch.cat(pieces), whole)


def test_own_text_is_cut_between_words(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    words = [f"word{number}" for number in range(400)]
    path.write_text(" ".join(words), encoding="utf-8")
    task = WordLM(WordLMConfig(path=str(path), length=6))
    assert task.config.corpus == "text"
    read_back = [word for row in task.splits["train"] for word in read(task, row).split()[1:-1]]
    assert read_back == words[: len(read_back)]
    assert 350 < len(read_back) <= 365
    unknown = torch.cat([task.splits["validation"], task.splits["test"]])[:, 1:-1]
    assert (unknown == UNKNOWN).all(), "words of validation and test are not in the vocabulary of training"


def test_protocol_is_in_the_name_of_the_metric() -> None:
    assert WordLM.headline(WordLMConfig())[1].name == WordLM.metric.name
    names = [
        WordLM.headline(config)[1].name
        for config in (
            WordLMConfig(corpus="wikitext2"),
            WordLMConfig(corpus="tinystories"),
            WordLMConfig(words=2000, rows=100),
        )
    ]
    assert names == [
        "perplexity_wikitext2_words10000_len50",
        "perplexity_tinystories_words8004_len128",
        "perplexity_python_docs_words2000_len50_rows100",
    ]
    assert WordLM.headline(WordLMConfig(path="/data/book.txt"))[0] == "words of book.txt"


def test_defaults_are_filled_in_as_the_record_will_say() -> None:
    assert WordLMConfig(corpus="wikitext2").model_dump() == {
        **{"corpus": "wikitext2", "path": "wikitext2", "from_hub": False},
        **{"words": 10_000, "length": 50, "stories": None, "rows": None},
    }
    for config in (
        WordLMConfig(),
        WordLMConfig(path="x.txt"),
        WordLMConfig(corpus="tinystories", stories=500),
    ):
        assert WordLMConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"corpus": "python_docs", "path": "x.txt"}, "corpus python_docs comes with Python"),
        ({"corpus": "text"}, "corpus text needs a file"),
        ({"stories": 500}, "only corpus tinystories has stories"),
        ({"from_hub": True}, "goes with corpus wikitext2 or tinystories"),
        ({"corpus": "wikitext2", "path": "x", "from_hub": True}, "without a path"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        WordLMConfig.model_validate(settings)


def test_short_missing_and_undecodable_texts_are_told_in_a_line(tmp_path: Path) -> None:
    def told(**settings: object) -> str:
        with pytest.raises(UserError) as caught:
            WordLM.describe(WordLMConfig.model_validate(settings))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    short = tmp_path / "short.txt"
    short.write_text("a few words only\n")
    assert "its train part does not fill one row of task.length 50" in told(path=str(short))
    (tmp_path / "empty.txt").touch()
    assert "does not fill one row" in told(path=str(tmp_path / "empty.txt"))
    latin = tmp_path / "latin.txt"
    latin.write_bytes("one\ntwo\nthr\xe9e\n".encode("latin-1"))
    assert f"{latin}: line 3 is not UTF-8" in told(path=str(latin))
    assert "no such file or folder" in told(path=str(tmp_path / "nowhere.txt"))
    assert 'did you mean "tinystories"?' in told(path="tinystory")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "has no .txt file" in told(path=str(folder))
    assert "TinyStories-train.txt: no such file" in told(corpus="tinystories", path=str(folder))


def test_prepared_rows_follow_the_text_and_not_its_name(text: Path) -> None:
    before = WordLM(WordLMConfig(path=str(text), length=12))
    other = text.parent / "other.txt"
    other.write_text(text.read_text().replace("cat", "hen"))
    assert WordLM(WordLMConfig(path=str(other), length=12)).data_hash() != before.data_hash()
    other.write_bytes(text.read_bytes())
    same = WordLM(WordLMConfig(path=str(other), length=12, rows=10**6))
    assert same.data_hash() == before.data_hash()


def test_fewer_rows_are_evenly_spaced_and_training_keeps_all(text: Path) -> None:
    whole = WordLM(WordLMConfig(path=str(text), length=6))
    some = WordLM(WordLMConfig(path=str(text), length=6, rows=3))
    assert torch.equal(some.splits["train"], whole.splits["train"])
    test = whole.splits["test"]
    assert torch.equal(some.splits["test"], test[[0, len(test) // 3, 2 * len(test) // 3]])


def test_longer_rows_hold_the_same_words(text: Path, tinystories: Path) -> None:
    task = WordLM(WordLMConfig(path=str(text), length=12))
    longer = task.at_length(2)
    assert longer.splits["test"].shape[1] == 22
    assert longer.inputs.length == 21
    assert longer.metric == task.metric
    words = [row[1:-1] for row in task.splits["test"][:2]]
    assert torch.equal(longer.splits["test"][0, 1:-1], torch.cat(words))
    with pytest.raises(
        LengthError, match="the text's train part has 1,170 words, a row 1000 times as long needs 10,000"
    ):
        task.at_length(1000)
    apart = WordLM(WordLMConfig(corpus="tinystories", path=str(tinystories), length=12))
    with pytest.raises(LengthError, match="documents of corpus tinystories stay apart"):
        apart.at_length(2)


def test_fewer_rows_are_lengthened_in_the_text_and_spaced_then(tmp_path: Path) -> None:
    numbered = tmp_path / "numbers.txt"
    numbered.write_text(" ".join(f"w{number % 97}" for number in range(4_000)))
    task = WordLM(WordLMConfig(path=str(numbered), length=12, rows=4))
    longer = task.at_length(2)
    for split in ("validation", "test"):
        assert longer.splits[split].shape == (4, 22)
        for row in longer.splits[split]:
            numbers = [int(word[1:]) for word in read(task, row[1:-1]).split()]
            assert {(later - number) % 97 for number, later in itertools.pairwise(numbers)} == {1}
    same = task.at_length(1)
    assert torch.equal(same.splits["test"], task.splits["test"])


def test_hub_is_asked_only_where_a_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(repository: str, configuration: str | None) -> dict[str, list[dict[str, str]]]:
        asked.append((repository, configuration))
        row = {"text": " one two three four five six . \n"}
        return {split: [row] * 20 for split in SPLITS}

    real = importlib.import_module

    def pretend(name: str, package: str | None = None) -> object:
        if name == "datasets":
            return types.SimpleNamespace(load_dataset=load_dataset)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", pretend)
    task = WordLM(WordLMConfig(corpus="wikitext2", from_hub=True, length=9))
    assert asked == [("Salesforce/wikitext", "wikitext-2-raw-v1")]
    assert read(task, task.splits["train"][0]) == "<bos> one two three four five six . <eos>"


def test_hub_without_its_package_or_its_data_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(repository: str, configuration: str | None) -> None:
        raise ConnectionError("Couldn't reach the hub\nand more")

    found: list[object] = []

    def pretend(name: str, package: str | None = None) -> object:
        if not found:
            raise ImportError(name)
        return found[0]

    monkeypatch.setattr(importlib, "import_module", pretend)
    config = WordLMConfig(corpus="tinystories", from_hub=True)
    with pytest.raises(UserError, match=r'"datasets" is not installed; pip install "oscbench\[hub\]"'):
        WordLM.describe(config)
    found.append(types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(
        UserError, match=r"roneneldan/TinyStories cannot be loaded: ConnectionError"
    ) as caught:
        WordLM.describe(config)
    assert "\n" not in str(caught.value)


def test_python_carries_enough_words_and_its_splits_share_no_document() -> None:
    splits = {split: list(documents()) for split, documents in python_documentation().splits.items()}
    assert min(len(part) for part in splits.values()) > 30
    assert sum(len(text.split()) for part in splits.values() for text in part) > 150_000
    train = set(splits["train"])
    # Some modules are a docstring that another repeats word for word, as `__init__` files do; a module of substance is in one split.
    shared = [text for split in ("validation", "test") for text in splits[split] if text in train]
    assert all(len(text) < 200 for text in shared)
