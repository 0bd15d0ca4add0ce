"""What a suite of `kind: timing` may say: who is timed against whom, at which sizes on which kind of device."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oscbench.suite.bounds import CONTENDER, MAX_THREADS, MAX_VARIANTS, SuiteName

Family = Literal["ops", "blocks", "vision", "decoder"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ContenderEntry(_Strict):
    """One op or mechanism.

    Attributes:
        name: of the op or mechanism.
        backends: of an op; `all` takes each that runs on the device.
        variant: label of a mechanism's settings.
        settings: of a mechanism.
    """

    name: str
    backends: list[str] = Field(default=["all"], min_length=1)
    variant: str = Field(default="default", max_length=100, pattern=CONTENDER)
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Setting(_Strict):
    """Sizes at which all contenders are timed; every batch with every number of tokens is a cell.

    Attributes:
        batch: B, one or several.
        tokens: N of ops, blocks and the decoder.
        image: side [pixels] of the vision model's images; N follows from the patch.
        width: H·d; for torus the same number of angles.
        heads: H.
        layers: of blocks and models.
        patch: of the vision model.
        causal: ops and blocks; the decoder always is.
        dtype: of weights and activations.
        passes: `forward`, `backward` and, of blocks and models, `step` (AdamW included).
        modes: `eager`, `compiled`, and on CUDA `graph`.
        literal_up_to: backends with N × N tensors are left out beyond so many tokens; one with n numbers a pair
            (torus) beyond √n times fewer.
        memory: measure peaks too.
    """

    batch: list[int] = Field(default=[1], min_length=1)
    tokens: list[int] = Field(default_factory=list)
    image: list[int] = Field(default_factory=list)
    width: int = Field(default=256, ge=1)
    heads: int = Field(default=4, ge=1)
    layers: int = Field(default=2, ge=1, le=1_000)
    patch: int = Field(default=16, ge=1)
    causal: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    passes: list[Literal["forward", "backward", "step"]] = Field(
        default=["forward", "backward"], min_length=1
    )
    modes: list[Literal["eager", "compiled", "graph"]] = Field(default=["eager"], min_length=1)
    literal_up_to: int = Field(default=4096, ge=1)
    memory: bool = True

    @field_validator("batch", "tokens", "image", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("batch", "tokens", "image")
    @classmethod
    def _positive_and_distinct(cls, value: list[int]) -> list[int]:
        if any(number < 1 for number in value) or len(set(value)) != len(value):
            raise ValueError("sizes are 1 or more, each named once")
        return value

    @model_validator(mode="after")
    def _divides(self) -> Setting:
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads of an even width")
        return self


class TimingEffort(_Strict):
    """How long each contender is timed in each pass.

    Attributes:
        seconds: at most, warming up included.
        min_rounds: taken even if the precision is reached sooner.
        max_rounds: never more.
        precision: relative half-width of the median's interval that counts as converged.
    """

    seconds: float = Field(default=2.0, gt=0.0, le=10.0)
    min_rounds: int = Field(default=10, ge=1)
    max_rounds: int = Field(default=200, ge=1)
    precision: float = Field(default=0.03, gt=0.0, lt=1.0)


class TimingSuite(_Strict):
    """A suite that times and trains nothing.

    Attributes:
        kind: `timing`.
        name: by default the file's.
        description: what question it answers.
        family: what is timed: `ops`, `blocks` of a trunk, the `vision` model, the `decoder`.
        contenders: all ops with all backends, or all mechanisms, where none is named.
        reference: to which ratios are taken, `op:backend` or a mechanism.
        settings: by kind of device; the same command takes the ones that fit.
        effort: how long.
        threads: CPU threads.
        device: `auto`, `cpu` or `cuda`.
    """

    kind: Literal["timing"]
    name: SuiteName
    description: str = ""
    family: Family
    contenders: list[ContenderEntry] = Field(default_factory=list)
    reference: str | None = None
    settings: dict[Literal["cpu", "cuda"], list[Setting]] = Field(min_length=1)
    effort: TimingEffort = TimingEffort()
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _has_sizes(self) -> TimingSuite:
        wanted = "image" if self.family == "vision" else "tokens"
        for device, settings in self.settings.items():
            cells = sum(len(setting.batch) * len(getattr(setting, wanted)) for setting in settings)
            if cells > MAX_VARIANTS:
                raise ValueError(f"settings.{device}: {cells:,} sizes; at most {MAX_VARIANTS:,} are allowed")
            for index, setting in enumerate(settings):
                if not getattr(setting, wanted):
                    raise ValueError(
                        f"settings.{device}[{index}] names no {wanted}, which {self.family} needs"
                    )
                if self.family == "ops" and "step" in setting.passes:
                    raise ValueError(f"settings.{device}[{index}].passes: an op has no training step")
        return self
