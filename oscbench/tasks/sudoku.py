"""Sudoku: fill in all blanks of a board, on boards like those of training and on harder ones, with more loops than in training.

Boards of 4 × 4, 6 × 6 or 9 × 9 are made here, each proven to have one solution, or come from files of `puzzle,solution` lines
(SATNet, arXiv 1905.12149; RRN, arXiv 1711.08028). Made boards are split by a hash of their solution up to relabelling, so no split has
a solution of another under other digits (rows and columns exchanged may still lead from one to another). Training boards have many
givens; the harder ones are minimal: no given can go. Digits are renamed at random in training. Of harder boards in a file those with
one solution up to relabelling are all for validation or all for the test: RRN's 18,000 test boards have 1,000 such solutions.

A board counts if every blank is right. How hard a board is, our solver tells: it may need no more than cells with a single digit
left (`naked_singles`), or digits with a single cell left in a row, column or box (`hidden_singles`), or a guess (`guess`).

Votes run over renamings of a board, for everybody, and over random starts of the state where a mechanism draws one and has an energy, of
which its authors keep the answer of the lowest (AKOrN, arXiv 2410.13821). -Σ A cos(φᵢ - φⱼ) of phases that attention turns is no such energy:
A is each view's own, so that it tells how sharp attention is, with phases that never move too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from oscbench.data import locate
from oscbench.data.prepared import prepared
from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.settings import added
from oscbench.tasks import Batch, Draw, GridInputs, Metric, Score, Split, TaskConfig, draw_number
from oscbench.tasks.support.floors import Looped
from oscbench.tasks.support.in_memory import InMemoryTask
from oscbench.tasks.support.sudoku.boards import (
    GEOMETRIES,
    LEVELS,
    Pair,
    level_of,
    make_boards,
)
from oscbench.tasks.support.sudoku.files import boards_like_training, harder_boards, solutions_of_files
from oscbench.tasks.support.sudoku.votes import Answers, sample_energy, votes
from oscbench.tasks.support.training_subsets import drawn

DATA_SEED = 20_261_126
PREPARATION = "sudoku v3"
GIVENS = {4: (6, 8), 6: (15, 18), 9: (31, 42)}
"""Fewest and most of training boards, by side; those of 9 × 9 are SATNet's."""
LOOPS = (1, 2, 4, 8)
"""Times the loops of training, at which boards are scored."""
FEWEST = 20
"""Boards with one number of givens that are scored apart."""
VIEWS_AT_ONCE = 64


class SudokuConfig(TaskConfig):
    """Settings of Sudoku.

    Attributes:
        side: 4, 6 or 9.
        min_givens: of made training boards; by default 6, 15 or 31.
        max_givens: of made training boards; by default 8, 18 or 42.
        path: a file of boards to train on, or a stored data set (`sudoku_satnet`): its last tenth is for the test and the boards
            before that for validation; None makes boards.
        hard_path: the same for the harder boards (`sudoku_rrn`), of which about as many are taken as validation and test need, and no
            solution is in both; None makes minimal ones.
        train_boards: at most so many.
        validation_boards: of the harder boards, and as many like those of training.
        test_boards: the same for the test.
        headline_loops: times the loops of training, 1, 2, 4 or 8, at which the headline is taken.
        views: renamings of a board, and random starts, that votes run over; 1 leaves votes out.
        voting_boards: harder test boards that are voted on.
        draw: of the made boards of training and validation; `per_seed` makes others for each seed, of solutions that the test never has.
    """

    side: Literal[4, 6, 9] = 6
    min_givens: int | None = Field(default=None, ge=1)
    max_givens: int | None = Field(default=None, ge=1)
    path: str | None = None
    hard_path: str | None = None
    train_boards: int = Field(default=20_000, ge=1)
    validation_boards: int = Field(default=500, ge=1)
    test_boards: int = Field(default=2_000, ge=1)
    headline_loops: Literal[1, 2, 4, 8] = 4
    views: int = Field(default=8, ge=1)
    voting_boards: int = Field(default=500, ge=1)
    draw: Draw = added("fixed", neutral="fixed")

    @model_validator(mode="after")
    def _givens_fit(self) -> SudokuConfig:
        if self.path is not None and (self.min_givens or self.max_givens):
            raise ValueError("min_givens and max_givens are for boards that are made, not for those of path")
        if self.path is not None and self.draw not in ("fixed", 0):
            raise ValueError(
                f"draw {self.draw!r} is for boards that are made, not for those of path; allowed there: fixed"
            )
        low, high = self.givens
        if not low <= high < self.side**2:
            raise ValueError(
                f"min_givens {low}, max_givens {high}: must rise, and stay below the {self.side**2} cells of a board"
            )
        return self

    @property
    def givens(self) -> tuple[int, int]:
        """Fewest and most givens of a training board."""
        low, high = GIVENS[self.side]
        return self.min_givens or low, self.max_givens or high


