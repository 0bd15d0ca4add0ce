"""Sudoku: every board has its one solution, splits share none up to digits' names, and votes never look at the rules."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from oscbench import catalog
from oscbench.errors import UserError
from oscbench.models.backbones.grid import Grid, GridConfig
from oscbench.models.trunk import Output, named_seed
from oscbench.tasks import Batch
from oscbench.tasks.sudoku import DATA_SEED, Sudoku, SudokuConfig
from oscbench.tasks.support.sudoku.boards import (
    GEOMETRIES,
    Geometry,
    dig,
    is_solution,
    level_of,
    make_boards,
    relabelled_to_order,
    solve,
    split_of,
    whole_solution,
)
from oscbench.tasks.support.sudoku.files import read_pairs
from oscbench.tasks.support.sudoku.votes import Answers, sample_energy, votes

SMALL = {"side": 4, "train_boards": 30, "validation_boards": 6, "test_boards": 12, "voting_boards": 5}
FOUR, SIX, NINE = GEOMETRIES[4], GEOMETRIES[6], GEOMETRIES[9]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def made(**settings: Any) -> Sudoku:
    return Sudoku(SudokuConfig.model_validate({**SMALL, **settings}))


def every_solution(board: list[int], geometry: Geometry) -> list[list[int]]:
    """By trying everything, without the search under test."""
    blanks = [cell for cell, digit in enumerate(board) if not digit]
    found = []
    for digits in itertools.product(range(1, geometry.side + 1), repeat=len(blanks)):
        filled = list(board)
        for cell, digit in zip(blanks, digits, strict=True):
            filled[cell] = digit
        if is_solution(filled, geometry):
            found.append(filled)
    return found


def test_search_counts_all_288_solutions_of_an_empty_board() -> None:
    assert solve([0] * 16, FOUR, limit=10_000).count == 288


@pytest.mark.parametrize("seed", range(6))
def test_search_agrees_with_trying_everything(seed: int) -> None:
    source = random.Random(seed)
    board = whole_solution(FOUR, source)
    for cell in source.sample(range(16), 6):
        board[cell] = 0
    truth = every_solution(board, FOUR)
    assert solve(board, FOUR, limit=100).count == len(truth)
    assert solve(board, FOUR).solution in truth


@pytest.mark.parametrize("side", [4, 6, 9])
def test_minimal_boards_have_one_solution_and_no_given_can_go(side: int) -> None:
    geometry, source = GEOMETRIES[side], random.Random(side)
    for _ in range(5):
        solution = whole_solution(geometry, source)
        assert is_solution(solution, geometry)
        board = dig(solution, geometry, 0, source)
        found = solve(board, geometry)
        assert (found.count, found.solution) == (1, solution)
        for cell in range(side * side):
            if board[cell]:
                assert solve([0 if i == cell else d for i, d in enumerate(board)], geometry).count == 2


def test_so_many_givens_as_asked() -> None:
    source = random.Random(0)
    board = dig(whole_solution(NINE, source), NINE, 36, source)
    assert sum(digit > 0 for digit in board) == 36


def test_levels_are_what_the_solver_needed() -> None:
    solution = whole_solution(FOUR, random.Random(0))
    assert level_of([0, *solution[1:]], FOUR) == 0
    # Wikipedia's example (2007) of singles that need units; and a board of 17 givens that takes guesses.
    hidden = "530070000600195000098000060800060003400803001700020006060000280000419005000080079"
    assert level_of([int(c) for c in hidden], NINE) <= 1
    hard = "800000000003600000070090200050007000000045700000100030001000068008500010090000400"
    found = solve([int(c) for c in hard], NINE)
    assert found.count == 1
    assert found.guesses > 0
    assert level_of([int(c) for c in hard], NINE) == 2


def test_contradictions_have_no_solution() -> None:
    assert solve([1, 1, *[0] * 14], FOUR).count == 0
    # The first row's 4 must stand in its last cell, where the column has one already.
    assert solve([1, 2, 3, 0, 0, 0, 0, 4, *[0] * 8], FOUR).count == 0


@pytest.mark.parametrize("side", [4, 6, 9])
def test_split_does_not_depend_on_the_names_of_digits(side: int) -> None:
    geometry, source = GEOMETRIES[side], random.Random(1)
    solution = whole_solution(geometry, source)
    names = source.sample(range(1, side + 1), side)
    renamed = [names[digit - 1] for digit in solution]
    assert relabelled_to_order(renamed, geometry) == relabelled_to_order(solution, geometry)
    assert split_of(renamed, geometry) == split_of(solution, geometry)
    assert relabelled_to_order(solution, geometry)[:side] == list(range(1, side + 1))


def test_splits_share_no_solution_up_to_names_and_do_not_depend_on_one_anothers_sizes() -> None:
    task = made(side=6, train_boards=40)
    forms = {}
    for split in ("train", "validation", "test"):
        solutions = [task.splits[split].targets]
        solutions += [] if split == "train" else [task.easy[split].solutions.long()]
        forms[split] = {
            tuple(relabelled_to_order(row, GEOMETRIES[6])) for row in torch.cat(solutions).tolist()
        }
    assert not forms["train"] & forms["test"]
    assert not forms["train"] & forms["validation"]
    assert not forms["validation"] & forms["test"]
    other = made(side=6, train_boards=50)
    assert torch.equal(other.splits["test"].inputs, task.splits["test"].inputs)
    assert torch.equal(other.splits["train"].inputs[:40], task.splits["train"].inputs)
    assert task.data_hash() != other.data_hash()
    assert task.data_hash() == made(side=6, train_boards=40).data_hash()


def test_training_boards_have_the_givens_asked_for_and_harder_ones_fewer() -> None:
    task = made(side=6, min_givens=16, max_givens=17)
    givens = (task.splits["train"].inputs > 0).sum(1)
    assert givens.min() == 16
    assert givens.max() == 17
    assert (task.hard["test"].puzzles > 0).sum(1).max() < 16
    for batch in task.splits.values():
        known = batch.inputs > 0
        assert torch.equal(batch.inputs[known], batch.targets[known])


def test_renaming_in_training_keeps_boards_whole() -> None:
    task = made()
    batches = list(
        task.training_batches(8, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    )
    plain = list(task.training_batches(8, torch.Generator().manual_seed(0), torch.Generator().manual_seed(2)))
    assert sum(len(batch.inputs) for batch in batches) == 30
    changed = False
    for batch, other in zip(batches, plain, strict=True):
        assert torch.equal(batch.inputs == 0, other.inputs == 0)
        changed |= not torch.equal(batch.targets, other.targets)
        for puzzle, solution in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            assert is_solution(solution, FOUR)
            assert all(given in (0, digit) for given, digit in zip(puzzle, solution, strict=True))
    assert changed


def prediction_of(digits: Tensor, loops: int = 2) -> Tensor:
    """Logits (B, loops, N, side) whose likeliest digits are these."""
    return 9.0 * torch.nn.functional.one_hot(digits - 1, 4).float()[:, None].expand(-1, loops, -1, -1)


def test_a_board_counts_if_all_blanks_are_right_and_givens_are_never_asked() -> None:
    task = made()
    batch = next(task.batches("test", 12))
    assert task.scores(prediction_of(batch.targets), batch).mean() == 1.0
    wrong = batch.targets.clone()
    given, blank = (batch.inputs[0] > 0).nonzero()[0], (batch.inputs[0] == 0).nonzero()[0]
    wrong[0, given] = wrong[0, given] % 4 + 1
    assert task.scores(prediction_of(wrong), batch).mean() == 1.0
    assert torch.equal(task.loss(prediction_of(wrong), batch), task.loss(prediction_of(batch.targets), batch))
    wrong[0, blank] = wrong[0, blank] % 4 + 1
    assert task.scores(prediction_of(wrong), batch)[0] == 0.0
    assert task.loss(prediction_of(wrong), batch) > task.loss(prediction_of(batch.targets), batch)


def test_loss_is_the_mean_over_loops() -> None:
    task = made()
    batch = next(task.batches("test", 12))
    right, unsure = prediction_of(batch.targets, 1), torch.zeros(12, 1, 16, 4)
    both = task.loss(torch.cat((unsure, right), dim=1), batch)
    assert both.item() == pytest.approx((task.loss(right, batch) + task.loss(unsure, batch)).item() / 2)


class Solver(torch.nn.Module):
    """Gives the solution from loop `ready` on, and until then a wrong digit in the first blank."""

    def __init__(self, ready: int, geometry: Geometry = FOUR) -> None:
        super().__init__()
        self.config = GridConfig(loops=2)
        self.ready, self.geometry = ready, geometry

    def forward(self, inputs: Tensor, *, loops: int = 2, diagnostics: bool = False) -> Output:
        del diagnostics
        solutions = torch.tensor([solve(row, self.geometry).solution for row in inputs.tolist()])
        wrong = solutions.clone()
        first = (inputs == 0).int().argmax(1, keepdim=True)
        wrong.scatter_(1, first, wrong.gather(1, first) % 4 + 1)
        steps = [solutions if n + 1 >= self.ready else wrong for n in range(loops)]
        return Output(torch.cat([prediction_of(step, 1) for step in steps], dim=1), [])


def test_evaluation_scores_each_number_of_loops_and_kind_of_board() -> None:
    task, name = made(headline_loops=4), "boards_solved"
    found = task.evaluate(Solver(ready=8), "test", torch.device("cpu"))
    assert [found[f"{name}_hard_loops_{n}"].value for n in (2, 4, 8, 16)] == [0.0, 0.0, 1.0, 1.0]
    assert [found[f"{name}_easy_loops_{n}"].value for n in (2, 4, 8, 16)] == [0.0, 0.0, 1.0, 1.0]
    assert found[name].value == 1.0
    levels = [
        found[f"{name}_{level}"].count
        for level in ("naked_singles", "hidden_singles")
        if f"{name}_{level}" in found
    ]
    assert sum(levels) == found[name].count == 12
    ways = ("random", "confidence", "majority", "any")
    assert [found[f"{name}_vote_{way}"].value for way in ways] == [1.0] * 4
    assert found[f"{name}_vote_any"].count == 5
    assert f"{name}_vote_energy" not in found
    late = task.evaluate(Solver(ready=9), "test", torch.device("cpu"))
    assert late[name].value == 0.0
    quick = task.evaluate(Solver(ready=8), "validation", torch.device("cpu"))
    assert set(quick) == {name, f"{name}_hard_loops_8", f"{name}_easy_loops_8"}
    assert quick[name].count == 6


@pytest.mark.parametrize("mechanism", ["softmax", "kope", "akorn"])
def test_a_model_trains_and_votes_over_starts_where_it_draws_them(mechanism: str) -> None:
    task, found = made(train_boards=16, views=3), catalog.load("mechanisms", mechanism)
    config = GridConfig(width=16, heads=2, layers=1, loops=2, state="carry")
    settings = {"steps": 2, "redraw": True, "condition": "none"} if mechanism == "akorn" else {}
    model = Grid(config, task.inputs, found, found.Config(**settings), hidden=None, seed=0)
    batch = next(task.training_batches(16, torch.Generator(), torch.Generator()))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(80):
        loss = task.loss(model(batch.inputs).prediction, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    scores = task.evaluate(model, "test", torch.device("cpu"))
    # KoPE has phases, and no energy that its authors would choose by.
    assert "boards_solved_vote_energy" not in scores
    ways = {name.rpartition("_")[2] for name in scores if "_vote_starts_" in name}
    assert ways == ({"random", "confidence", "majority", "any", "energy"} if mechanism == "akorn" else set())
    assert model.training
    low, high = (scores[f"boards_solved_vote_{way}"].value for way in ("random", "any"))
    assert low <= high
    assert scores == task.evaluate(model, "test", torch.device("cpu"))


@torch.no_grad()
def test_starts_of_a_board_differ_and_the_lowest_energy_is_theirs() -> None:
    task, found = made(views=4), catalog.load("mechanisms", "akorn")
    config = GridConfig(width=16, heads=2, layers=2, loops=2, state="carry")
    model = Grid(config, task.inputs, found, found.Config(steps=3, redraw=True), hidden=None, seed=0).eval()
    puzzles = task.hard["test"].puzzles[:3].long()
    answers = task._starts(model, puzzles, 2)
    assert answers is not None
    assert answers.energy is not None
    assert all(len(row.unique()) == 4 for row in answers.energy)
    again = task._starts(model, puzzles, 2)
    assert again is not None
    assert again.energy is not None
    assert torch.equal(answers.energy, again.energy)
    assert (answers.boards >= 1).all()
    assert torch.equal(answers.boards * (puzzles > 0)[:, None], puzzles[:, None].expand(-1, 4, -1))
    # By hand: the energies of every step of the last loop's layers, for the first start of each board.
    mechanism = model.trunk.mechanism
    mechanism.draw = named_seed(DATA_SEED, "starts")
    output = model(puzzles.repeat_interleave(4, 0), loops=2, diagnostics=True)
    mechanism.draw = None
    by_hand = sum(float(layer["energies"][4].sum()) for layer in output.diagnostics[2:])
    assert answers.energy[1, 0].item() == pytest.approx(by_hand)
    assert torch.equal(model(puzzles).prediction, model(puzzles).prediction)


def test_a_mechanism_whose_start_is_fixed_has_no_vote_over_starts() -> None:
    task, found = made(), catalog.load("mechanisms", "akorn")
    model = Grid(
        GridConfig(width=16, heads=2, layers=1),
        task.inputs,
        found,
        found.Config(steps=1),
        hidden=None,
        seed=0,
    )
    assert task._starts(model, task.hard["test"].puzzles[:2].long(), 2) is None


def test_views_are_read_back_in_the_boards_own_digits() -> None:
    task = made()
    batch = next(task.batches("test", 12))
    answers = task._renamings(Solver(ready=1), batch.inputs, 2)
    assert answers.boards.shape == (12, 8, 16)
    assert torch.equal(answers.boards, batch.targets[:, None].expand(-1, 8, -1))


def test_votes_choose_by_their_own_sign_and_bounds_enclose_them() -> None:
    solution = torch.tensor([[1, 2, 3]])
    right, wrong, other = [1, 2, 3], [1, 3, 2], [3, 2, 1]
    boards = torch.tensor([[right, wrong, wrong, other]])
    confidence = torch.tensor([[0.6, 0.9, 0.5, 0.7]])
    energy = torch.tensor([[-5.0, -1.0, -2.0, -3.0]])
    found = votes(Answers(boards, confidence, energy), solution)
    assert {way: value.item() for way, value in found.items()} == {
        "random": 0.25,
        "confidence": 0.0,
        "majority": 0.0,
        "any": 1.0,
        "energy": 1.0,
    }
    tied = Answers(torch.tensor([[right, wrong]]), torch.tensor([[0.8, 0.7]]), None)
    assert votes(tied, solution)["majority"].item() == 1.0


def test_energy_is_the_sum_over_layers_and_steps_and_phases_have_none() -> None:
    layers = [
        {"energies": torch.tensor([[1.0, 2.0], [3.0, 4.0]])},
        {"energies": torch.tensor([[0.5, 0.5], [-1.0, 0.0]])},
    ]
    energy = sample_energy(layers)
    assert energy is not None
    assert energy.tolist() == [4.0, 6.0]
    assert sample_energy([{"attention": torch.ones(2, 1, 3, 3), "phases": torch.zeros(2, 1, 3, 1)}]) is None


def lines(path: Path, count: int = 20, side: int = 4, seed: int = 3) -> list[str]:
    givens = (7, 8) if side == 4 else (15, 18)
    pairs = make_boards(GEOMETRIES[side], givens, {"easy.train": count}, seed=seed)["easy.train"]
    found = [",".join("".join(map(str, part)) for part in pair) for pair in pairs]
    path.write_text("\n".join(found) + "\n")
    return found


def test_files_are_split_by_their_lines(tmp_path: Path) -> None:
    path, hard = tmp_path / "easy.csv", tmp_path / "hard.csv"
    easy, harder = lines(path, side=6), lines(hard, 50, side=6, seed=4)
    task = made(side=6, path=str(path), hard_path=str(hard), validation_boards=2, test_boards=8)

    def puzzles(boards: Tensor) -> list[str]:
        return ["".join(map(str, row)) for row in boards.tolist()]

    assert puzzles(task.splits["train"].inputs) == [line.split(",")[0] for line in easy[:17]]
    assert puzzles(task.easy["validation"].puzzles) == [line.split(",")[0] for line in easy[17:18]]
    assert puzzles(task.easy["test"].puzzles) == [line.split(",")[0] for line in easy[18:]]
    validation, test = (puzzles(task.hard[split].puzzles) for split in ("validation", "test"))
    assert len(validation + test) == 10
    solutions = [
        {tuple(relabelled_to_order(row, SIX)) for row in task.hard[of].solutions.tolist()}
        for of in ("validation", "test")
    ]
    assert not solutions[0] & solutions[1]
    assert sorted(validation + test) == sorted(line.split(",")[0] for line in harder[::5])
    assert task.headline(task.config)[1].label.startswith("harder boards")


def test_boards_of_one_solution_up_to_names_are_in_one_split_and_too_few_solutions_are_refused(
    tmp_path: Path,
) -> None:
    path, source = tmp_path / "hard.csv", random.Random(4)
    solutions = [whole_solution(FOUR, source) for _ in range(3)]
    assert len({tuple(relabelled_to_order(one, FOUR)) for one in solutions}) == 3

    def told(solution: list[int]) -> str:
        names = source.sample(range(1, 5), 4)
        renamed = [names[digit - 1] for digit in solution]
        puzzle = dig(renamed, FOUR, 0, source)
        return ",".join("".join(map(str, board)) for board in (puzzle, renamed))

    path.write_text("\n".join(told(one) for _ in range(6) for one in solutions))
    task = made(hard_path=str(path), validation_boards=6, test_boards=12)
    kept = [
        {tuple(relabelled_to_order(row, FOUR)) for row in task.hard[split].solutions.tolist()}
        for split in ("validation", "test")
    ]
    assert [len(one) for one in kept] == [1, 2]
    assert not kept[0] & kept[1]
    path.write_text("\n".join(told(solutions[0]) for _ in range(6)))
    with pytest.raises(UserError, match="its 3 boards have 1 solutions up to relabelling, too few"):
        made(hard_path=str(path), validation_boards=1, test_boards=2)


def test_boards_of_training_that_tell_a_solution_that_is_scored_are_refused_or_made_anew(
    tmp_path: Path,
) -> None:
    """Training renames digits: a board of the same solution under other names is told as well."""
    path, hard = tmp_path / "easy.csv", tmp_path / "hard.csv"
    lines(path, side=6)
    lines(hard, 50, side=6)
    with pytest.raises(
        UserError, match=r"task\.path: \d+ of 17 boards of training, the first of them board 1, have"
    ):
        made(side=6, path=str(path), hard_path=str(hard), validation_boards=2, test_boards=8)
    # Of a file that is as hard as it likes, made boards of training are others.
    task = made(side=6, train_boards=40, hard_path=str(hard), validation_boards=10, test_boards=40)
    told = {
        tuple(relabelled_to_order(row, SIX))
        for split in ("validation", "test")
        for row in task.hard[split].solutions.tolist()
    }
    found = {tuple(relabelled_to_order(row, SIX)) for row in task.splits["train"].targets.tolist()}
    assert len(told) == 50
    assert not told & found
    assert len(task.splits["train"].inputs) == 40
    # Of 4 x 4 there are twelve solutions up to names: a file may leave none.
    lines(hard, 40)
    with pytest.raises(UserError, match="no boards are left for easy"):
        made(hard_path=str(hard), validation_boards=10, test_boards=30)


def test_a_draw_makes_other_boards_for_training_and_validation_and_the_same_for_the_test() -> None:
    one, other = made(), made(draw=3)
    assert torch.equal(one.hard["test"].puzzles, other.hard["test"].puzzles)
    assert torch.equal(one.easy["test"].puzzles, other.easy["test"].puzzles)
    assert not torch.equal(one.hard["validation"].puzzles, other.hard["validation"].puzzles)
    assert not torch.equal(one.splits["train"].inputs, other.splits["train"].inputs)
    names = {tuple(relabelled_to_order(row, FOUR)) for row in other.hard["test"].solutions.tolist()}
    assert not names & {
        tuple(relabelled_to_order(row, FOUR)) for row in other.splits["train"].targets.tolist()
    }
    seeds = [
        Sudoku.for_seed(one.config.model_copy(update={"draw": "per_seed"}), seed).tensors() for seed in (3, 4)
    ]
    mine = other.tensors()
    assert all(torch.equal(seeds[0][name], boards) for name, boards in mine.items())
    assert not all(torch.equal(seeds[1][name], boards) for name, boards in mine.items())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("123,1234", "line 3: the puzzle has 3 cells, a board of 4 × 4 has 16"),
        ("0000000000000000", "line 3: needs puzzle,solution, has 1 parts"),
        ("00000000000000x0,1234341221434321", "line 3: the puzzle has 'x' in it, digits are 1 to 4"),
        ("0000000000000000,1234341221434322", "line 3: the solution breaks a rule"),
        ("2000000000000000,1234341221434321", "line 3: the solution changes a given"),
        ("0000000000000000,1234341221434321", "line 3: the puzzle has more than one solution"),
    ],
)
def test_a_bad_board_is_one_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "boards.csv"
    good = lines(path, 2)
    path.write_text("\n".join([*good, line]) + "\n")
    with pytest.raises(UserError, match=r"task\.path") as caught:
        Sudoku.describe(SudokuConfig(**{**SMALL, "path": str(path)}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("\n")
    with pytest.raises(UserError, match="no boards in it"):
        read_pairs(empty, "task.path", FOUR)
    with pytest.raises(UserError, match="oscbench data add sudoku_rrn"):
        Sudoku.describe(SudokuConfig(side=9, hard_path="sudoku_rrn"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_givens": 9, "max_givens": 7}, "min_givens 9, max_givens 7: must rise"),
        ({"max_givens": 16}, "stay below the 16 cells"),
        ({"path": "x.csv", "min_givens": 7}, "not for those of path"),
        ({"side": 5}, "side"),
        ({"path": "x.csv", "draw": "per_seed"}, "draw 'per_seed' is for boards that are made"),
        ({"headline_loops": 3}, "headline_loops"),
    ],
)
def test_settings_that_fit_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SudokuConfig.model_validate({**SMALL, **settings})


def test_floors_hear_no_cell_and_say_the_same_after_every_loop() -> None:
    task = made()
    assert set(Sudoku.floors(task.config)) == {"chance", "bag"}
    chance, bag = (task.floor(name) for name in ("chance", "bag"))
    solution = torch.tensor(whole_solution(FOUR, random.Random(0)))
    one_digit_missing = torch.where(solution == 2, 0, solution)[None]
    board = Batch(one_digit_missing, solution[None])
    assert task.scores(bag(board.inputs).prediction, board).item() == 1.0
    prediction = chance(torch.stack((solution, torch.zeros_like(solution))), loops=3).prediction
    assert prediction.shape == (2, 3, 16, 4)
    assert torch.equal(prediction[0], prediction[1])
    assert torch.equal(prediction[:, 0], prediction[:, 2])
    for floor in (chance, bag):
        found = task.evaluate(floor, "test", torch.device("cpu"))
        assert found["boards_solved"].value < 0.2
        assert "boards_solved_vote_majority" in found
