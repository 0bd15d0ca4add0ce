"""Rules on grids of ten colours: twelve primitives, their compositions of two, and grids for them to work on.

A grid is an integer array (height, width) of colours 0 to 9; 0 is the ground that objects stand on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Grid = npt.NDArray[np.int64]
LARGEST = 8
"""Side of the largest grid, before and after, where nothing else is said."""
SMALLEST = 3
"""Side of the smallest grid that objects are put on."""
PROBES = 40
"""Grids on which rules are told apart."""


@dataclass(frozen=True)
class Step:
    """A primitive with its choice made, as in `gravity` `down`."""

    primitive: str
    choice: str


Rule = tuple[Step, ...]


def _reflect(grid: Grid, choice: str) -> Grid:
    return grid[:, ::-1] if choice == "left-right" else grid[::-1]


def _rotate(grid: Grid, choice: str) -> Grid:
    return np.rot90(grid, {"left": 1, "half": 2, "right": 3}[choice])


def _transpose(grid: Grid, choice: str) -> Grid:
    return grid.T if choice == "falling" else grid[::-1, ::-1].T


def _recolour(grid: Grid, choice: str) -> Grid:
    """Colours 1 to 9 are renamed by a cycle of so many places."""
    return np.where(grid > 0, (grid - 1 + int(choice)) % 9 + 1, 0)


def _gravity(grid: Grid, choice: str) -> Grid:
    """Every coloured cell falls as far as the cells before it let it."""
    turns = {"down": 0, "left": 1, "up": 2, "right": 3}[choice]
    turned = np.rot90(grid, turns)
    fallen = np.zeros_like(turned)
    for column in range(turned.shape[1]):
        cells = turned[:, column][turned[:, column] > 0]
        fallen[turned.shape[0] - len(cells) :, column] = cells
    return np.rot90(fallen, -turns)


def _outline(grid: Grid, choice: str) -> Grid:
    """Ground cells beside a coloured one, corners too, take a colour."""
    near = ndimage.binary_dilation(grid > 0, np.ones((3, 3)))
    return np.where(near & (grid == 0), int(choice), grid)


def _fill(grid: Grid, choice: str) -> Grid:
    """Ground that no path leads out of takes a colour."""
    inside: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(grid > 0) & (grid == 0)
    return np.where(inside, int(choice), grid)


def _move(grid: Grid, choice: str) -> Grid:
    """All cells move by a vector; what leaves the grid is gone."""
    down, right = (int(part) for part in choice.split(","))
    height, width = grid.shape
    moved = np.zeros_like(grid)
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = grid[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved


def _crop(grid: Grid, choice: str) -> Grid:
    """The smallest rectangle around the largest, or smallest, object of touching cells (the first in reading order of equal ones)."""
    objects, count = ndimage.label(grid > 0)
    if not count:
        return grid
    sizes = ndimage.sum_labels(grid > 0, objects, range(1, count + 1))
    chosen = int(np.argmax(sizes) if choice == "largest" else np.argmin(sizes))
    found: Grid = grid[ndimage.find_objects(objects)[chosen]]
    return found


def _repeat(grid: Grid, choice: str) -> Grid:
    return np.tile(grid, (1, 2) if choice == "right" else (2, 1))


def _symmetrise(grid: Grid, choice: str) -> Grid:
    """The left, or upper, half is mirrored onto the other."""
    mirrored = grid[:, ::-1] if choice == "left-right" else grid[::-1]
    index = np.arange(grid.shape[1]) if choice == "left-right" else np.arange(grid.shape[0])[:, None]
    length = grid.shape[1] if choice == "left-right" else grid.shape[0]
    return np.where(index < (length + 1) // 2, grid, mirrored)


def _keep(grid: Grid, choice: str) -> Grid:
    """Cells of the most, or least, frequent colour stay (of equally frequent ones, the lowest number)."""
    colours, counts = np.unique(grid[grid > 0], return_counts=True)
    if not len(colours):
        return grid
    kept = colours[np.argmax(counts) if choice == "most" else np.argmin(counts)]
    return np.where(grid == kept, grid, 0)


PRIMITIVES: dict[str, tuple[Callable[[Grid, str], Grid], tuple[str, ...]]] = {
    "reflect": (_reflect, ("left-right", "up-down")),
    "rotate": (_rotate, ("left", "half", "right")),
    "transpose": (_transpose, ("falling", "rising")),
    "recolour": (_recolour, ("1", "2", "4", "7")),
    "gravity": (_gravity, ("down", "left", "up", "right")),
    "outline": (_outline, ("2", "5", "8")),
    "fill": (_fill, ("1", "3", "6")),
    "move": (_move, ("1,0", "0,1", "-1,-1", "2,1")),
    "crop": (_crop, ("largest", "smallest")),
    "repeat": (_repeat, ("right", "down")),
    "symmetrise": (_symmetrise, ("left-right", "up-down")),
    "keep": (_keep, ("most", "least")),
}
"""What each does to a grid, and the choices that it has."""


def applied(rule: Rule, grid: Grid) -> Grid:
    """What a rule makes of a grid."""
    for step in rule:
        grid = PRIMITIVES[step.primitive][0](grid, step.choice)
    return np.ascontiguousarray(grid)


def random_grid(source: random.Random, most: int = LARGEST, least: int = SMALLEST) -> Grid:
    """A grid of `least` to `most` cells a side with two to four objects: rectangles, hollow or full, and strokes, of one colour each."""
    height, width = source.randint(least, most), source.randint(least, most)
    grid = np.zeros((height, width), dtype=np.int64)
    for _ in range(source.randint(2, 4)):
        tall, wide = source.randint(1, max(1, height - 1)), source.randint(1, max(1, width - 1))
        if source.random() < 0.3:  # a stroke
            tall, wide = (1, wide) if source.random() < 0.5 else (tall, 1)
        top, left = source.randint(0, height - tall), source.randint(0, width - wide)
        colour = source.randint(1, 9)
        grid[top : top + tall, left : left + wide] = colour
        if tall > 2 and wide > 2 and source.random() < 0.6:
            grid[top + 1 : top + tall - 1, left + 1 : left + wide - 1] = 0
    return grid


def example(
    rule: Rule, source: random.Random, tries: int = 100, largest: int = LARGEST, always: bool = False
) -> tuple[Grid, Grid]:
    """A grid that the rule changes into something that is not empty and no larger than allowed, and what it makes of it.

    Args:
        rule: To be shown.
        source: Of random numbers.
        tries: Grids that may be drawn.
        largest: Side that neither may exceed.
        always: Draw no smaller grid than there is room for before the rule.
    """
    doubled = any(step.primitive == "repeat" for step in rule)
    most = largest // 2 if doubled else largest
    for _ in range(tries):
        grid = random_grid(source, most, most if always else SMALLEST)
        after = applied(rule, grid)
        if max(after.shape) <= largest and after.any() and not np.array_equal(grid, after):
            return grid, after
    raise ValueError(f"{rule} changes none of {tries} grids")


def rules(train: int, test: int, seed: int, largest: int = LARGEST) -> tuple[list[Rule], list[Rule]]:
    """Rules of training and of the test, no two of which do the same to all of some probing grids.

    Training has every primitive by itself with one choice at least, then compositions of two; the test has compositions alone, of
    pairs of primitives that stand together, in this order, in no rule of training.
    """
    source = random.Random(seed)
    probes = [random_grid(random.Random(f"{seed}/{index}"), largest) for index in range(PROBES)]
    shuffled = {name: source.sample(choices, len(choices)) for name, (_, choices) in PRIMITIVES.items()}
    # A first choice of every primitive, then second choices, …
    singles: list[Rule] = [
        (Step(name, choices[place]),)
        for place in range(max(map(len, shuffled.values())))
        for name, choices in shuffled.items()
        if place < len(choices)
    ]
    pairs = [(a, b) for a in PRIMITIVES for b in PRIMITIVES if a != b]
    source.shuffle(pairs)
    held_out = pairs[: len(pairs) // 2]
    known: set[bytes] = {_signature((), probes)}

    def distinct(wanted: list[Rule], count: int) -> list[Rule]:
        found: list[Rule] = []
        for rule in wanted:
            signature = _signature(rule, probes)
            if len(found) < count and signature not in known and _often_works(rule, source, largest):
                known.add(signature)
                found.append(rule)
        return found

    def compositions(of: list[tuple[str, str]]) -> list[Rule]:
        # Four times through, so that all pairs come before a second choice of one.
        order = [pair for _ in range(4) for pair in source.sample(of, len(of))]
        return [tuple(Step(name, source.choice(PRIMITIVES[name][1])) for name in pair) for pair in order]

    single = distinct(singles, min(len(singles), (2 * train + 4) // 5))
    seen = single + distinct(compositions(pairs[len(pairs) // 2 :]), train - len(single))
    unseen = distinct(compositions(held_out), test)
    if len(seen) < train or len(unseen) < test:
        raise ValueError(
            f"{train} rules of training and {test} of the test are more than there are: {len(seen)} and {len(unseen)}"
        )
    return seen, unseen


def _signature(rule: Rule, probes: list[Grid]) -> bytes:
    made = (applied(rule, grid) for grid in probes)
    return b"|".join(bytes(grid.shape) + grid.astype(np.uint8).tobytes() for grid in made)


def _often_works(rule: Rule, source: random.Random, largest: int) -> bool:
    """Whether one grid in some shows what the rule does."""
    try:
        for _ in range(10):
            example(rule, source, tries=20, largest=largest)
    except ValueError:
        return False
    return True
