"""From documents to rows of word ids, as the word language models of arXiv 2606.12059 see them.

Two protocols. *Joined*: all documents after one another, cut into chunks of `length - 2` words, each between BOS and EOS; the last
chunk, which is not full, is left out, so no row has padding. *Apart*: each document between BOS and EOS, cut into chunks of
`length`; chunks of at most 4 ids are left out, shorter ones than `length` are padded on the right.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

PAD, BOS, EOS, UNKNOWN = range(4)
SPECIALS = 4
FEWEST = 5
"""Ids of the shortest chunk that is kept where documents stay apart."""

WORDS_AND_PUNCTUATION = re.compile(r"\w+|[^\w\s]")
"""Joined text: every mark of punctuation is a word of its own."""

WORDS = re.compile(r"[^\W_]+")
"""Documents apart: punctuation is a space."""

Documents = Callable[[], Iterable[str]]
"""A split's documents, to be gone through as often as needed."""


def words_of(text: str, pattern: re.Pattern[str]) -> list[str]:
    """Words of a text in lower case."""
    return pattern.findall(text.lower())


def vocabulary_of(documents: Iterable[str], pattern: re.Pattern[str], size: int) -> list[str]:
    """The most frequent words, ties in the order of the alphabet; four of the `size` places are special."""
    counts: Counter[str] = Counter()
    for text in documents:
        counts.update(words_of(text, pattern))
    return sorted(counts, key=lambda word: (-counts[word], word))[: size - SPECIALS]


def joined_rows(documents: Iterable[str], ids: dict[str, int], length: int) -> Tensor:
    """Rows (R, length), int16, of documents after one another."""
    stream = array("h", chain.from_iterable(_ids(text, WORDS_AND_PUNCTUATION, ids) for text in documents))
    inside = length - 2
    count = len(stream) // inside
    if not count:
        return torch.empty(0, length, dtype=torch.int16)
    words = torch.frombuffer(stream, dtype=torch.int16)[: count * inside]
    return framed(words.view(count, inside))


def framed(chunks: Tensor) -> Tensor:
    """Chunks (R, n) between BOS and EOS, (R, n + 2)."""
    return torch.cat((torch.full_like(chunks[:, :1], BOS), chunks, torch.full_like(chunks[:, :1], EOS)), 1)


def separate_rows(documents: Iterable[str], ids: dict[str, int], length: int) -> Tensor:
    """Rows (R, length), int16, of documents apart; no row holds words of two."""
    rows = array("h")
    padding = array("h", [PAD]) * length
    for text in documents:
        whole = array("h", (BOS, *_ids(text, WORDS, ids), EOS))
        for start in range(0, len(whole), length):
            chunk = whole[start : start + length]
            if len(chunk) >= FEWEST:
                rows += chunk
                rows += padding[: length - len(chunk)]
    if not rows:
        return torch.empty(0, length, dtype=torch.int16)
    return torch.frombuffer(rows, dtype=torch.int16).view(-1, length)


def _ids(text: str, pattern: re.Pattern[str], ids: dict[str, int]) -> Iterator[int]:
    return (ids.get(word, UNKNOWN) for word in words_of(text, pattern))


def encoded(splits: dict[str, Documents], *, joined: bool, words: int, length: int) -> dict[str, Tensor]:
    """Rows of every split, and the vocabulary of the training split.

    Args:
        splits: `train`, `validation` and `test`.
        joined: the protocol, see above.
        words: size of the vocabulary, PAD, BOS, EOS and UNK counted.
        length: ids of a row.

    Returns:
        a tensor of rows for each split, and `vocabulary`: its words in UTF-8, a line each, as bytes (uint8).
    """
    vocabulary = vocabulary_of(splits["train"](), WORDS_AND_PUNCTUATION if joined else WORDS, words)
    ids = {word: number for number, word in enumerate(vocabulary, SPECIALS)}
    rows = joined_rows if joined else separate_rows
    made = {split: rows(documents(), ids, length) for split, documents in splits.items()}
    text = "".join(f"{word}\n" for word in vocabulary).encode()
    made["vocabulary"] = (
        torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(0, dtype=torch.uint8)
    )
    return made
