"""What one cell leaves behind: everything a report needs, readable without torch and without the code that ran.

A record names its own labels, units and directions, so that a new mechanism, task or measure touches no report code.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from oscbench.records.shape import mistake
from oscbench.records.timed import of_second_schema

Status = Literal["ok", "diverged", "oom", "unsupported", "failed"]
FINAL = ("ok", "diverged", "unsupported")
"""A cell with such a record is finished; `failed` and `oom` are tried again by the next run."""
Direction = Literal["higher", "lower", "none"]
Method = Literal["measured", "computed", "estimated", "unavailable"]


Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What a table's column of whole numbers can hold."""

Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Measurement(_Frozen):
    """One quantity of one cell.

    `value` is null where the quantity could not be measured, and `reason` then says why; there are no stand-ins.
    `samples` are the raw repetitions behind the value, in the same unit (packed records go without them); `n` is how many
    things were averaged (test images for an accuracy, timed rounds for a latency).
    """

    value: float | Whole | None
    unit: str
    label: str
    direction: Direction = "none"
    method: Method = "measured"
    n: Count = 1
    samples: tuple[float, ...] = ()
    reason: str | None = None
    citation: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def unavailable(
        cls,
        reason: str | None,
        *,
        unit: str,
        label: str,
        direction: Direction = "lower",
        details: dict[str, Any] | None = None,
    ) -> Self:
        """A quantity without a value, and why it has none."""
        return cls(
            value=None,
            unit=unit,
            label=label,
            direction=direction,
            method="unavailable",
            n=0,
            reason=reason,
            details=details or {},
        )


class Curve(_Frozen):
    """One quantity followed through training, for example validation accuracy against the optimiser step.

    Of a quantity that every layer has, each layer's is a curve of its own, `order_parameter/0`, and says which `layer` it is.
    """

    label: str
    unit: str
    direction: Direction = "none"
    x_label: str = "step"
    layer: Count | None = None
    x: tuple[FiniteFloat, ...]
    y: tuple[float, ...]

    @model_validator(mode="after")
    def _as_long(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"{len(self.x)} places and {len(self.y)} values")
        return self


class HealthRow(_Frozen):
    """Diagnostics of one layer, `when` in {"start", "end"}; a quantity a mechanism does not have is left out."""

    when: Literal["start", "end"]
    layer: Count
    quantities: dict[str, float]


class MechanismCard(_Frozen):
    """What a reader must know about the mechanism of a cell; copied from its file when the cell ran."""

    name: str
    label: str
    idea: str
    citation: str
    traits: dict[str, bool]


class Matching(_Frozen):
    """How this model was made comparable.

    `by` is the mode (`params`, `flops`, `time` or `none`), `target` the reference model's value, `value` this model's,
    `residual` = value/target - 1 and `hidden` the hidden units of the MLP that the solver chose. A `control` is matched
    otherwise than its suite on purpose; its reference is a model as the suite matches it.

    By `time`, `target` and `value` are median seconds of a training step, `residual` is the median ratio of steps taken in
    turn - 1, `spread` half of its 95 % interval, `converged` whether both are within the tolerance, and `details` says on
    which machine, in how many rounds and after which tries. One measurement serves all seeds of a run.
    """

    by: str
    reference: str | None = None
    target: float | None = None
    value: float | None = None
    residual: float | None = None
    hidden: Count
    control: bool = False
    spread: float | None = None
    converged: bool | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class Record(_Frozen):
    """One cell: what was asked, what was resolved, what happened.

    `identity` hashes the resolved spec (never a measured value). `suite` is the suite's label: its name, and in square
    brackets whatever `--set` changed, as in `smoke[train.epochs=3]`. Task, mechanism, variant and seed are unique in it.
    `protocol` hashes all of the spec that a fair comparison must share (everything but mechanism, variant, seed and what
    makes a control of a cell).
    `metric` names the entry of `measures` that is the task's headline result, on the test split.
    A timing cell times several mechanisms or ops, and `mechanism` has all their names, `softmax+kope`.

    Records of earlier schemas are read as if they were of this one.
    """

    schema_version: Literal[2] = 2
    identity: str
    suite: str
    suite_description: str = ""
    protocol: str
    task: str
    task_label: str
    mechanism: str
    variant: str
    seed: Whole
    status: Status
    reason: str | None = None
    device: str
    metric: str
    card: MechanismCard
    spec_given: dict[str, Any]
    spec: dict[str, Any]
    versions: dict[str, Any]
    matching: Matching | None = None
    data_hash: str | None = None
    measures: dict[str, Measurement] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    health: tuple[HealthRow, ...] = ()
    flags: tuple[str, ...] = ()
    calibration: tuple[dict[str, Any], ...] = ()
    environment: dict[str, Any] = Field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    started_utc: AwareDatetime
    finished_utc: AwareDatetime
    seconds: Annotated[FiniteFloat, Field(ge=0)]

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_schema(cls, given: Any) -> Any:
        return (
            of_second_schema(given) if isinstance(given, dict) and given.get("schema_version") == 1 else given
        )

    @model_validator(mode="after")
    def _as_reports_read_it(self) -> Self:
        details = {name: one.details for name, one in self.measures.items()}
        if wrong := mistake(self.spec, self.spec_given, self.environment, details):
            raise ValueError(wrong)
        return self
