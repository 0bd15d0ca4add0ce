"""The answer in words: one sentence a comparison, and the strongest caveat beside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from oscbench import words
from oscbench.analysis.comparison import Aggregate, Comparison
from oscbench.analysis.sweeps.sweep import Sweep, Tested, level_at_last, listed, reaching_on_means

_BESIDE = 3


@dataclass(frozen=True)
class Answer:
    """One comparison in words.

    Attributes:
        head: What is compared.
        text: Effect, interval, seeds, p and costs, or why there is none.
        verdict: What test and interval support together.
        caveats: The strongest few.
        more: The rest of them.
        brief: The effect with its interval; empty where `text` is short as it stands.
        span: Ends of the interval and the mean between them, signed so that more is better; None where there is no interval.
    """

    head: str
    text: str
    verdict: str
    caveats: tuple[str, ...]
    more: tuple[str, ...]
    brief: str = ""
    span: tuple[float, float, float] | None = None

    @property
    def details(self) -> str:
        """What `brief` leaves out of `text`."""
        return self.text.removeprefix(self.brief).lstrip(", ") if self.brief else ""

    @property
    def tone(self) -> str:
        """`better`, `worse` or nothing, which its look goes by."""
        return {"better": "better", "worse": "worse"}.get(self.verdict.split(":")[0].lower(), "")

    @property
    def sentence(self) -> str:
        """All in one line, without the caveat."""
        return f"{self.head}: {self.text}"

    def without(self, told: Collection[str]) -> Answer:
        """The same answer without caveats that are told elsewhere."""
        left = [note for note in (*self.caveats, *self.more) if note not in told]
        return replace(self, caveats=tuple(left[:_BESIDE]), more=tuple(left[_BESIDE:]))


_MEANING = {
    "better": "Better",
    "worse": "Worse",
    "different": "Different",
    "equivalent": "Equivalent",
    "no clear difference": "No clear difference; equivalence is not shown",
    "underpowered": "Undecided: too few seeds",
    "one seed: no test": "Undecided: one seed",
    "estimates only": "Estimates only",
    "withheld": "Verdict withheld",
    "refused": "Refused",
    "missing": "Missing",
}


def answer(comparison: Comparison) -> Answer:
    """Put one comparison into words: effect, interval, seeds, p, then cost, then what to be careful about."""
    head = comparison.name
    verdict = _MEANING[comparison.verdict]
    if comparison.verdict == "equivalent" and comparison.margin:
        verdict += f" within {words.margin(comparison.margin.value, comparison.unit)}"
    paired = comparison.paired
    if paired is None:
        return Answer(head, comparison.reason, verdict, (), ())
    verdict += f": {why}" if (why := comparison.withheld or comparison.only_estimated) else ""
    value = words.difference(paired.mean, comparison.unit)
    parts = [f"{value} {words.lowered(comparison.metric_label)}"]
    if paired.interval.exists:
        low, high = paired.interval.low, paired.interval.high
        parts.append(f"95 % interval {words.interval(low, high, comparison.unit)}")
    else:
        parts.append("no interval (one seed)")
    brief = ", ".join(parts)
    parts.append(f"{paired.n} paired seed" + ("s" if paired.n != 1 else ""))
    if math.isfinite(paired.p):
        sign = "" if paired.p < 0.001 else "= "
        holm = f" (Holm {words.p_value(comparison.p_holm)})" if comparison.tested > 1 else ""
        parts.append(f"p {sign}{words.p_value(paired.p)}{holm}")
    if comparison.equivalence and comparison.equivalence.shown:
        within = words.margin(comparison.equivalence.margin.value, comparison.unit)
        parts.append(f"within {within} (p {words.p_value(comparison.equivalence.p_adjusted)})")
    if comparison.verdict == "underpowered" and (paired.interval.low > 0 or paired.interval.high < 0):
        # What a test cannot decide with so few seeds an interval may still tell.
        side = "above" if paired.interval.low > 0 else "below"
        verdict += f" for the test after correction; the 95 % interval, uncorrected, lies {side} 0"
    text = ", ".join(parts) + _cost_words(comparison) + "."
    caveats = [as_sentence(note, comparison) for note in comparison.caveats]
    strongest, rest = tuple(caveats[:_BESIDE]), tuple(caveats[_BESIDE:])
    return Answer(head, text, verdict, strongest, rest, brief, improvement(comparison))


def improvement(comparison: Comparison) -> tuple[float, float, float] | None:
    """Lower end, mean and upper end of a difference, signed so that more is better; None without an interval."""
    paired = comparison.paired
    if paired is None or not paired.interval.exists:
        return None
    sign = -1.0 if comparison.direction == "lower" else 1.0
    low, high = sorted((sign * paired.interval.low, sign * paired.interval.high))
    return low, sign * paired.mean, high


def as_sentence(note: str, comparison: Comparison) -> str:
    """A caveat with a capital, unless it begins with the name of an entry, which is spelled as it is."""
    names = (comparison.treatment, comparison.baseline)
    return note if note.startswith(names) else words.capitalised(note)


def _cost_words(comparison: Comparison) -> str:
    low, high = comparison.costs, comparison.costs_to or comparison.costs
    found = [
        _more(low.params, high.params, "parameters"),
        _more(low.flops, high.flops, "FLOPs"),
        _speed(low.speed, high.speed),
    ]
    phrases = ", ".join(word for word in found if word)
    return f"; {phrases}" if phrases else ""


def _more(low: float, high: float, what: str) -> str:
    if not math.isfinite(low):
        return ""
    if max(abs(low - 1), abs(high - 1)) < 5e-4:
        return f"equal {what}"
    ends = list(dict.fromkeys(map(words.relative, (low, high))))
    return f"{' to '.join(ends)} {what}"


def _speed(low: float, high: float) -> str:
    ends = list(dict.fromkeys(map(words.times, (low, high))))
    return f"{' to '.join(ends)} training speed" if math.isfinite(low) else ""


def aggregate_words(aggregate: Aggregate) -> str:
    """An effect over several tasks in one sentence."""
    where = "; ".join(
        f"{words.lowered(label)} in {words.listed(suites)}" for label, suites in aggregate.tasks
    )
    effect = words.difference(aggregate.effect, aggregate.unit)
    return (
        f"{aggregate.treatment} {words.MINUS} {aggregate.baseline} over {len(aggregate.tasks)} tasks ({where}), "
        f"{_matched_words(aggregate)}: {effect} {words.lowered(aggregate.metric_label)}, {_spread_words(aggregate)}."
    )


def aggregates_method(found: Sequence[Aggregate]) -> str:
    """What effects over tasks are and what they do not tell, once for all of them; empty where there are none."""
    if not found:
        return ""
    several = any(len(suites) > 1 for one in found for _, suites in one.tasks)
    once = "; suites of one task are averaged seed by seed, so that it weighs once" if several else ""
    return (
        f"Each is the mean over tasks of a pair's mean difference{once}. Intervals are t intervals over seeds inside each task: "
        "they say nothing about other tasks, and are not corrected for the number of pairs."
    )


def _matched_words(aggregate: Aggregate) -> str:
    treatment, baseline = (f"matched by {by}" if by != "none" else "not matched" for by in aggregate.matching)
    if treatment == baseline:
        return treatment
    return f"{aggregate.treatment} {treatment}, {aggregate.baseline}, a control, {baseline}"


def _spread_words(aggregate: Aggregate) -> str:
    if not aggregate.interval.exists:
        return "no interval (one seed in a task)"
    ends = words.interval(aggregate.interval.low, aggregate.interval.high, aggregate.unit)
    return f"95 % interval {ends}, at least {aggregate.fewest} paired seeds a task"


def sweep_answers(sweep: Sweep) -> list[Answer]:
    """A sentence for every pair over all values, then at which of them it differs, and what it needs of a resource."""
    found = []
    for whole, tests in zip(sweep.overall, sweep.tests, strict=True):
        verdicts: dict[str, list[float]] = {}
        for one in tests:
            verdicts.setdefault(one.comparison.verdict_in_words, []).append(one.value)
        last = sweep.axis
        told = "; ".join(f"{verdict} at {last} {listed(values)}" for verdict, values in verdicts.items())
        plain = answer(whole)
        told = f"{words.capitalised(told)}." if whole.paired else ""
        sentences = [plain.text, told, _need(sweep, whole, tests)]
        alone = whole.verdict in ("better", "worse") and whole.verdict not in verdicts
        verdict = plain.verdict + (": on the mean over all values, at none of them alone" if alone else "")
        found.append(replace(plain, text=" ".join(filter(None, sentences)), verdict=verdict))
    return found


def _need(sweep: Sweep, whole: Comparison, tests: Sequence[Tested]) -> str:
    """With how little of a resource the treatment is as good as its baseline with most; empty where that is no question."""
    level = level_at_last(sweep, tests)
    if not sweep.is_resource or not whole.paired or level is None:
        return ""
    last, top = sweep.axis, sweep.values[-1]
    reached, itself = (
        reaching_on_means(sweep, tests, name, level) for name in (whole.treatment, whole.baseline)
    )
    where = f"first at {reached:g}" if math.isfinite(reached) else "nowhere"
    own = f"; {whole.baseline} itself first at {itself:g}" if itself != top else ""
    return f"Reaches the mean of {whole.baseline} at {last} {top:g} {where}{own}."
