"""Rules on grids of ten colours: twelve primitives, their compositions of two, and grids for them to work on.

A grid is an integer array (height, width) of colours 0 to 9; 0 is the ground that objects stand on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Grid = npt.NDArray[np.int64]
LARGEST = 8
"""Side of the largest grid, before and after, where nothing else is said."""
SMALLEST = 3
"""Side of the smallest grid that objects are put on."""
PROBES = 100
"""Grids on which rules are tried and told apart."""
LEAST_SHOWN, MOST_ALIKE = 0.2, 0.25
"""Share of the probing grids that must show a rule, and of these the share on which a composition may do as a rule before it does."""


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


STEPS = tuple(Step(name, choice) for name, (_, choices) in PRIMITIVES.items() for choice in choices)
"""Every primitive with each of its choices."""


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


def one_step_makes(before: Grid, after: Grid) -> bool:
    """Whether some primitive alone, or none, makes the one of the other."""
    return np.array_equal(before, after) or any(
        np.array_equal(applied((step,), before), after) for step in STEPS
    )


def example(
    rule: Rule, source: random.Random, tries: int = 1000, largest: int = LARGEST, always: bool = False
) -> tuple[Grid, Grid]:
    """A grid that shows the rule, and what the rule makes of it.

    That is something that is not empty, no larger than allowed, and neither the grid itself nor, where the rule is a composition, what
    any primitive alone makes of it.

    Args:
        rule: To be shown.
        source: Of random numbers.
        tries: Grids that may be drawn.
        largest: Side that neither may exceed [cells].
        always: Draw no smaller grid than there is room for before the rule.
    """
    most = _room(rule, largest)
    for _ in range(tries):
        grid = random_grid(source, most, most if always else SMALLEST)
        after = applied(rule, grid)
        if _shows(rule, grid, after, largest):
            return grid, after
    raise ValueError(f"{rule} changes none of {tries} grids")


@cache
def rules(
    train: int, test: int, seed: int, largest: int = LARGEST, always: bool = False
) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """Rules of training and of the test, each of which some probing grids show, and no two of which do the same.

    Training has every primitive by itself with one choice at least, as far as there is room, then compositions of two such steps. The
    test has compositions alone, of the same steps with the same choices, but of pairs of primitives that stand together, in this order,
    in no rule of training: it asks for nothing but putting together. Left out is a composition that does what one primitive does on most
    probing grids, or what a rule before it does on more than a quarter of those that show it (`LEAST_SHOWN`, `MOST_ALIKE`).

    Args:
        train: Rules of training.
        test: Of the test.
        seed: Of all draws.
        largest: Side of the largest grid, before and after [cells].
        always: Whether rules are shown on grids as large as they leave room for alone, and so are tried on these.
    """
    source = random.Random(seed)
    chosen = {name: source.sample(choices, len(choices)) for name, (_, choices) in PRIMITIVES.items()}
    # A first choice of every primitive, then second choices, …
    steps = [
        Step(name, choices[place])
        for place in range(max(map(len, chosen.values())))
        for name, choices in chosen.items()
        if place < len(choices)
    ]
    pairs = [(a, b) for a in PRIMITIVES for b in PRIMITIVES if a != b]
    source.shuffle(pairs)
    known = _Known(seed, largest, always)
    alone = min(train, max(len(PRIMITIVES), (2 * train + 4) // 5))
    single = known.new([(step,) for step in steps], alone)

    def compositions(of: list[tuple[str, str]]) -> list[Rule]:
        """All of single steps, shuffled; a pair's second choices come after the first of every pair."""
        made: list[list[Rule]] = []
        for first, second in of:
            both = [
                (*one, *other)
                for one in single
                for other in single
                if (one[0].primitive, other[0].primitive) == (first, second)
            ]
            made.append(source.sample(both, len(both)))
        most = max(map(len, made), default=0)
        return [rules[place] for place in range(most) for rules in made if place < len(rules)]

    half = len(pairs) // 2
    seen = single + known.new(compositions(pairs[half:]), train - len(single))
    unseen = known.new(compositions(pairs[:half]), test)
    if len(seen) < train or len(unseen) < test:
        raise ValueError(
            f"{train} rules of training and {test} of the test are more than there are: {len(seen)} and {len(unseen)}"
        )
    return tuple(seen), tuple(unseen)


class _Known:
    """Rules found so far."""

    def __init__(self, seed: int, largest: int, always: bool) -> None:
        # Rules that repeat a grid are tried on smaller ones.
        self.probes = {
            most: _Probes(f"{seed}/{most}", most, most if always else SMALLEST, largest)
            for most in (largest, largest // 2)
        }
        self.largest, self.rules = largest, list[Rule]()

    def new(self, wanted: list[Rule], count: int) -> list[Rule]:
        """The first so many that probing grids show and that are like no other; they are known from then on."""
        found: list[Rule] = []
        for rule in wanted:
            if len(found) < count and self._is_new(rule):
                self.rules.append(rule)
                found.append(rule)
        return found

    def _is_new(self, rule: Rule) -> bool:
        probes = self.probes[_room(rule, self.largest)]
        shown = probes.shown(rule)
        if len(shown) < LEAST_SHOWN * PROBES:
            return False
        # Choices of one primitive may do the same to many grids (the largest object of one is the smallest), but not to all.
        most = MOST_ALIKE * len(shown) if len(rule) > 1 else len(shown) - 1
        made = probes.made(rule)
        return all(
            sum(made[index] == probes.made(other)[index] for index in shown) <= most for other in self.rules
        )


class _Probes:
    """Grids of `least` to `most` cells a side, and what rules make of them."""

    def __init__(self, seed: str, most: int, least: int, largest: int) -> None:
        source = random.Random(seed)
        self.grids = [random_grid(source, most, least) for _ in range(PROBES)]
        self.largest = largest
        self.grids_after: dict[Rule, list[Grid]] = {(): self.grids}
        self.as_bytes: dict[Rule, list[bytes]] = {}

    def made(self, rule: Rule) -> list[bytes]:
        """Of each grid, as bytes that tell its shape too."""
        if rule not in self.as_bytes:
            self.as_bytes[rule] = [
                bytes(grid.shape) + grid.astype(np.uint8).tobytes() for grid in self._after(rule)
            ]
        return self.as_bytes[rule]

    def shown(self, rule: Rule) -> list[int]:
        """Which grids tell what the rule does, as `example` wants it."""
        made, after = self.made(rule), self._after(rule)
        others = [self.made(other) for other in ((), *((step,) for step in STEPS if len(rule) > 1))]
        return [
            index
            for index in range(PROBES)
            if max(after[index].shape) <= self.largest
            and after[index].any()
            and all(other[index] != made[index] for other in others)
        ]

    def _after(self, rule: Rule) -> list[Grid]:
        if rule not in self.grids_after:
            self.grids_after[rule] = [applied(rule[-1:], grid) for grid in self._after(rule[:-1])]
        return self.grids_after[rule]


def _room(rule: Rule, largest: int) -> int:
    """Side of the largest grid that the rule leaves no larger than allowed."""
    return largest // 2 if any(step.primitive == "repeat" for step in rule) else largest


def _shows(rule: Rule, before: Grid, after: Grid, largest: int) -> bool:
    """Whether a grid tells what the rule does."""
    if max(after.shape) > largest or not after.any() or np.array_equal(before, after):
        return False
    return len(rule) == 1 or not one_step_makes(before, after)
