"""What a suite says of a search: its places, what may be chosen there, and how many trials every entry has."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from oscbench.errors import nearest
from oscbench.settings import added
from oscbench.suite.bounds import MAX_SEED, MAX_SEEDS
from oscbench.suite.strict import Strict, known_position


class Axis(Strict):
    """What a search may give one setting: one of `choices`, or a number from `low` to `high`, both included.

    Two whole numbers are searched in whole numbers; write 1.0 for real ones.

    Attributes:
        choices: values to choose from.
        low: of a range.
        high: of a range.
        log: the range is searched in its logarithm.
    """

    choices: list[Any] | None = Field(default=None, min_length=1)
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Axis:
        if (self.choices is None) == (self.low is None and self.high is None):
            raise ValueError("give either choices, or low and high")
        if self.choices is not None:
            if self.log:
                raise ValueError("log belongs to low and high")
            if any(value in self.choices[:place] for place, value in enumerate(self.choices)):
                raise ValueError("a choice is named twice")
        elif self.low is None or self.high is None:
            raise ValueError("low and high belong together")
        elif not self.low < self.high:
            raise ValueError("low must be below high")
        elif self.log and self.low <= 0:
            raise ValueError("a range in logarithms starts above 0")
        return self

    def ends(self) -> list[Any]:
        """All choices, or both ends of the range: what must be allowed if everything between is to be."""
        return list(self.choices) if self.choices is not None else [self.low, self.high]


TUNABLE = ("learning_rate", "weight_decay", "warmup", "beta2", "clip")
"""Of the recipe; its length and batch size are not searched, since every mechanism is to see the same data as often."""


def _known_places(space: dict[str, Axis]) -> dict[str, Axis]:
    for key, axis in space.items():
        kind, dot, name = key.partition(".")
        if not dot or not name or kind not in ("train", "settings", "model"):
            raise ValueError(
                f'"{key}" is no place; write train.learning_rate, settings.gamma, or model.embedding_spread'
            )
        if key == "model.position":
            for choice in axis.choices or [None]:
                known_position(choice)
        if kind == "train" and name not in TUNABLE:
            raise ValueError(
                f'"{key}" is not searched; {nearest(key, [f"train.{name}" for name in TUNABLE])}'
            )
    return space


Space = Annotated[dict[str, Axis], AfterValidator(_known_places)]


class Tune(Strict):
    """A search with the same number of trials for every mechanism and variant, before the reported seeds run.

    Attributes:
        trials: of every mechanism and variant.
        seeds: that each trial is scored on, by the validation metric after the last step.
        first_seed: the first of them; none may be a reported seed.
        sampler_seed: of the search's own draws.
        steps: of a trial, by default those of the reported cells; a shorter trial has the same schedule in less time.
        test: whether trials are tested as reported cells are, though the choice looks at validation alone; `false` saves their time.
        extend: how often an entry whose choice stands at an end of a range or of a list of numbers goes beyond it by itself, with
            two further trials for each such end and at most six in all.
        space: `train.x`, `settings.x` (of the mechanism) or `model.x` (of the model, what an entry may have its own of) -> what may
            be chosen. A mechanism without such a setting, or whose entry fixes it, ignores it and has as many trials, as it
            ignores choices of `model.position` that it cannot have.
    """

    trials: int = Field(ge=1, le=MAX_SEEDS)
    seeds: int = Field(default=2, ge=1, le=MAX_SEEDS)
    first_seed: int = Field(default=100, ge=0, le=MAX_SEED)
    sampler_seed: int = Field(default=0, ge=0, le=MAX_SEED)
    steps: int | None = added(None, neutral=None, ge=1)
    test: bool = added(True, neutral=True)
    extend: int = added(2, neutral=0, ge=0, le=2)
    space: Space = Field(min_length=1)

    def scoring_seeds(self) -> list[int]:
        """Seeds of every trial."""
        return list(range(self.first_seed, self.first_seed + self.seeds))
