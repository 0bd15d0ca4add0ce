"""Sudoku boards: proven to have one solution, made from whole solutions by taking digits away, told apart up to relabelling.

A board is a list of digits in reading order, 0 where it is blank.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from oscbench.errors import UserError
from oscbench.models.trunk import named_seed

Board = Sequence[int]
Pair = tuple[list[int], list[int]]
"""A puzzle and its solution."""
MOST_TRIES = 10_000
"""Solutions in a row that may be none of those wanted, before there are taken to be none."""
LEVELS = ("naked_singles", "hidden_singles", "guess")
"""What it takes at most to solve a board: a cell with one digit left, a digit with one cell left in a unit, or a guess."""


@dataclass(frozen=True)
class Geometry:
    """A board of side × side cells whose boxes have `height` rows and `width` columns."""

    height: int
    width: int

    @property
    def side(self) -> int:
        """Digits, rows, columns and boxes."""
        return self.height * self.width

    @cached_property
    def places(self) -> list[tuple[int, int, int]]:
        """Row, column and box of each cell, as indices into `units`."""
        side, found = self.side, []
        for cell in range(side * side):
            row, column = divmod(cell, side)
            box = row // self.height * (side // self.width) + column // self.width
            found.append((row, side + column, 2 * side + box))
        return found

    @cached_property
    def units(self) -> list[list[int]]:
        """Cells of all rows, then all columns, then all boxes; in each, every digit stands once."""
        found: list[list[int]] = [[] for _ in range(3 * self.side)]
        for cell, units in enumerate(self.places):
            for unit in units:
                found[unit].append(cell)
        return found


GEOMETRIES = {4: Geometry(2, 2), 6: Geometry(2, 3), 9: Geometry(3, 3)}
"""By side."""


@dataclass(frozen=True)
class Solved:
    """What a search found.

    Attributes:
        count: solutions, no further than the limit.
        solution: the first one; None where there is none.
        hidden: how often no blank had a single digit left, but some digit a single cell in its row, column or box.
        guesses: how often neither was so.
    """

    count: int
    solution: list[int] | None
    hidden: int
    guesses: int


class _Search:
    """Depth first, forced cells first, then the cell with the fewest digits left."""

    def __init__(self, board: Board, geometry: Geometry, limit: int, source: random.Random | None) -> None:
        self.board, self.geometry, self.limit, self.source = list(board), geometry, limit, source
        self.every = (1 << geometry.side) - 1
        self.used = [0] * (3 * geometry.side)
        self.blanks: list[int] = []
        self.count = self.hidden = self.guesses = 0
        self.solution: list[int] | None = None
        self.consistent = True
        for cell, digit in enumerate(board):
            if not digit:
                self.blanks.append(cell)
                continue
            bit = 1 << (digit - 1)
            row, column, box = geometry.places[cell]
            self.consistent &= not (self.used[row] | self.used[column] | self.used[box]) & bit
            self._flip(cell, bit)

    def _flip(self, cell: int, bit: int) -> None:
        row, column, box = self.geometry.places[cell]
        self.used[row] ^= bit
        self.used[column] ^= bit
        self.used[box] ^= bit

    def run(self) -> Solved:
        """Search it all, or until the limit."""
        if self.consistent:
            self._descend()
        return Solved(self.count, self.solution, self.hidden, self.guesses)

    def _descend(self) -> None:
        if not self.blanks:
            self.count += 1
            self.solution = self.solution or list(self.board)
            return
        place, options = self._fewest()
        if options & (options - 1) and self.source is None:
            place, options = self._only_cell(place, options)
            forced = not options & (options - 1)
            self.hidden += forced
            self.guesses += not forced
        if not options:
            return
        blanks = self.blanks
        cell = blanks[place]
        blanks[place] = blanks[-1]
        blanks.pop()
        for bit in self._bits(options):
            self.board[cell] = bit.bit_length()
            self._flip(cell, bit)
            self._descend()
            self._flip(cell, bit)
            if self.count >= self.limit:
                break
        self.board[cell] = 0
        blanks.append(cell)
        blanks[place], blanks[-1] = blanks[-1], blanks[place]

    def _fewest(self) -> tuple[int, int]:
        """The blank with the fewest digits left: its place among the blanks, and the digits as bits."""
        used, places, every = self.used, self.geometry.places, self.every
        least, found = 99, (0, 0)
        for place, cell in enumerate(self.blanks):
            row, column, box = places[cell]
            options = every & ~(used[row] | used[column] | used[box])
            number = options.bit_count()
            if number < least:
                least, found = number, (place, options)
                if number <= 1:
                    break
        return found

    def _only_cell(self, place: int, options: int) -> tuple[int, int]:
        """A blank that alone of its unit can take a digit, the given choice where there is none, or no digit where one fits nowhere."""
        used, places, every = self.used, self.geometry.places, self.every
        once, twice = [0] * len(used), [0] * len(used)
        left = []
        for cell in self.blanks:
            row, column, box = places[cell]
            can = every & ~(used[row] | used[column] | used[box])
            left.append(can)
            for unit in (row, column, box):
                twice[unit] |= once[unit] & can
                once[unit] |= can
        if any(once[unit] | used[unit] != every for unit in range(len(used))):
            return place, 0
        for index, cell in enumerate(self.blanks):
            row, column, box = places[cell]
            alone = (once[row] & ~twice[row]) | (once[column] & ~twice[column]) | (once[box] & ~twice[box])
            if found := left[index] & alone:
                return index, found & -found
        return place, options

    def _bits(self, options: int) -> list[int]:
        bits = [1 << digit for digit in range(self.geometry.side) if options >> digit & 1]
        if self.source is not None:
            self.source.shuffle(bits)
        return bits


def solve(board: Board, geometry: Geometry, limit: int = 2) -> Solved:
    """All solutions of a board up to a limit: with 2, a count of 1 proves that there is only one."""
    return _Search(board, geometry, limit, None).run()


def whole_solution(geometry: Geometry, source: random.Random) -> list[int]:
    """A random solution; not all are equally likely."""
    found = _Search([0] * geometry.side**2, geometry, 1, source).run().solution
    assert found is not None
    return found


def dig(solution: Board, geometry: Geometry, givens: int, source: random.Random) -> list[int]:
    """A board with that solution alone and so many givens, or as few as one pass over the cells leaves; 0 gives a minimal board.

    Cells are tried in a random order; a digit goes if no other could stand in its place, which one pass finds for good: with
    fewer givens around it, a digit that had to stay still has to.
    """
    board, left = list(solution), len(solution)
    order = list(range(left))
    source.shuffle(order)
    for cell in order:
        if left <= givens:
            break
        if not _replaceable(board, cell, geometry):
            board[cell] = 0
            left -= 1
    return board


def _replaceable(board: list[int], cell: int, geometry: Geometry) -> bool:
    """Whether the board has a solution with another digit in that cell."""
    own = board[cell]
    seen = {board[other] for unit in geometry.places[cell] for other in geometry.units[unit]}
    found = False
    for digit in range(1, geometry.side + 1):
        if digit not in seen:
            board[cell] = digit
            if solve(board, geometry, 1).count:
                found = True
                break
    board[cell] = own
    return found


def relabelled_to_order(solution: Board, geometry: Geometry) -> list[int]:
    """The solution with digits renamed so that its first row is 1, 2, 3, …: equal for all that differ in names alone."""
    names = {digit: place + 1 for place, digit in enumerate(solution[: geometry.side])}
    return [names[digit] for digit in solution]


def split_of(solution: Board, geometry: Geometry) -> str:
    """`train` (six in ten), `validation` (one) or `test` (three), by a hash of the solution up to relabelling."""
    digest = hashlib.sha256(bytes(relabelled_to_order(solution, geometry))).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return "train" if share < 0.6 else "validation" if share < 0.7 else "test"


def is_solution(board: Board, geometry: Geometry) -> bool:
    """Whether every unit holds every digit."""
    digits = set(range(1, geometry.side + 1))
    return all({board[cell] for cell in unit} == digits for unit in geometry.units)


def make_boards(
    geometry: Geometry,
    givens: tuple[int, int],
    wanted: dict[str, int],
    seed: int,
    without: Collection[tuple[int, ...]] = (),
) -> dict[str, list[Pair]]:
    """So many boards under names such as `easy.train`: `easy` has from so many to so many givens, `hard` is minimal.

    Solution i of a size depends on seed and i alone, and goes to the split that its hash says; the boards of a name are the first that
    fall to it.

    Args:
        geometry: Of the boards.
        givens: Fewest and most of easy ones.
        wanted: Boards by name.
        seed: Of all draws.
        without: Solutions, as `relabelled_to_order` has them, that no board may have.

    Raises:
        UserError: too few other solutions are left.
    """
    found: dict[str, list[Pair]] = {name: [] for name in wanted}
    last = 0
    for index in itertools.count():
        short = [name for name in wanted if len(found[name]) < wanted[name]]
        if not short:
            return found
        if index - last > MOST_TRIES:
            raise UserError(
                f"task.side: of {geometry.side} × {geometry.side} no boards are left for {short[0]} whose solution the files lack"
            )
        source = random.Random(named_seed(seed, f"{geometry.side}/{index}"))
        solution = whole_solution(geometry, source)
        if without and tuple(relabelled_to_order(solution, geometry)) in without:
            continue
        split = split_of(solution, geometry)
        for name in short:
            kind, _, of = name.partition(".")
            if of == split:
                number = source.randint(*givens) if kind == "easy" else 0
                found[name].append((dig(solution, geometry, number, source), solution))
                last = index
    raise AssertionError("unreachable")


def level_of(puzzle: Board, geometry: Geometry) -> int:
    """What it takes to solve a board: a place in `LEVELS`."""
    solved = solve(puzzle, geometry)
    return 2 if solved.guesses else 1 if solved.hidden else 0
