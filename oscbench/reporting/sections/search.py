"""Tables and figures of a search: its ledger, every trial, and the score against each setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from oscbench import words
from oscbench.analysis.choices import is_untrained
from oscbench.analysis.experiment import Standing
from oscbench.analysis.search import (
    Search,
    Tuned,
    edge,
    is_number,
    key_of,
    setting,
    space_text,
    value_text,
    values_text,
)
from oscbench.analysis.study import Study
from oscbench.records.ledger import Extension, Ledger
from oscbench.reporting.page.blocks import SUITE, Block, Facts, Folded, Heading, Prose
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.table import Cell, Reads, Table, count_cell, number_cell, sorted_by
from oscbench.reporting.page.trials import identified, known, scored, trials_picture, trials_table, value_cell

DESCRIPTION = (
    "Every entry had the same number of trials before anything here was reported. A trial trains under the same recipe and "
    "is scored on validation; the first one is what the suite itself gives, as far as the space holds it. The best trial's "
    "values then ran on fresh seeds, and the test split was looked at only there."
)


def ledger_table(tuned: Tuned) -> Table:
    """What every entry was given, what it cost and what was chosen."""
    unit, direction = tuned.experiment.unit, tuned.experiment.direction
    columns: list[Reads[Search]] = [
        Reads("Mechanism", lambda one: one.name, "left"),
        Reads("Trials", _count),
        Reads("Cells", _ended, "left"),
        Reads("Training", lambda one: number_cell(known(one.entry.training_flops), "FLOP")),
        Reads("Time", lambda one: number_cell(one.entry.seconds, "s")),
        Reads("Own values", lambda one: number_cell(known(one.given.score if one.given else None), unit)),
        Reads("Best", lambda one: number_cell(known(one.entry.score), unit)),
        Reads(
            "Gain", lambda one: sorted_by(words.difference(one.gain(direction), unit), one.gain(direction))
        ),
        Reads("Lowest", lambda one: number_cell(min(one.scores, default=math.nan), unit)),
        Reads("Median", lambda one: number_cell(float(np.median(one.scores or [math.nan])), unit)),
        Reads("Highest", lambda one: number_cell(max(one.scores, default=math.nan), unit)),
        Reads("Chosen", _chosen, "left"),
        Reads("Went beyond", lambda one: "; ".join(map(_went, one.entry.extensions)) or "nowhere", "left"),
    ]
    caption = (
        f"Ledger of the search: {tuned.metric_label}, mean over the scoring seeds; own values are the suite's, "
        "and numbers lead to the trial that was chosen"
    )
    return Table.of(
        f"{tuned.slug}-ledger",
        caption,
        columns,
        tuned.searches,
        lambda one: _ledger_raw(tuned, one),
        lambda one: one.link(one.entry.chosen_trial),
    )


def _count(one: Search) -> Cell:
    count = len(one.entry.trials)
    return Cell(str(count) if one.entry.finished else f"{count} so far", float(count))


def _chosen(one: Search) -> str:
    return "nothing: the suite's own values ran" if one.entry.score is None else values_text(one.entry.chosen)


def _went(one: Extension) -> str:
    """What an extension tried: `learning rate 0.01 → 0.02, 0.04`."""
    return f"{setting(one.place)} {value_text(one.chosen)} → {', '.join(map(value_text, one.tried))}"


def _ended(one: Search) -> str:
    return ", ".join(f"{count} {status}" for status, count in one.statuses.most_common())


def _ledger_raw(tuned: Tuned, one: Search) -> dict[str, Any]:
    entry, scores = one.entry, one.scores
    raw: dict[str, Any] = identified(tuned, one)
    raw |= {"trials": len(entry.trials), "repeated": sum(row.repeats for row in entry.trials)}
    raw |= {f"cells_{status}": one.statuses[status] for status in ("ok", "diverged", "failed", "oom")}
    raw |= {"scoring_seeds": " ".join(map(str, tuned.ledger.scoring_seeds)) if tuned.ledger else ""}
    raw |= {"training_flops": entry.training_flops, "seconds": entry.seconds}
    raw |= {"metric": tuned.ledger.metric if tuned.ledger else "", "unit": tuned.experiment.unit}
    raw |= {"own_values": one.given.score if one.given else None, "best": entry.score}
    raw |= {"gain": one.gain(tuned.experiment.direction)}
    if scores:
        raw |= {"lowest": min(scores), "median": float(np.median(scores)), "highest": max(scores)}
        raw |= {"std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None}
    return raw | {f"chosen_{key}": entry.chosen.get(key) for key in tuned.places}


class _Sensitivity(NamedTuple):
    """One setting of one entry: where it was searched, and (value, score) of the scored trials."""

    search: Search
    place: str
    axis: Mapping[str, Any]
    pairs: Sequence[tuple[Any, float]]

    @property
    def chosen(self) -> Any:
        return self.search.entry.chosen[self.place]


def sensitivity_table(tuned: Tuned) -> Table | None:
    """What the score says of each setting: where the choice lies, what else was as good, and how they go together."""
    direction = tuned.experiment.direction
    rows = [
        _Sensitivity(one, place, axis, pairs)
        for one in tuned.searches
        for place, axis in one.entry.reached.items()
        if (pairs := scored(one, place)) and one.entry.score is not None
    ]
    columns: list[Reads[_Sensitivity]] = [
        Reads("Mechanism", lambda row: row.search.name, "left"),
        Reads("Setting", lambda row: setting(row.place), "left"),
        Reads("Searched", lambda row: space_text(row.axis), "left"),
        Reads("Chosen", lambda row: value_cell(row.chosen), "left"),
        Reads("Lies", lambda row: edge(row.axis, row.chosen) or "no order", "left"),
        Reads("Better half", lambda row: _better_half(row.pairs, direction), "left"),
        Reads("Rank correlation", _correlation),
        Reads("Scored trials", lambda row: count_cell(len(row.pairs))),
    ]
    caption = (
        "Sensitivity to each setting over the scored trials: the values among the better half of them, and the rank correlation of "
        f"value and {tuned.metric_label}; all settings moved at once, so few trials say little of one alone"
    )
    table = Table.of(
        f"{tuned.slug}-sensitivity",
        caption,
        columns,
        rows,
        lambda row: (
            identified(tuned, row.search)
            | {"setting": row.place, "space": space_text(row.axis), "chosen": row.chosen}
            | {"lies": edge(row.axis, row.chosen), "better_half": _better_half(row.pairs, direction)}
            | {"rank_correlation": rank_correlation(row.pairs), "scored_trials": len(row.pairs)}
        ),
        lambda row: row.search.link(row.search.entry.chosen_trial),
    )
    return table if rows else None


def _correlation(row: _Sensitivity) -> Cell:
    rank = rank_correlation(row.pairs)
    return sorted_by(words.signed(f"{rank:+.2f}") if math.isfinite(rank) else words.MISSING, rank)


def _better_half(pairs: Sequence[tuple[Any, float]], direction: str) -> str:
    """The values of the better half of all trials: ends of numbers, or all of them where they have no order."""
    ordered = sorted(pairs, key=lambda pair: pair[1], reverse=direction != "lower")
    values = [value for value, _ in ordered[: (len(ordered) + 1) // 2]]
    if all(map(is_number, values)):
        low, high = value_text(min(values)), value_text(max(values))
        return low if low == high else f"{low} to {high}"
    return ", ".join(dict.fromkeys(value_text(value) for value in values))


def rank_correlation(pairs: Sequence[tuple[Any, float]]) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where values have no order or do not differ."""
    if len(pairs) < 3 or not all(is_number(value) for value, _ in pairs):
        return math.nan
    values, scores = zip(*pairs, strict=True)
    if len(set(values)) == 1 or len(set(scores)) == 1:
        return math.nan
    return float(stats.spearmanr(values, scores).statistic)


