"""What the papers claim and what would decide it: `claims.yaml` beside the published numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oscbench.analysis.published.numbers import PublishedError, find_published

FILE = "claims.yaml"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OfSuite(_Frozen):
    """A question to the records of one suite.

    Attributes:
        suite: Its name; a suite that varies is asked over all its values.
        value: Of a suite that varies this value alone, as in `train.steps=800`.
        what: Words that say more than the names do.
        asked: When the question was asked, where its suite had run before: said beside the answer.
    """

    suite: str
    value: str | None = None
    what: str = ""
    asked: str = ""


class _OfPair(_OfSuite):
    """A question about two entries, named as --compare names them."""

    treatment: str
    baseline: str


class Difference(_OfPair):
    """Is the treatment better, or at least no worse by the margin, on the headline metric?

    Attributes:
        margin: `0.02 bits`; by default the suite's, or the usual one of the metric's unit.
    """

    rule: Literal["better", "no worse"]
    margin: str | None = None


class Sooner(_OfPair):
    """Does the treatment need fewer steps to levels of the headline metric on validation?

    Attributes:
        targets: The levels; the answer is the geometric mean of what is needed for each, so that no one level decides.
    """

    rule: Literal["sooner"]
    targets: tuple[float, ...] = Field(min_length=1)


class NeedsLess(_OfPair):
    """Does the treatment need less of what a suite varies, data or parameters, to levels of the headline metric?

    Attributes:
        over: What varies, as the suite names it (`task.fraction`), or a measure (`params`).
        targets: The levels; the answer is the geometric mean of what is needed for each.
    """

    rule: Literal["needs less"]
    over: str
    targets: tuple[float, ...] = Field(min_length=1)


class FailsLess(_OfPair):
    """Do fewer seeds of the treatment fail?"""

    rule: Literal["fails less"]
    measure: str
    level: float
    direction: Literal["higher", "lower"] = "higher"


class Quantity(_OfSuite):
    """Does a quantity of an entry's health, mean over layers, lie within bounds?"""

    rule: Literal["quantity"]
    entry: str
    quantity: str
    when: Literal["start", "end"]
    at_least: float | None = None
    at_most: float | None = None


class Time(_OfSuite):
    """Is a ratio of times from a timing suite at most so much, at every shape that was timed?

    Attributes:
        tolerance: Relative; what timings of one machine differ by from run to run.
    """

    rule: Literal["time"]
    measure: str
    at_most: float
    tolerance: float = 0.1


class Count(_OfPair):
    """Is a closed-form count of the treatment below the baseline's?

    Attributes:
        detail: Name of the count among the details of the measure; its value where empty.
        tolerance: Relative; what models that are matched in something else may differ by.
    """

    rule: Literal["count"]
    measure: str
    detail: str = ""
    tolerance: float = 0.01


class OverFloors(_OfSuite):
    """Is an entry itself above every floor of its task, by more than its suite's margin?"""

    rule: Literal["above floors"]
    entry: str


class Learned(_Frozen):
    """Which seeds count: those that learned their task.

    Attributes:
        measure: That tells.
        level: At least so much.
    """

    measure: str
    level: float


class Level(_OfSuite):
    """Does a measure of an entry lie within bounds, its interval over seeds and all?

    Attributes:
        less: Another measure that is taken off first, cell by cell: what is lost from one to the other.
        over: A floor among the measure's details that is taken off first, cell by cell, or `start`, its own value before training; its last
            value where it has several, by layer.
        of: Seeds that count; those that did not learn their task have little to lose.
    """

    rule: Literal["level"]
    entry: str
    of: Learned | None = None
    measure: str
    less: str | None = None
    over: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def lowest(self) -> float:
        """At least so much."""
        return -math.inf if self.at_least is None else self.at_least

    @property
    def highest(self) -> float:
        """At most so much."""
        return math.inf if self.at_most is None else self.at_most


