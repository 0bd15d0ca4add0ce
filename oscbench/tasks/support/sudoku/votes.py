"""Votes over several answers to a board, and what picking blindly or knowing the truth would give."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """What a model said K times of the same boards, under other names of digits or from other starts, in the boards' own digits.

    Attributes:
        boards: (B, K, N) digits, givens as they were.
        confidence: (B, K) mean over the blanks of the likeliest digit's probability.
        energy: (B, K) of the mechanism; None where it has none.
    """

    boards: Tensor
    confidence: Tensor
    energy: Tensor | None


def votes(answers: Answers, solutions: Tensor) -> dict[str, Tensor]:
    """Whether each board (B,) is wholly right by each way to choose among the answers; no way looks at the rules of Sudoku.

    `energy` takes the lowest, `confidence` the highest, `majority` the most frequent board (ties: the most confident one). `random`,
    the share of answers that are right, and `any`, whether some answer is, are bounds: a vote that is worth anything lies between.
    """
    right = (answers.boards == solutions[:, None]).all(-1)
    rows = torch.arange(len(right), device=right.device)
    found = {
        "random": right.double().mean(1),
        "confidence": right[rows, answers.confidence.argmax(1)],
        "majority": right[rows, _majority(answers)],
        "any": right.any(1),
    }
    if answers.energy is not None:
        found["energy"] = right[rows, answers.energy.argmin(1)]
    return {name: value.double() for name, value in found.items()}


def _majority(answers: Answers) -> Tensor:
    """The view (B,) whose board most views share."""
    chosen = []
    for boards, confidence in zip(answers.boards.tolist(), answers.confidence.tolist(), strict=True):
        counts = Counter(map(tuple, boards))
        chosen.append(
            max(range(len(boards)), key=lambda view: (counts[tuple(boards[view])], confidence[view]))
        )
    return torch.tensor(chosen, device=answers.boards.device)


def sample_energy(diagnostics: list[dict[str, Tensor]]) -> Tensor | None:
    """Energy (B,) of each sample over so many layers, the mechanism's own summed over its steps; None where it has none."""
    if not all("energies" in found for found in diagnostics):
        return None
    return torch.stack([found["energies"].sum(1) for found in diagnostics]).sum(0)