def answers(tuned: Tuned) -> Iterator[str]:
    """A sentence for every entry: what its search gained, and how much hung on the choice."""
    experiment, ledger = tuned.experiment, tuned.ledger
    for one in tuned.searches if ledger is not None else ():
        entry = one.entry
        count = f"{len(entry.trials)} trials" if len(entry.trials) != 1 else "one trial"
        if entry.score is None:
            yield f"{one.name}: none of {count} ended well, so the suite's own values ran"
            continue
        text = f"{one.name}: {tuned.score(entry.score)} in the best of {count} ({values_text(entry.chosen)})"
        gain = one.gain(experiment.direction)
        if gain == 0:
            text += ", which is what the suite itself gives"
        elif math.isfinite(gain):
            better = words.difference(gain, experiment.unit)
            text += f", {better} better than {tuned.score(one.given.score if one.given else None)} with the suite's own values"
        scores = one.scores
        if len(scores) > 1:
            text += (
                f"; over all trials {tuned.score(min(scores))} to {tuned.score(max(scores))}, "
                f"median {tuned.score(float(np.median(scores)))}"
            )
        yield text


def facts(tuned: Tuned) -> list[tuple[str, str]]:
    """What was equal in the search, what it cost, and what stands against believing it."""
    ledger, experiment = tuned.ledger, tuned.experiment
    if ledger is None:
        return [
            ("Ledger", "none of this very search in the results folder; the values that ran stand in Tuning")
        ]
    reported = {record.seed for standing in experiment.standings for record in standing.cells}
    both = sorted(reported & set(ledger.scoring_seeds))
    seeds = words.ranges(list(ledger.scoring_seeds))
    over = f"mean over seeds {seeds}" if len(ledger.scoring_seeds) > 1 else f"at seed {seeds}"
    outside = ", ".join(one.name for one in tuned.searches if one.entry.given_trial is None)
    apart = f"but seed {words.ranges(both)} is REPORTED TOO" if both else "none of them reported"
    found = [
        ("Trials", _equal(tuned, ledger)),
        ("Scored by", f"{tuned.metric_label}, {over}; {apart}"),
        ("Searched", "; ".join(f"{setting(key)}: {text}" for key, text in _spaces(tuned))),
        ("Drawn by", ledger.sampler),
        ("The suite's own values", f"not among the trials of {outside}" if outside else ""),
        ("Compute", _compute(tuned)),
        ("At the edge", "; ".join(_edges(tuned))),
        ("Saw nothing", _blind(tuned)),
        ("Not what was chosen", "; ".join(_unlike(tuned))),
    ]
    optimistic = (
        "the best of several noisy scores flatters itself, and the more the wider they scatter; only the fresh "
        "seeds of the section above compare entries"
    )
    return [fact for fact in found if fact[1]] + [("Caution", optimistic)]


