"""Sudoku boards from files of `puzzle,solution` lines, each proven to have that solution alone, and their splits."""

from __future__ import annotations

import itertools
from pathlib import Path

from oscbench.data import locate
from oscbench.errors import UserError
from oscbench.tasks.support.sudoku.boards import Geometry, Pair, is_solution, relabelled_to_order, solve


def boards_like_training(
    stored: str, geometry: Geometry, train: int, validation: int, test: int
) -> dict[str, list[Pair]]:
    """At most so many boards of `task.path` for each split: its last tenth for the test, the boards before it for validation."""
    pairs = read_pairs(locate(stored).path, "task.path", geometry)
    first_test = len(pairs) - max(1, len(pairs) // 10)
    first_validation = first_test - min(validation, max(1, first_test // 10))
    return {
        "easy.train": pairs[: min(first_validation, train)],
        "easy.validation": pairs[first_validation:first_test],
        "easy.test": pairs[first_test:][:test],
    }


def harder_boards(stored: str, geometry: Geometry, validation: int, test: int) -> dict[str, list[Pair]]:
    """About so many boards of `task.hard_path`, evenly spaced; of their solutions up to relabelling none is in both splits.

    Raises:
        UserError: also where so few solutions cannot be shared out.
    """
    where, wanted = "task.hard_path", validation + test
    pairs = read_pairs(locate(stored, where).path, where, geometry, wanted)
    names = [tuple(relabelled_to_order(solution, geometry)) for _, solution in pairs]
    place_of = {name: place for place, name in enumerate(dict.fromkeys(names))}
    # Of the solutions, in order of their first board, some evenly spaced ones are for validation.
    share = validation / wanted
    chosen = [int((place + 1) * share) > int(place * share) for place in map(place_of.__getitem__, names)]
    if all(chosen) or not any(chosen):
        raise UserError(
            f"{where}: {stored}: its {len(pairs)} boards have {len(place_of)} solutions up to relabelling, too few to give some to "
            f"{validation} boards of validation and others to {test} of the test"
        )
    return {
        "hard.validation": list(itertools.compress(pairs, chosen)),
        "hard.test": list(itertools.compress(pairs, (not one for one in chosen))),
    }


def read_pairs(path: Path, where: str, geometry: Geometry, lines: int | None = None) -> list[Pair]:
    """Boards and solutions, in the file's order; of a longer file so many lines, evenly spaced.

    A line is `puzzle,solution`, each a digit a cell in reading order, 0 or a point where the puzzle is blank.

    Raises:
        UserError: the file cannot be read, or a line is no puzzle with one solution, the one beside it.
    """
    try:
        text = path.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{where}: {path}: cannot be read as lines of digits ({str(error).splitlines()[0]})"
        ) from error
    numbered = [(number, line.strip()) for number, line in enumerate(text, 1) if line.strip()]
    if not numbered:
        raise UserError(f"{where}: {path}: no boards in it; needs lines of puzzle,solution")
    if lines is not None and lines < len(numbered):
        numbered = [numbered[place * len(numbered) // lines] for place in range(lines)]
    return [_pair(line, f"{where}: {path}, line {number}", geometry) for number, line in numbered]


def _pair(line: str, place: str, geometry: Geometry) -> Pair:
    parts = line.replace(".", "0").split(",")
    if len(parts) != 2:
        raise UserError(f"{place}: needs puzzle,solution, has {len(parts)} parts")
    cells, side = geometry.side**2, geometry.side
    for name, part in zip(("puzzle", "solution"), parts, strict=True):
        if len(part) != cells:
            raise UserError(
                f"{place}: the {name} has {len(part)} cells, a board of {side} × {side} has {cells}"
            )
        wrong = next((mark for mark in part if not ("0" <= mark <= str(side))), None)
        if wrong is not None:
            raise UserError(f"{place}: the {name} has {wrong!r} in it, digits are 1 to {side}, 0 for blank")
    puzzle, solution = ([int(mark) for mark in part] for part in parts)
    if not is_solution(solution, geometry):
        raise UserError(f"{place}: the solution breaks a rule")
    if any(given not in (0, digit) for given, digit in zip(puzzle, solution, strict=True)):
        raise UserError(f"{place}: the solution changes a given")
    if solve(puzzle, geometry).count != 1:
        raise UserError(f"{place}: the puzzle has more than one solution")
    return puzzle, solution


def solutions_of_files(pairs: dict[str, list[Pair]], geometry: Geometry) -> set[tuple[int, ...]]:
    """Solutions of the boards that were read, whatever their digits are called: boards that are made besides have others.

    Raises:
        UserError: boards of training tell a solution that is scored, since training renames their digits.
    """
    names = {
        name: [tuple(relabelled_to_order(solution, geometry)) for _, solution in boards]
        for name, boards in pairs.items()
    }
    train = names.pop("easy.train", [])
    scored = set(itertools.chain(*names.values()))
    told = [place for place, name in enumerate(train, 1) if name in scored]
    if told:
        raise UserError(
            f"task.path: {len(told)} of {len(train)} boards of training, the first of them board {told[0]}, have a solution that a file's "
            "boards of validation or test have, as it is or with other digits; take them out"
        )
    return scored.union(train)
