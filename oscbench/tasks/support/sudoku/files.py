"""Sudoku boards from files of `puzzle,solution` lines, each proven to have that solution alone."""

from __future__ import annotations

from pathlib import Path

from oscbench.errors import UserError
from oscbench.tasks.support.sudoku.boards import Geometry, Pair, is_solution, solve


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
