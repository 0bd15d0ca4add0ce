"""What a suite file may say: structure and names.

Settings of a task, backbone, mechanism or measure are checked by their own configs.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from oscbench.errors import nearest
from oscbench.settings import added, spelled
from oscbench.suite.bounds import (
    MAX_CELLS,
    MAX_DEVICES,
    MAX_SEED,
    MAX_SEEDS,
    MAX_THREADS,
    MAX_VARIANTS,
    VARIANT,
    SuiteName,
)
from oscbench.suite.strict import Comparison, MarginText, Position, Strict, known_position
from oscbench.suite.tune import Space, Tune

"""No comma, which separates names in `--only` and `--compare`; no space at the ends, where nobody sees it."""


class _Named(BaseModel):
    """A name, and settings beside it that its own config checks later."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str

    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class NamedSettings(_Named):
    """`{name: digits, shift: 1}`; a bare `digits` is the same without settings."""

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Reference(Strict):
    """The mechanism whose model sets the target of a matching; a bare name is the same with default settings.

    Attributes:
        name: file name of the mechanism.
        settings: of the mechanism.
        position: where its tokens' places come from; by default what its settings and the suite's `model.position` say.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    position: Position | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Match(Strict):
    """How models are made comparable.

    Attributes:
        by: `params`, `flops` (forward, a sample), `time` (of a training step, measured where it runs) or `none`.
        reference: the mechanism whose model sets the target, as its settings say, at its own position or the suite's.
        tolerance: largest allowed relative residual.
    """

    by: Literal["params", "flops", "time", "none"] = "params"
    reference: Reference = Reference(name="softmax")
    tolerance: float = Field(default=0.01, gt=0.0, lt=1.0)

    def over(self, shared: Match) -> Match:
        """This matching, with whatever it leaves out as in `shared`."""
        return shared.model_copy(update={key: getattr(self, key) for key in self.model_fields_set})


class MechanismEntry(Strict):
    """One mechanism of the comparison, with fixed settings and, if wanted, a grid over others.

    Attributes:
        name: file name of the mechanism.
        variant: label in records and reports; by default what its settings say, or `default`.
        settings: of the mechanism.
        position: where its tokens' places come from; by default what the suite's `positions` cross it with, or what its settings
            and `model.position` say.
        model: its own values of a few of the backbone's settings, as in `{embedding_spread: 1.0}`.
        grid: setting, `position` or `model.embedding_spread` -> list of values; every combination becomes a variant.
        match: makes a control of it, matched otherwise than the suite; what it leaves out is the suite's. Its reference is
            a model as the suite matches it, so `{by: flops, reference: kope}` is what the suite's own KoPE spends.
        tune: what its search may choose besides the suite's `tune.space`.
        first: place -> value in its search's first trial, as in `{model.position: learned}`, where that is not what the suite says; the
            place stays open.
        seeds: run the first so many of the suite's seeds alone, where an entry is worth less time; the report says what is underpowered.
    """

    name: str
    variant: str | None = Field(default=None, max_length=100, pattern=VARIANT)
    settings: dict[str, Any] = Field(default_factory=dict)
    position: Position | None = None
    model: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    match: Match | None = None
    tune: Space = Field(default_factory=dict)
    first: dict[str, Any] = Field(default_factory=dict)
    seeds: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("grid")
    @classmethod
    def _no_empty_axis(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"grid over {key} has no values")
            if key == "position":
                for value in values:
                    known_position(value)
        return grid

    @model_validator(mode="after")
    def _said_once(self) -> MechanismEntry:
        places = [*self.grid, *(f"model.{key}" for key in self.model)]
        places += ["position"] if self.position else []
        twice = next((key for key in places if places.count(key) > 1), None)
        if twice:
            raise ValueError(f"{twice} is both fixed and in the grid; keep one of the two")
        if "position" in self.model or "model.position" in self.grid:
            raise ValueError("model.position: an entry says `position`, which has the mechanism's own too")
        return self


class Train(Strict):
    """Training: AdamW with a linear warm-up and a cosine to the final learning rate; the last weights are tested.

    Attributes:
        epochs: passes over the training split; this or `steps`.
        steps: optimiser steps, through as many epochs as they take; validation still follows each epoch, and the last step.
        batch_size: examples a step.
        learning_rate: at the top of the schedule.
        final_learning_rate: at its end, no higher than at its top.
        weight_decay: on matrices; biases, norms, scalars and embeddings of one row have none.
        final_weight_decay: where it goes from there by a cosine over all steps; null leaves it as it is.
        layer_decay: a block learns at so much of the rate of the block after it, and what is before the first block at so much of the
            first's; the last norm, the head and what all blocks share learn at the full rate.
        warmup: share of all steps; where that is no whole number of them, the last step of the rise is above the rate by a part of a step
            (11 % at 18 steps, for everybody alike).
        beta2: AdamW's second momentum.
        clip: largest gradient norm; null turns it off.
        validate_every: validate after so many steps, and after the last, instead of after epochs; for times to a target, which are
            otherwise known to an epoch.
        devices: GPUs, or processes on the CPU with `threads` each, that share every batch of a cell on one machine. The batch, its order
            and its augmentation are those of one device, and so are the losses but for rounding; only what a model draws while it trains
            (dropout, starts drawn anew) is drawn by each for itself.
        precision: `fp32`; `tf32`, whose matrix products on a GPU round to ten bits; or `bf16`, whose linear maps and attention take
            bfloat16 products (autocast). Weights, sums, losses, phases, angles and locking stay in 32 bits, and so do validation and test.
        compile: take steps through `torch.compile`; an epoch's smaller last batch goes without.
        accumulate: predict a batch in so many parts, each again on the way back, so that memory is a part's; the loss and its gradient are
            the whole batch's but for rounding.
        graph: capture the step as a CUDA graph and replay it; an epoch's smaller last batch goes without.
    """

    epochs: int | None = Field(default=None, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    final_learning_rate: float = added(0.0, neutral=0.0, ge=0.0)
    weight_decay: float = Field(default=0.05, ge=0.0)
    final_weight_decay: float | None = added(None, neutral=None, ge=0.0)
    layer_decay: float = added(1.0, neutral=1.0, gt=0.0, le=1.0)
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.99, gt=0.0, lt=1.0)
    clip: float | None = Field(default=1.0, gt=0.0)
    validate_every: int | None = added(None, neutral=None, ge=1)
    devices: int = added(1, neutral=1, ge=1, le=MAX_DEVICES)
    precision: Literal["fp32", "tf32", "bf16"] = added("fp32", neutral="fp32")
    compile: bool = added(False, neutral=False)
    accumulate: int = added(1, neutral=1, ge=1)
    graph: bool = added(False, neutral=False)

    @model_validator(mode="after")
    def _one_length(self) -> Train:
        if (self.epochs is None) == (self.steps is None):
            both = "; to leave one out with --set, make it null: --set train.epochs=null"
            raise ValueError("give either epochs or steps" + both * (self.epochs is not None))
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate} is more than learning_rate {self.learning_rate}"
            )
        if self.devices > self.batch_size:
            raise ValueError(f"{self.devices} devices cannot share batches of {self.batch_size}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batches of {self.batch_size} do not divide into {self.accumulate} equal parts")
        if self.graph and self.accumulate > 1:
            raise ValueError("a captured step takes its batch whole; leave out graph or accumulate")
        if self.graph and self.final_weight_decay is not None:
            raise ValueError("a captured step keeps its weight decay; leave out graph or final_weight_decay")
        asked = {"compile": self.compile, "accumulate": self.accumulate > 1, "graph": self.graph}
        alone = [key for key, is_asked in asked.items() if is_asked]
        if self.devices > 1 and alone:
            raise ValueError(f"{alone[0]} is for one device; leave out {alone[0]} or devices")
        return self

    def resolved(self) -> dict[str, Any]:
        """Plain values; of epochs and steps only the one that was given, so that a recipe has one spelling."""
        unused = "steps" if self.steps is None else "epochs"
        return {key: value for key, value in spelled(self).items() if key != unused}


VARIABLE = ("task", "model", "match", "train", "tune", "threads", "device")
"""What a suite may vary over: whatever has one value for all entries. Entries vary by their grid, seeds by their list."""


def _distinct_points(vary: dict[str, list[Any]]) -> dict[str, list[Any]]:
    for key, values in vary.items():
        part = key.split(".", 1)[0]
        if part not in VARIABLE:
            hint = {"mechanisms": "; entries vary by their grid", "seeds": "; seeds are a list of their own"}
            raise ValueError(
                f'"{key}" is not varied; allowed: {", ".join(VARIABLE)} and what lies below them, as in '
                f"task.fraction{hint.get(part, f'; {nearest(part, VARIABLE)}')}"
            )
        if not all(key.split(".")):
            raise ValueError(f'"{key}" is no path; write it as in task.fraction or train.steps')
        if not values:
            raise ValueError(f'"{key}" has no values; give at least one, as in {key}: [1, 2]')
        # True is 1 in Python, and is not in a suite.
        seen = [(isinstance(value, bool), value) for value in values]
        for place, value in enumerate(seen):
            if value in seen[:place]:
                raise ValueError(f'"{key}" has the value {values[place]!r} twice; each point runs once')
    return vary


class Suite(Strict):
    """A whole suite file.

    Attributes:
        kind: `train`; a suite of kind `timing` has a schema of its own.
        name: by default the file's.
        description: what question it answers.
        task: name and settings.
        model: the backbone's settings; `name` is by default the one that the task asks for.
        match: how models are made comparable.
        train: the recipe, the same for all.
        mechanisms: what is compared.
        positions: cross every entry that says nothing of its position with these; what a mechanism cannot have is left out.
        seeds: a list, how many from 0, or `{from: 100, count: 10}`.
        compare: the comparisons that the suite confirms, as in `kope - rope:values`: the family of its correction. Whatever else is
            compared explores. Never part of a cell, as is the margin.
        margin: largest difference that counts as none, with its unit: `0.5 points` or `0.01 bits`.
        threads: CPU threads of a cell; part of its identity, since sums of several threads round otherwise.
        device: `auto`, `cpu` or `cuda`.
        measures: what is measured beside the task's metric.
        tune: a search before the reported seeds.
        floors: run what the task's data give away without mixing (chance, a bag of pixels, counts), once for each draw of the data.
        vary: path -> its values, as in `{task.fraction: [0.1, 1.0]}`: a suite for each of their combinations, with a label of
            its own. Never part of a cell.
    """

    kind: Literal["train"] = "train"
    name: SuiteName
    description: str = ""
    task: NamedSettings
    model: dict[str, Any] = Field(default_factory=dict)
    match: Match = Match()
    train: Train
    mechanisms: list[MechanismEntry] = Field(min_length=1)
    positions: list[Position] = Field(default_factory=list)
    seeds: list[int] = Field(min_length=1)
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    measures: list[NamedSettings] = Field(
        default_factory=lambda: [
            NamedSettings(name=name) for name in ("params", "flops", "training_time", "health")
        ]
    )

    compare: list[Comparison] = Field(default_factory=list)
    margin: MarginText | None = None
    tune: Tune | None = None
    floors: bool = True
    vary: Annotated[dict[str, list[Any]], AfterValidator(_distinct_points)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _within_bounds(self) -> Suite:
        variants = sum(math.prod(map(len, entry.grid.values())) for entry in self.mechanisms)
        if variants > MAX_VARIANTS or variants * len(self.seeds) > MAX_CELLS:
            raise ValueError(
                f"{variants:,} variants and {len(self.seeds):,} seeds; at most {MAX_VARIANTS:,} variants and "
                f"{MAX_CELLS:,} cells are allowed"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        for index, entry in enumerate(self.mechanisms):
            if entry.tune and self.tune is None:
                raise ValueError(
                    f"mechanisms[{index}].tune: adds to a search that the suite does not ask for"
                )
            if entry.first and self.tune is None:
                raise ValueError(
                    f"mechanisms[{index}].first: begins a search that the suite does not ask for"
                )
            if entry.seeds is not None and entry.seeds > len(self.seeds):
                raise ValueError(
                    f"mechanisms[{index}].seeds: {entry.seeds} are more than the suite's {len(self.seeds)}; "
                    "an entry may run fewer seeds than the others, not other ones"
                )
        if self.train.devices > 1 and any(match.by == "time" for match in self._matches()):
            raise ValueError("train.devices: matching by time measures a step on one device; match otherwise")
        measured: set[str] = set()
        for index, measure in enumerate(self.measures):
            if measure.name in measured:
                raise ValueError(f"measures[{index}].name: {measure.name} stands there twice")
            measured.add(measure.name)
        shared = sorted(set(self.seeds) & set(self.tune.scoring_seeds())) if self.tune else []
        if shared:
            raise ValueError(f"seed {shared[0]} would be tuned on and reported; move tune.first_seed")
        return self

    def _matches(self) -> list[Match]:
        """The suite's matching and those of its controls."""
        return [self.match, *(entry.match.over(self.match) for entry in self.mechanisms if entry.match)]

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("at least one seed is needed")
            if value > MAX_SEEDS:
                raise ValueError(f"at most {MAX_SEEDS:,} seeds are allowed")
            return list(range(value))
        if isinstance(value, dict) and value.keys() == {"from", "count"}:
            first, count = value["from"], value["count"]
            if all(isinstance(one, int) and not isinstance(one, bool) for one in (first, count)):
                return [first + place for place in cls._count(count)]
        if isinstance(value, list) and not any(isinstance(one, bool) for one in value):
            return value
        raise ValueError("seeds are how many, as in 5, a list, as in [0, 1, 2], or {from: 100, count: 10}")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError("a seed is named twice")
        if len(value) > MAX_SEEDS:
            raise ValueError(f"at most {MAX_SEEDS:,} seeds are allowed")
        if min(value) < 0:
            raise ValueError("seeds are 0 or more")
        if max(value) > MAX_SEED:
            raise ValueError(f"seeds are at most {MAX_SEED:,}")
        return value
