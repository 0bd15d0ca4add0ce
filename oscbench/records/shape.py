"""What reports take for granted in the open parts of a record: a key may be missing, but what stands there has its form.

A spec, what a suite gave, an environment and details are mappings that each task or measure fills as it likes. A few of their keys are
read by reports, and a record in which these are something else is no record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Strict, TypeAdapter, ValidationError

Text = Annotated[str, Strict()]
Number = Annotated[FiniteFloat, Strict()]
Whole = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
Open = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Named(_Part):
    name: Text


class _Match(_Part):
    by: Text
    reference: _Named
    tolerance: Number = 0.0


class _Train(_Part):
    batch_size: Number = 1


class _Tune(_Part):
    trials: Whole
    seeds: list[Whole]
    space: dict[str, Any]


class _Model(_Part):
    position: Text = "none"


class _Contender(_Part):
    key: Text


class _Spec(_Part):
    kind: Text = "train"
    task: Open = Field(default_factory=dict)
    mechanism: Open = Field(default_factory=dict)
    model: _Model = _Model()
    own_model: _Model = _Model()
    match: _Match | None = None
    train: _Train = _Train()
    tuned: Open = Field(default_factory=dict)
    tune: _Tune | None = None


class _TimingSpec(_Spec):
    family: Text
    setting_label: Text
    batch: Whole
    tokens: Whole
    reference: Text = ""
    contenders: list[_Contender]


class _Given(_Part):
    source: Text = ""
    margin: Annotated[str, Strict(), Field(max_length=100)] | None = None
    position: Text | None = None
    compare: list[tuple[Text, Text]] | None = None


class _Environment(_Part):
    load_average: Number | None = None
    cores: Whole | None = None
    sources: dict[str, Text | None] = Field(default_factory=dict)
    data: dict[str, Text] = Field(default_factory=dict)


class _Details(_Part):
    flops: Number | None = None
    roofline_share: Number | None = None
    bound_by: Text | None = None
    converged: bool | None = None
    batch_size: Number | None = None
    counter: Text | None = None


SPEC, TIMING, GIVEN, ENVIRONMENT, DETAILS = (
    TypeAdapter(kind) for kind in (_Spec, _TimingSpec, _Given, _Environment, _Details)
)


def mistake(
    spec: Mapping[str, Any],
    given: Mapping[str, Any],
    environment: Mapping[str, Any],
    details: Mapping[str, Mapping[str, Any]],
) -> str | None:
    """The first key of a record's open parts that is not what reports take it for, in words; None where there is none.

    Args:
        spec: what was resolved.
        given: what the suite said.
        environment: of the run.
        details: of each measure, by its name.
    """
    kind = TIMING if spec.get("kind") == "timing" else SPEC
    parts = [("spec", kind, spec), ("spec_given", GIVEN, given), ("environment", ENVIRONMENT, environment)]
    parts += [(f"measures.{name}.details", DETAILS, one) for name, one in details.items() if one]
    for where, adapter, value in parts:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            return f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None
