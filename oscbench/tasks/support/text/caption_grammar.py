"""A grammar of captions: which two digits an image shows, how they stand to one another, and, if asked for, how large they are."""

from __future__ import annotations

from functools import cached_property
from itertools import permutations, product

import torch
from torch import Tensor

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES = ("small", "big")
PAIRS = tuple(permutations(range(10), 2))
"""Ordered pairs of different digits: the first is above, or left of, the second."""
RELATIONS = (("above", "below"), ("left of", "right of"))
"""From the first digit's side, and from the second's."""


class Grammar:
    """Meanings, each with two captions of equal truth: one from the first digit's side (way 0), one from the second's (way 1).

    A meaning's number is (sizes · 2 + relation) · 90 + pair, sizes of the first and the second digit being 0 (small small), 1 (small big),
    2 (big small) and 3; without sizes that part is 0.

    Args:
        sizes: whether captions say how large each digit is ("a big three above a small seven").
    """

    def __init__(self, *, sizes: bool = False) -> None:
        self.sizes = tuple(product(range(len(SIZES)), repeat=2)) if sizes else ((),)
        self.vocabulary = (
            "<pad>",
            "a",
            "above",
            "below",
            "left",
            "right",
            "of",
            *DIGITS,
            *(SIZES if sizes else ()),
        )
        self.ids = {word: index for index, word in enumerate(self.vocabulary)}
        self.words = 8 if sizes else 6
        self.num_meanings = len(self.sizes) * len(RELATIONS) * len(PAIRS)

    def caption(self, meaning: int, way: int) -> list[str]:
        """Words of a meaning, said in one of the two ways."""
        rest, pair = divmod(meaning, len(PAIRS))
        sizes, relation = divmod(rest, len(RELATIONS))
        things = [
            ["a", *(SIZES[size] for size in self.sizes[sizes][place : place + 1]), DIGITS[digit]]
            for place, digit in enumerate(PAIRS[pair])
        ]
        said, heard = things if way == 0 else reversed(things)
        return [*said, *RELATIONS[relation][way].split(), *heard]

    def filled(self, words: list[str]) -> list[int]:
        """Token ids of words, with padding on the right."""
        return [self.ids[word] for word in words] + [0] * (self.words - len(words))

    @cached_property
    def captions(self) -> Tensor:
        """Token ids (2 ways, meanings, words)."""
        ways = [
            [self.filled(self.caption(meaning, way)) for meaning in range(self.num_meanings)]
            for way in (0, 1)
        ]
        return torch.tensor(ways)

    @cached_property
    def prompts(self) -> Tensor:
        """Token ids of one digit alone (10, sizes, words), of every size where captions say sizes."""
        named: tuple[tuple[str, ...], ...] = (
            tuple((size,) for size in SIZES) if len(self.sizes) > 1 else ((),)
        )
        return torch.tensor([[self.filled(["a", *size, word]) for size in named] for word in DIGITS])

    def exchanged(self, meanings: Tensor) -> Tensor:
        """Meanings with the two digits exchanged, sizes staying where they are."""
        index = {pair: place for place, pair in enumerate(PAIRS)}
        other = torch.tensor([index[second, first] for first, second in PAIRS], device=meanings.device)
        return meanings // len(PAIRS) * len(PAIRS) + other[meanings % len(PAIRS)]

    def resized(self, meanings: Tensor) -> Tensor:
        """Meanings with the two sizes exchanged, digits staying where they are; the same where sizes are equal or not said."""
        if len(self.sizes) == 1:
            return meanings
        per_sizes = len(RELATIONS) * len(PAIRS)
        other = torch.tensor([self.sizes.index(both[::-1]) for both in self.sizes], device=meanings.device)
        return other[meanings // per_sizes] * per_sizes + meanings % per_sizes

    def big(self, meanings: Tensor) -> Tensor:
        """Which of the two digits are big (B, 2), where captions say sizes."""
        return torch.tensor(self.sizes, dtype=torch.bool)[meanings // (len(RELATIONS) * len(PAIRS))]

    def said(self, ids: Tensor) -> Tensor:
        """Captions (B, words) as shares of the meanings (B, meanings) whose captions hold these words in a row: one, or all with a digit."""
        captions = self.captions.to(ids.device)
        beyond = torch.cat((captions, torch.full_like(captions, -1)), dim=-1)
        nothing = (ids == 0)[:, None, None]
        fits = ids.new_zeros(len(ids), self.num_meanings, dtype=torch.bool)
        for start in range(self.words):
            window = beyond[..., start : start + self.words]
            fits |= ((window == ids[:, None, None]) | nothing).all(-1).any(1)
        return fits / fits.sum(1, keepdim=True)


def relation_of(meanings: Tensor) -> Tensor:
    """0 where one digit stands above the other, 1 where it stands left of it."""
    return meanings // len(PAIRS) % len(RELATIONS)