@dataclass(frozen=True)
class Boards:
    """Puzzles (boards, N), solutions (boards, N), and levels (boards,) of difficulty, places in `LEVELS`."""

    puzzles: Tensor
    solutions: Tensor
    levels: Tensor

    def __len__(self) -> int:
        return len(self.levels)

    def batches(self, size: int, device: torch.device) -> Iterator[Batch]:
        """In order."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Batch(self.puzzles[part].long(), self.solutions[part].long()).to(device)


class Sudoku(InMemoryTask):
    """The digit of every blank."""

    Config = SudokuConfig
    version = 2  # no votes by phases' energy; starts of AKOrN vote; solutions of harder files are in one split alone
    label = "Sudoku"
    metric = Metric("boards_solved", "test boards wholly right", "fraction", "higher")
    backbone = "grid"
    inputs: GridInputs

    def __init__(self, config: SudokuConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        found = _found(config)
        self.easy, self.hard = (
            {split: _boards(found, f"{kind}.{split}") for split in ("validation", "test")}
            for kind in ("easy", "hard")
        )
        train = _boards(found, "easy.train")
        self.splits = {
            split: Batch(boards.puzzles.long(), boards.solutions.long())
            for split, boards in (("train", train), *self.hard.items())
        }

    @classmethod
    def describe(cls, config: SudokuConfig) -> GridInputs:
        """Cells with a digit or none; boards of files are proven here, once, before anything runs."""
        if config.path is not None or config.hard_path is not None:
            _prove(config)
        geometry = GEOMETRIES[config.side]
        side = geometry.side
        return GridInputs(side, side, side + 1, side, unknown=0, boxes=(geometry.height, geometry.width))

    @classmethod
    def headline(cls, config: SudokuConfig) -> tuple[str, Metric]:
        """Label and metric: which boards, and at how many loops."""
        which = "minimal" if config.hard_path is None else "harder"
        label = f"{which} boards wholly right at {config.headline_loops}× the training loops"
        metric = Metric(cls.metric.name, label, cls.metric.unit, cls.metric.direction)
        return f"{cls.label} {config.side} × {config.side}", metric

    @classmethod
    def floors(cls, config: SudokuConfig) -> dict[str, str]:
        """Cells that hear no other, and a board's digits without their places."""
        del config
        return {
            "chance": "in every cell the digit that training's solutions have most often there",
            "bag": "in every blank the digit that stands least often among the board's givens",
        }

    def floor(self, name: str) -> torch.nn.Module:
        """One of them."""
        side, solutions = self.config.side, self.splits["train"].targets
        if name == "chance":
            shares = one_hot(solutions - 1, side).double().mean(0).float()
            return Looped(lambda boards: shares.expand(len(boards), -1, -1))

        def rare(boards: Tensor) -> Tensor:
            counts = one_hot(boards, side + 1)[..., 1:].sum(1, keepdim=True)
            return -counts.float().expand(-1, boards.shape[1], -1)

        return Looped(rare)

    def tensors(self) -> dict[str, Tensor]:
        """All boards of all splits."""
        found = super().tensors()
        for split, boards in self.easy.items():
            found |= {f"easy.{split}.puzzles": boards.puzzles, f"easy.{split}.solutions": boards.solutions}
        return found

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Digits renamed at random, for each board anew."""
        names = torch.rand(len(batch.inputs), self.config.side, generator=generator).argsort(1) + 1
        return Batch(_renamed(batch.inputs, names), _renamed(batch.targets, names))

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of a blank [nats], the mean over blanks and loops; givens do not count."""
        blank = batch.inputs == 0
        asked = prediction.transpose(1, 2)[blank]  # (blanks, loops, digits)
        wanted = (batch.targets[blank] - 1)[:, None].expand(-1, asked.shape[1])
        return cross_entropy(asked.flatten(0, 1), wanted.flatten())

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """1 where all blanks of a board are right after the last loop."""
        return _right(prediction[:, -1], batch).float()

    @torch.no_grad()
    def evaluate(
        self, model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """The headline; on the test also each number of loops, boards like those of training, kinds of harder boards, and votes."""
        with evaluating(model):
            trained, name = int(getattr(model.config, "loops", 1)), self.metric.name
            wanted = LOOPS if split == "test" else (self.config.headline_loops,)
            loops = [trained * times for times in wanted]
            right = self._solved(model, self.hard[split], loops, device, batch_size)
            headline = right[:, wanted.index(self.config.headline_loops)]
            found = {name: _score(headline)}
            easy = self._solved(model, self.easy[split], loops, device, batch_size)
            for kind, solved in (("hard", right), ("easy", easy)):
                found |= {f"{name}_{kind}_loops_{n}": _score(solved[:, i]) for i, n in enumerate(loops)}
            if split == "test":
                parts = {f"{name}_{kind}": headline[of] for kind, of in self._kinds().items()}
                found |= {part: _score(solved) for part, solved in parts.items() if len(solved)}
                if self.config.views > 1:
                    found |= self._votes(model, trained * self.config.headline_loops, device)
        return found

    def _kinds(self) -> dict[str, Tensor]:
        """Harder test boards by what it takes to solve them and by givens: name -> (boards,) bool."""
        boards = self.hard["test"]
        found = {level: boards.levels == place for place, level in enumerate(LEVELS)}
        givens = (boards.puzzles > 0).sum(1)
        for number, count in zip(*givens.unique(return_counts=True), strict=True):
            if count >= FEWEST:
                found[f"{int(number)}_givens"] = givens == number
        return found

    def _solved(
        self,
        model: torch.nn.Module,
        boards: Boards,
        loops: list[int],
        device: torch.device,
        batch_size: int,
    ) -> Tensor:
        """(boards, len(loops)) bool, whether a board is wholly right after so many loops."""
        found = []
        for batch in boards.batches(batch_size, device):
            prediction = model(batch.inputs, loops=max(loops)).prediction
            found.append(torch.stack([_right(prediction[:, n - 1], batch) for n in loops], dim=1).cpu())
        return torch.cat(found)

    def _votes(self, model: torch.nn.Module, loops: int, device: torch.device) -> dict[str, Score]:
        """Harder test boards solved by each vote over renamings, and over starts where the mechanism draws them and has an energy."""
        boards = self.hard["test"]
        spread = torch.arange(min(self.config.voting_boards, len(boards))) * len(boards)
        rows = spread // len(spread)
        some = Boards(boards.puzzles[rows], boards.solutions[rows], boards.levels[rows])
        size = max(1, VIEWS_AT_ONCE // self.config.views)
        parts: dict[str, list[Tensor]] = {}
        for batch in some.batches(size, device):
            found = votes(self._renamings(model, batch.inputs, loops), batch.targets)
            starts = self._starts(model, batch.inputs, loops)
            if starts is not None:
                found |= {f"starts_{way}": solved for way, solved in votes(starts, batch.targets).items()}
            for way, solved in found.items():
                parts.setdefault(way, []).append(solved.cpu())
        return {f"{self.metric.name}_vote_{way}": _score(torch.cat(part)) for way, part in parts.items()}

    def _renamings(self, model: torch.nn.Module, puzzles: Tensor, loops: int) -> Answers:
        """What the model says of puzzles (B, N) under so many names of their digits."""
        config, count = self.config, len(puzzles)
        generator = torch.Generator().manual_seed(named_seed(DATA_SEED, "views"))
        names = torch.rand(config.views, config.side, generator=generator).argsort(1) + 1
        names[0] = torch.arange(1, config.side + 1)  # the board as it is
        names = names.repeat(count, 1).to(puzzles.device)
        views = _renamed(puzzles.repeat_interleave(config.views, 0), names)
        digits, confidence = _said(model(views, loops=loops).prediction[:, -1], views)
        back = _renamed(digits, names.argsort(1) + 1)
        return Answers(_by_board(back, count), _by_board(confidence, count), None)

    def _starts(self, model: torch.nn.Module, puzzles: Tensor, loops: int) -> Answers | None:
        """The same of so many random starts of each board; None where the mechanism draws none, or tells no energy of its own."""
        mechanism = getattr(getattr(model, "trunk", None), "mechanism", None)
        if mechanism is None or not mechanism.draws_anew:
            return None
        count, views = len(puzzles), puzzles.repeat_interleave(self.config.views, 0)
        mechanism.draw = named_seed(DATA_SEED, "starts")
        try:
            output = model(views, loops=loops, diagnostics=True)
        finally:
            mechanism.draw = None
        energy = sample_energy(output.diagnostics[-(len(output.diagnostics) // loops) :])
        if energy is None:
            return None
        digits, confidence = _said(output.prediction[:, -1], views)
        return Answers(_by_board(digits, count), _by_board(confidence, count), _by_board(energy, count))


def _said(prediction: Tensor, puzzles: Tensor) -> tuple[Tensor, Tensor]:
    """Boards (B, N) with all blanks filled, and the mean over blanks (B,) of the likeliest digit's probability."""
    likeliest, digits = prediction.softmax(-1).max(-1)
    blank = puzzles == 0
    return torch.where(blank, digits + 1, puzzles), (likeliest * blank).sum(1) / blank.sum(1).clamp_min(1)


def _by_board(values: Tensor, count: int) -> Tensor:
    """(boards · K, …) -> (boards, K, …)."""
    return values.view(count, -1, *values.shape[1:])


def _renamed(boards: Tensor, names: Tensor) -> Tensor:
    """Digits d of boards (B, N) become names[:, d - 1]; blanks stay."""
    table = torch.cat((torch.zeros_like(names[:, :1]), names), dim=1)
    return table.gather(1, boards)


def _right(prediction: Tensor, batch: Batch) -> Tensor:
    """Whether all blanks are right: outputs (B, N, digits) of one loop -> (B,)."""
    return ((prediction.argmax(-1) + 1 == batch.targets) | (batch.inputs != 0)).all(1)


def _score(solved: Tensor) -> Score:
    return Score(float(solved.double().mean()), len(solved))


def _boards(found: dict[str, Tensor], name: str) -> Boards:
    return Boards(*(found[f"{name}.{part}"] for part in ("puzzles", "solutions", "levels")))


def _found(config: SudokuConfig) -> dict[str, Tensor]:
    """All boards of a configuration, from the store where they have been made or proven."""
    sizes = [config.train_boards, config.validation_boards, config.test_boards]
    sources = [
        None if path is None else locate(path, where).sha256()
        for path, where in ((config.path, "task.path"), (config.hard_path, "task.hard_path"))
    ]
    key = (
        f"{PREPARATION} {json.dumps([config.side, config.givens, sizes, sources, draw_number(config.draw)])}"
    )
    return prepared(key, lambda: _made(config))


@lru_cache
def _prove(config: SudokuConfig) -> None:
    """Read all boards of files once a process; what is wrong with them is told."""
    _found(config)


def _made(config: SudokuConfig) -> dict[str, Tensor]:
    geometry = GEOMETRIES[config.side]
    wanted = {
        "easy.train": config.train_boards,
        "easy.validation": config.validation_boards,
        "easy.test": config.test_boards,
        "hard.validation": config.validation_boards,
        "hard.test": config.test_boards,
    }
    pairs: dict[str, list[Pair]] = {}
    if config.path is not None:
        pairs |= boards_like_training(
            str(config.path), geometry, config.train_boards, config.validation_boards, config.test_boards
        )
    if config.hard_path is not None:
        pairs |= harder_boards(str(config.hard_path), geometry, config.validation_boards, config.test_boards)
    known = solutions_of_files(pairs, geometry)
    left = {name: number for name, number in wanted.items() if name not in pairs}
    tests = {name: number for name, number in left.items() if name.endswith("test")}
    others = {name: number for name, number in left.items() if name not in tests}
    pairs |= make_boards(geometry, config.givens, tests, DATA_SEED, known)
    draw = draw_number(config.draw)
    seed = named_seed(DATA_SEED, drawn("train", draw)) if draw else DATA_SEED
    pairs |= make_boards(geometry, config.givens, others, seed, known)
    tensors = {}
    for name in wanted:
        puzzles, solutions = zip(*pairs[name], strict=True)
        tensors[f"{name}.puzzles"] = torch.tensor(puzzles, dtype=torch.uint8)
        tensors[f"{name}.solutions"] = torch.tensor(solutions, dtype=torch.uint8)
        levels = [0 if name == "easy.train" else level_of(puzzle, geometry) for puzzle in puzzles]
        tensors[f"{name}.levels"] = torch.tensor(levels, dtype=torch.uint8)
    return tensors


task = Sudoku
