"""Word language modelling: perplexity on Python's own documentation (English on every machine), WikiText-2, TinyStories or any text.

WikiText-2 and TinyStories are cut into words and rows as in arXiv 2606.12059 (see `support.text.words`); what its authors report is the best
validation perplexity of any epoch, which every record holds. The metric's name carries the protocol, because perplexities over
unlike vocabularies or lengths are no comparison. Documentation differs from one Python release to the next, so the data hash does; parts of
it quote one another, so that a tenth or so of what is tested stands word for word in what is trained on, for every model alike.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, LengthError, Metric, SequenceInputs, Split, Task, TaskConfig
from oscbench.tasks.support.floors import NEVER, Floor
from oscbench.tasks.support.text import sources as sources
from oscbench.tasks.support.text.ngrams import counted
from oscbench.tasks.support.text.words import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    UNKNOWN,
    WORDS,
    WORDS_AND_PUNCTUATION,
    encoded,
    framed,
    words_of,
)

PREPARATION = "word_lm v1"
SPLITS = ("train", "validation", "test")
MOST_ORDER = 5
"""Words of the longest stretch that the floor may count."""
LOGITS_AT_ONCE = 2**24
"""Numbers that a batch of evaluation may hold: 64 MiB in float32, whatever the vocabulary."""

Corpus = Literal["python_docs", "wikitext2", "tinystories", "text"]


@dataclass(frozen=True)
class Protocol:
    """What a corpus stands for.

    Attributes:
        label: as a reader sees it.
        words: size of the vocabulary, four specials counted.
        length: ids of a row.
        joined: whether documents run on, or each has rows of its own.
    """

    label: str
    words: int
    length: int
    joined: bool


PROTOCOLS: dict[str, Protocol] = {
    "python_docs": Protocol("words of Python's documentation", 4_000, 50, joined=True),
    "wikitext2": Protocol("words of WikiText-2", 10_000, 50, joined=True),
    "tinystories": Protocol("words of TinyStories", 8_004, 128, joined=False),
    "text": Protocol("words of a text", 10_000, 50, joined=True),
}


class WordLMConfig(TaskConfig):
    """Settings of word language modelling.

    Attributes:
        corpus: `python_docs`, `wikitext2`, `tinystories`, or `text` for one's own; by default what `path` names.
        path: file or folder, or a stored data set's name; by default the stored data set of the corpus.
        from_hub: take the corpus through Hugging Face `datasets`, which may download it; nothing else here opens a socket.
        words: size of the vocabulary, PAD, BOS, EOS and UNK counted; by default the corpus's own, as `length` is.
        length: ids of a row; a model reads all but the last and predicts all but the first.
        stories: TinyStories only: training stories to read, those held out for the test counted; None is all.
        rows: of validation and of test, evenly spaced; None is all.
    """

    corpus: Corpus = "python_docs"
    path: str | None = None
    from_hub: bool = False
    words: int = Field(default=4_000, ge=SPECIALS + 1, le=32_767)
    length: int = Field(default=50, ge=6)
    stories: int | None = Field(default=None, ge=sources.HELD_OUT)
    rows: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, given: Any) -> Any:
        """Corpus from path, path from corpus, and the corpus's own sizes."""
        if not isinstance(given, dict):
            return given
        filled = dict(given)
        path = filled.get("path")
        if path is not None:
            filled.setdefault("corpus", path if path in PROTOCOLS else "text")
        corpus = filled.setdefault("corpus", "python_docs")
        if corpus in sources.ON_HUB and path is None and not filled.get("from_hub"):
            filled["path"] = corpus
        if isinstance(corpus, str) and corpus in PROTOCOLS:
            filled.setdefault("words", PROTOCOLS[corpus].words)
            filled.setdefault("length", PROTOCOLS[corpus].length)
        return filled

    @model_validator(mode="after")
    def _fits(self) -> WordLMConfig:
        if self.from_hub and (self.path is not None or self.corpus not in sources.ON_HUB):
            raise ValueError(
                f"from_hub: goes with corpus {' or '.join(sources.ON_HUB)} and without a path, got corpus {self.corpus}"
            )
        if self.corpus == "python_docs" and self.path is not None:
            raise ValueError(
                "path: corpus python_docs comes with Python; set corpus to text for a text of your own"
            )
        if self.corpus == "text" and self.path is None:
            raise ValueError("path: corpus text needs a file or a folder of .txt files")
        if self.stories is not None and self.corpus != "tinystories":
            raise ValueError(f"stories: only corpus tinystories has stories, got corpus {self.corpus}")
        return self


