"""Which measurement of ours answers which published number, read from `answers.yaml` beside the numbers."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from oscbench.analysis.published.numbers import Published, PublishedError, find_published
from oscbench.records.schema import Record

FILE = "answers.yaml"
Constant = str | int | float | bool
_FIELDS = ("measures", "matching")


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _flat(given: Any) -> Any:
    """Groups of conditions inside a list count as if they stood there one by one."""
    if not isinstance(given, list):
        return given
    return [each for item in given for each in (_flat(item) if isinstance(item, list) else [item])]


class Condition(_Frozen):
    """One thing that must be alike, or whose difference is to be said.

    Attributes:
        ours: place in our record, dotted: below `measures` or `matching`, or else in the spec.
        theirs: key of the published config.
        constant: instead of a key, the value that the paper gives in its text; `is` in the file.
        like: instead of either, a pattern of file names.
        what: the word for it.
        within: relative difference that still counts as alike.
        only: our mechanism that the condition is about; all where empty.
        default: what an absent value of ours means.
        named: their word -> ours, where the two call a thing by unlike names.
        theirs_is: how the page names the paper's side.
    """

    ours: str
    what: str
    theirs: str | None = None
    constant: Constant | None = Field(default=None, alias="is")
    like: str | None = None
    within: float = Field(default=0.0, ge=0.0)
    only: str | None = None
    default: str | None = None
    theirs_is: str | None = None
    named: dict[str, str] = Field(default_factory=dict)

    def difference(self, record: Record, published: Published) -> str | None:
        """How the two are unlike, in words; None where they are alike or the paper does not say."""
        if self.only is not None and record.mechanism != self.only:
            return None
        ours = look(record, self.ours)
        wanted: Any
        if self.like is not None:
            alike, wanted = (
                isinstance(ours, str) and fnmatch(Path(ours).name.casefold(), self.like),
                self.like,
            )
        else:
            given = self.constant if self.constant is not None else published.config.get(self.theirs or "")
            if given is None:
                return None
            wanted = self.named.get(str(given), given)
            alike = _alike(self.default if ours is None else ours, wanted, self.within)
        if alike:
            return None
        shown = (self.default or "unknown") if ours is None else _plain(ours)
        return f"{self.what}: ours {shown}, theirs {self.theirs_is or _plain(wanted)}"


Conditions = Annotated[tuple[Condition, ...], BeforeValidator(_flat)]


class Pick(_Frozen):
    """Rows of the published numbers: every list given must hold a row's value; `config` names keys that it must have."""

    task: tuple[str, ...]
    metric: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def holds(self, row: Published) -> bool:
        """Whether a row is among them."""
        return (
            row.task in self.task
            and (not self.metric or row.metric in self.metric)
            and (not self.dataset or row.dataset in self.dataset)
            and all(key in row.config for key in self.config)
            and not any(key in row.config for key in self.without)
        )


class Rule(_Frozen):
    """One kind of published number and the measurement of ours that answers it.

    Attributes:
        quantity: what both are, as the page names it.
        published: the rows.
        task: our task's name; `*` is any.
        measures: names of ours, the first that a record has counts.
        not_theirs: measure -> why it is only near the paper's.
        detail: dotted place below the measurement's details, where the value lies there.
        statistic: over our seeds.
        failures_below: count our seeds below this value instead.
        scale: the published value times this is in our unit.
        rounded_to: the published value is rounded to multiples of this [our unit].
        baseline_is: our mechanism that the row's own baseline is shown beside.
        same: what must be alike.
        noted: what is only said.
        because: why it is never the same quantity.
    """

    quantity: str
    published: Pick
    task: str
    measures: tuple[str, ...]
    not_theirs: dict[str, str] = Field(default_factory=dict)
    detail: str | None = None
    statistic: str = Field(default="mean", pattern="^(mean|median)$")
    failures_below: float | None = None
    scale: float = 1.0
    rounded_to: float = 0.0
    baseline_is: str | None = None
    same: Conditions = ()
    noted: Conditions = ()
    because: str | None = None


class Side(_Frozen):
    """One side of a published ratio."""

    mechanism: str
    implementation: str | None = None


class OurRatio(_Frozen):
    """Two contenders of ours whose times make the ratio that stands beside the paper's."""

    family: str
    treatment: str
    baseline: str
    what: str


class TimingRule(_Frozen):
    """A published ratio of two times, by number of tokens."""

    quantity: str
    published: Pick
    treatment: Side
    baseline: Side
    ours: tuple[OurRatio, ...]
    because: str


class Unanswered(Pick):
    """Rows that nothing here answers, and why."""

    because: str


class Answers(_Frozen):
    """The whole file."""

    mechanisms: dict[str, str]
    conditions: dict[str, Conditions] = Field(default_factory=dict)
    rules: tuple[Rule, ...]
    timings: tuple[TimingRule, ...]
    unanswered: tuple[Unanswered, ...]


def read_answers(path: Path | None = None) -> Answers:
    """The rules beside the published numbers.

    Raises:
        PublishedError: the file is missing, or is no such file.
    """
    path = path or find_published().with_name(FILE)
    try:
        return Answers.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise PublishedError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, yaml.YAMLError) as error:
        raise PublishedError(f"{path}: not readable: {' '.join(str(error).split())}") from error


def look(record: Record, place: str) -> Any:
    """What stands at a dotted place of a record, in its spec unless it begins with one of some fields; None where nothing does.

    Positions that the mechanism decides on (`auto`) are looked up in its traits.
    """
    here: Any = record if place.split(".", 1)[0] in _FIELDS else record.spec
    if place.startswith("model."):  # an entry may have its own
        here = {**here, "model": {**here.get("model", {}), **here.get("own_model", {})}}
    for step in place.split("."):
        here = here.get(step) if isinstance(here, dict) else getattr(here, step, None)
    if place == "model.position" and here == "auto":
        return "learned" if record.card.traits.get("needs_position") else "none"
    return here


def _alike(ours: Any, theirs: Any, within: float) -> bool:
    a, b = _number(ours), _number(theirs)
    if a is None or b is None:
        return str(ours).casefold() == str(theirs).casefold()
    return abs(a - b) <= max(within, 1e-9) * abs(b)


def _number(value: Any) -> float | None:
    """Numbers, and the papers' `1M`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        factor = {"k": 1e3, "M": 1e6, "G": 1e9}.get(value[-1:], 1.0)
        try:
            return float(value.rstrip("kMG")) * factor
        except ValueError:
            return None
    return float(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}".replace(",", "\u202f")
    return f"{value:g}" if isinstance(value, float) else str(value)