class Loses(_OfPair):
    """Does the treatment lose less of its metric than the baseline, from one measure to another?

    Attributes:
        whole: Measure before.
        changed: Measure after.
        margin: `1 points`, by which it may still lose more; without one it must lose less.
        of: Seeds that count, by both entries.
    """

    rule: Literal["loses less"]
    of: Learned | None = None
    whole: str
    changed: str
    margin: str | None = None


class Less(_OfPair):
    """Has the treatment less of a measure than the baseline, paired by seed?"""

    rule: Literal["less"]
    measure: str


class Rises(_OfSuite):
    """Is a quantity of an entry's last layer higher at the end of training than before its first step?

    Attributes:
        quantity: That `training_dynamics` follows.
        over: An entry, than whose the rise must be larger.
    """

    rule: Literal["rises"]
    entry: str
    quantity: str
    over: str | None = None


class Ahead(_OfPair):
    """Is a quantity of the treatment's last layer above the baseline's while both train?

    Attributes:
        quantity: That `training_dynamics` follows.
    """

    rule: Literal["ahead"]
    quantity: str


class HalfWay(_OfPair):
    """Has a quantity of the treatment's last layer gone half of its way, from its start to where it was farthest from it, in fewer steps?

    Attributes:
        quantity: That `training_dynamics` follows.
    """

    rule: Literal["half way"]
    quantity: str


class Falls(_OfPair):
    """Does the treatment's gap to the baseline on the headline metric fall as a power of one of the treatment's settings?

    Attributes:
        treatment: A mechanism; its entries that differ in the setting are the law's points.
        over: Name of the setting.
        off: Relative root mean square by which the means may lie off the law; farther off, the gap falls, and not as a power.
    """

    rule: Literal["falls"]
    over: str
    off: float = 0.1


class Finishes(_OfSuite):
    """Does no run of a mechanism diverge?"""

    rule: Literal["finishes"]
    mechanism: str


Ask = Annotated[
    Difference
    | Sooner
    | NeedsLess
    | FailsLess
    | Quantity
    | Level
    | OverFloors
    | Loses
    | Less
    | Rises
    | Ahead
    | HalfWay
    | Falls
    | Time
    | Count
    | Finishes,
    Field(discriminator="rule"),
]


class Ground(_Frozen):
    """One task on which a claim is asked.

    Attributes:
        real: Whether its data come from outside and are more than a toy.
        given: What must hold before anything is decided here: that an entry learned what it was trained on, say.
        asks: All must hold for the claim to hold here; empty where no suite asks yet.
        takes: What it would take to ask, said where no record answers.
        suggests: Why the ground decides nothing and only suggests: what was asked there is not what the paper claims.
        changed: How its questions were changed after the records existed: it cannot hold any more, and says what it was.
    """

    ground: str
    real: bool = False
    suggests: str = ""
    changed: str = ""
    given: tuple[Ask, ...] = ()
    asks: tuple[Ask, ...] = ()
    takes: str = ""


class Claim(_Frozen):
    """One claim in our words, its source, and its grounds."""

    id: str
    claim: str
    source: str
    grounds: tuple[Ground, ...] = Field(min_length=1)

    @property
    def num_questions(self) -> int:
        """Questions that may decide: over all grounds that do not only suggest, those that were asked before their suite ran."""
        return sum(not ask.asked for ground in self.grounds if not ground.suggests for ask in ground.asks)

    @property
    def num_grounds(self) -> int:
        """Grounds on which it may hold."""
        return sum(
            bool(ground.asks) and not ground.suggests and not ground.changed for ground in self.grounds
        )


def read_claims(path: Path | None = None) -> tuple[Claim, ...]:
    """All claims, in the file's order.

    Raises:
        PublishedError: the file is missing, is no such file, or gives one id twice.
    """
    path = path or find_published().with_name(FILE)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        claims = tuple(Claim.model_validate(one) for one in given["claims"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise PublishedError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise PublishedError(f"{path}: not readable as claims: {' '.join(str(error).split())}") from error
    ids = [claim.id for claim in claims]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise PublishedError(f"{path}: {', '.join(twice)} stands there twice")
    return claims