def _equal(tuned: Tuned, ledger: Ledger) -> str:
    text = f"{ledger.trials} for every entry"
    short = [
        f"{s.name} has {count}"
        for s in tuned.searches
        if (count := sum(row.extension == 0 for row in s.entry.trials)) != ledger.trials
    ]
    searched = {key_of(one.entry) for one in tuned.searches}
    short += [
        f"{s.name} has none"
        for s in tuned.experiment.standings
        if s.entry not in searched and not is_untrained(s.cells[0])
    ]
    text += f"; NOT equal: {', '.join(short)}" if short else ""
    few = [
        f"{s.name} has {len(s.entry.trials) - again} different ones only"
        for s in tuned.searches
        if (again := sum(row.repeats for row in s.entry.trials))
    ]
    further = [
        f"{s.name} has {count} more"
        for s in tuned.searches
        if (count := sum(row.extension > 0 for row in s.entry.trials))
    ]
    text += f"; beyond a range at whose end the choice stood: {', '.join(further)}" if further else ""
    return text + (f"; where the space holds no more, choices come again: {', '.join(few)}" if few else "")


def _spaces(tuned: Tuned) -> Iterator[tuple[str, str]]:
    """Each place with its space, and for whom where not for all."""
    for key in tuned.places:
        owners: dict[str, list[str]] = {}
        for one in tuned.searches:
            if key in one.entry.space:
                owners.setdefault(space_text(one.entry.space[key]), []).append(one.name)
        for text, names in owners.items():
            some = len(names) < len(tuned.searches)
            yield key, f"{text} ({', '.join(names)} only)" if some else text