class WordLM(Task):
    """The next word."""

    Config = WordLMConfig
    version = 1
    label = PROTOCOLS["python_docs"].label
    metric = Metric("perplexity_python_docs_words4000_len50", "test perplexity", "1", "lower")
    floor_versions: ClassVar[Mapping[str, int]] = {"ngram": 2}  # Witten-Bell at one order before
    backbone = "sequence"
    inputs: SequenceInputs

    def __init__(self, config: WordLMConfig) -> None:
        self.config = config
        self.whole, vocabulary = _rows(config)
        self.splits = _fewer(self.whole, config.rows)
        self.vocabulary = vocabulary
        self.inputs = _inputs(config, vocabulary)
        self.metric = self.headline(config)[1]  # type: ignore[misc]  # which corpus, which words: the settings say
        self.num_training_examples = len(self.splits["train"])

    @classmethod
    def describe(cls, config: WordLMConfig) -> SequenceInputs:
        """Word ids in and out; the rows are made here, once for all, so that a bad text is refused before anything runs."""
        return _inputs(config, _rows(config)[1])

    @classmethod
    def headline(cls, config: WordLMConfig) -> tuple[str, Metric]:
        """What these settings make of the task: its label, and a metric whose name is the protocol."""
        label = PROTOCOLS[config.corpus].label
        if config.corpus == "text":
            label = f"words of {Path(str(config.path)).name}"
        name = f"perplexity_{config.corpus}_words{config.words}_len{config.length}"
        name += f"_stories{config.stories}" if config.stories else ""
        name += f"_rows{config.rows}" if config.rows else ""
        return label, Metric(name, f"test perplexity, {label}, vocabulary {config.words}", "1", "lower")

    @classmethod
    def floors(cls, config: WordLMConfig) -> dict[str, str]:
        """How often each word is, and what counting of stretches of words makes of it."""
        del config
        return {
            "chance": "how often each word stands in the training rows",
            "ngram": f"n-grams of the training rows, modified Kneser-Ney, n up to {MOST_ORDER} as validation prefers it",
        }

    def floor(self, name: str) -> nn.Module:
        """One of them."""
        validation = self.batches("validation", 256)
        predict = counted(name, self.splits["train"], self.inputs.vocabulary, MOST_ORDER, validation, PAD)
        if name == "chance" or not PROTOCOLS[self.config.corpus].joined:
            return Floor(predict)
        return Floor(lambda inputs: _ended(predict(inputs)))

    def tensors(self) -> dict[str, Tensor]:
        """Rows of the three splits, and the words that the ids stand for."""
        return {**self.splits, "vocabulary": self.vocabulary}

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """One epoch of shuffled rows; augmentation is not used."""
        del augmentation
        rows = self.splits["train"]
        for some in torch.randperm(len(rows), generator=order).split(batch_size):
            yield _batch(rows[some])

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Rows in their order, no more at once than memory is good for."""
        rows = self.splits[split]
        fit = LOGITS_AT_ONCE // (rows.shape[1] * self.inputs.vocabulary)
        for some in rows.split(max(1, min(batch_size, fit))):
            yield _batch(some)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of a word [nats]; padding does not count."""
        return cross_entropy(prediction.flatten(0, 1), batch.targets.flatten(), ignore_index=PAD)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Nats that each word and each EOS costs; padding is not scored."""
        scored = batch.targets != PAD
        return cross_entropy(prediction[scored].float(), batch.targets[scored], reduction="none")

    def summary(self, mean: float) -> float:
        """Perplexity, exp of the mean cross-entropy; infinite where that is beyond a float."""
        return math.exp(mean) if mean < math.log(1e300) else math.inf

    def at_length(self, factor: int) -> WordLM:
        """The same text in rows of `factor` times as many words.

        Rows are lengthened before they are spaced, so that a long one is also a stretch of the text as it stands.

        Raises:
            LengthError: documents stay apart, or a split is too short.
        """
        if not PROTOCOLS[self.config.corpus].joined:
            raise LengthError(
                f"documents of corpus {self.config.corpus} stay apart, so its rows cannot be joined to longer ones"
            )
        inside = factor * (self.config.length - 2)
        flat = {split: rows[:, 1:-1].flatten() for split, rows in self.whole.items()}
        for split, words in flat.items():
            if len(words) < inside:
                raise LengthError(
                    f"the text's {split} part has {len(words):,} words, a row {factor} times as long needs {inside:,}"
                )
        longer = copy.copy(self)
        longer.whole = {
            split: framed(words[: len(words) // inside * inside].view(-1, inside))
            for split, words in flat.items()
        }
        longer.splits = _fewer(longer.whole, self.config.rows)
        longer.config = self.config.model_copy(update={"length": inside + 2})
        longer.inputs = _inputs(longer.config, self.vocabulary)
        longer.num_training_examples = len(longer.splits["train"])
        return longer

    def encode(self, text: str) -> Tensor:
        """BOS and its words in lower case, cut as the corpus is."""
        pattern = WORDS_AND_PUNCTUATION if PROTOCOLS[self.config.corpus].joined else WORDS
        ids = {word: number for number, word in enumerate(self._words(), SPECIALS)}
        return torch.tensor([BOS, *(ids.get(word, UNKNOWN) for word in words_of(text, pattern))])

    def decode(self, ids: Tensor) -> str:
        """Words with spaces between them; EOS ends a line, and what is not in the vocabulary is `<unk>`."""
        shown = {PAD: "", BOS: "", EOS: "\n", UNKNOWN: "<unk>"} | dict(enumerate(self._words(), SPECIALS))
        return " ".join(filter(None, (shown[number] for number in ids.tolist()))).replace(" \n", "\n")

    def _words(self) -> list[str]:
        """What the ids from `SPECIALS` on stand for."""
        return bytes(self.vocabulary.tolist()).decode().split("\n")[:-1]


def _batch(rows: Tensor) -> Batch:
    ids = rows.long()
    return Batch(ids[:, :-1], ids[:, 1:])


def _inputs(config: WordLMConfig, vocabulary: Tensor) -> SequenceInputs:
    size = SPECIALS + int((vocabulary == ord("\n")).sum())
    padding = None if PROTOCOLS[config.corpus].joined else PAD
    return SequenceInputs(size, config.length - 1, size, is_causal=True, padding=padding)


@lru_cache(maxsize=1)
def _rows(config: WordLMConfig) -> tuple[dict[str, Tensor], Tensor]:
    """All rows of each split, and the vocabulary's bytes.

    Raises:
        UserError: the text is not there, not whole, not UTF-8 or too short.
    """
    source, joined = _source(config), PROTOCOLS[config.corpus].joined
    key = f"{PREPARATION} {config.corpus} {source.content} words={config.words} length={config.length} stories={config.stories}"
    made = prepared(
        key, lambda: encoded(source.splits, joined=joined, words=config.words, length=config.length)
    )
    for split in SPLITS:
        if not len(made[split]):
            raise UserError(
                f"task: {config.path or config.corpus}: its {split} part does not fill one row of task.length {config.length}; "
                "give a longer text or a lower length"
            )
    return {split: made[split] for split in SPLITS}, made["vocabulary"]


def _source(config: WordLMConfig) -> sources.Source:
    if config.from_hub:
        return sources.from_hub(config.corpus, config.stories)
    if config.path is None:
        return sources.python_documentation()
    if config.corpus == "wikitext2":
        return sources.wikitext2(config.path)
    if config.corpus == "tinystories":
        return sources.tinystories(config.path, config.stories)
    return sources.own_text(config.path)


def _fewer(whole: dict[str, Tensor], count: int | None) -> dict[str, Tensor]:
    """All rows of training, and so many of validation and of test."""
    return {split: rows if split == "train" else _spaced(rows, count) for split, rows in whole.items()}


def _spaced(rows: Tensor, count: int | None) -> Tensor:
    """So many rows, evenly spaced, or all where there are no more."""
    if count is None or count >= len(rows):
        return rows
    return rows[torch.arange(count) * len(rows) // count]


def _ended(told: Tensor) -> Tensor:
    """Log-probabilities (B, N, V) of rows that all end at their last place and nowhere before it, as a model with positions soon knows."""
    never, end = torch.full_like(told[..., EOS], -torch.inf), told.new_zeros(())
    others = told - torch.log1p(-told[..., EOS].exp())[..., None]
    others[..., EOS] = never
    others[:, -1] = -torch.inf
    others[:, -1, EOS] = end
    return others.clamp_min(NEVER)


task = WordLM