def _compute(tuned: Tuned) -> str:
    flops = [one.entry.training_flops for one in tuned.searches]
    seconds = sum(one.entry.seconds for one in tuned.searches)
    cells = [record for standing in tuned.experiment.standings for record in standing.cells]
    after = sum(record.seconds for record in cells)
    text = f"{words.quantity(seconds, 's')} in all cells of trials"
    known = [number for number in flops if number is not None]
    if known and len(known) == len(flops):
        text = f"{words.quantity(sum(known), 'FLOP')} of training, {text}"
    return text + (f", {words.times(seconds / after)} what the reported cells took" if after else "")


def _edges(tuned: Tuned) -> Iterator[str]:
    for one in tuned.searches:
        for key, value in one.entry.chosen.items():
            where = edge(one.entry.reached[key], value)
            if where not in ("", "inside"):
                yield f"{one.name} took {setting(key)} {value_text(value)} {where}; better may lie beyond"


def _blind(tuned: Tuned) -> str:
    """Entries whose search found nothing that chance does not find."""
    names = [one.name for one in tuned.searches if tuned.saw_nothing(one)]
    if not names or tuned.lowest_floor is None:
        return ""
    floor, score = tuned.lowest_floor
    return (
        f"a seed of the trial that was chosen for {words.listed(names)} is not above {floor} ({tuned.score(score)}): chance may have "
        "chosen, and these entries may do better at other values"
    )


def _unlike(tuned: Tuned) -> Iterator[str]:
    """Reported cells that ran with other values than the ledger says."""
    chosen = {key_of(one.entry): one.entry.chosen for one in tuned.searches}
    for standing in tuned.experiment.standings:
        ran = _ran(standing, list(chosen.get(standing.entry, {})))
        if ran != chosen.get(standing.entry, {}):
            yield f"{standing.name} ran with {values_text(ran)}"


def _ran(standing: Standing, places: Sequence[str]) -> dict[str, Any]:
    spec, given = standing.cells[-1].spec, standing.cells[-1].spec_given
    found = {}
    for place in places:
        kind, _, name = place.partition(".")
        parts = {
            "train": {**spec.get("train", {}), **spec.get("tuned", {})},
            "settings": spec.get("mechanism", {}),
            "model": {
                **spec.get("model", {}),
                **spec.get("own_model", {}),
                "position": given.get("position"),
            },
        }
        found[place] = parts[kind].get(name)
    return found


class SearchSection:
    """What was searched for before the suite ran: its ledger, every trial, and the score against each setting."""

    title = "Search"
    rank = 85
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """One search an experiment of a tuned suite."""
        found: list[Block] = []
        for tuned in study.searches:
            found += [Heading(f"Search before {tuned.experiment.title}"), Prose((DESCRIPTION,))]
            said = tuple(f"{text}." for text in answers(tuned))
            found += [Prose(said)] if said else []
            found.append(Facts(tuple(facts(tuned))))
            if tuned.searches:
                sensitivity = sensitivity_table(tuned)
                found += [ledger_table(tuned), *([sensitivity] if sensitivity else [])]
                found += [Plan(3, partial(trials_picture, tuned, place)) for place in tuned.places]
                found.append(Folded("Every trial", (trials_table(tuned),)))
        return found


section = SearchSection
