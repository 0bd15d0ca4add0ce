"""Tables and figures of a search: its ledger, every trial, and the score against each setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from scipy import stats

from oscbench import words
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
from oscbench.records.ledger import Extension, Ledger, TrialRow
from oscbench.reporting.page.blocks import SUITE, Block, Facts, Folded, Heading, Prose
from oscbench.reporting.page.figure import Picture, Plan, axis_label, canvas, finish, legend, scaled
from oscbench.reporting.page.style import Look, look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Column, Table, number_cell

DESCRIPTION = (
    "Every entry had the same number of trials before anything here was reported. A trial trains under the same recipe and "
    "is scored on validation; the first one is what the suite itself gives, as far as the space holds it. The best trial's "
    "values then ran on fresh seeds, and the test split was looked at only there."
)


def ledger_table(tuned: Tuned) -> Table:
    """What every entry was given, what it cost and what was chosen."""
    rows = tuple(_ledger_row(tuned, one) for one in tuned.searches)
    raw = tuple(_ledger_raw(tuned, one) for one in tuned.searches)
    headings = ("Training", "Time", "Own values", "Best", "Gain", "Lowest", "Median", "Highest")
    columns = (
        Column("Mechanism", "left"),
        Column("Trials"),
        Column("Cells", "left"),
        *(Column(heading) for heading in headings),
        Column("Chosen", "left"),
        Column("Went beyond", "left"),
    )
    caption = (
        f"Ledger of the search: {tuned.metric_label}, mean over the scoring seeds; own values are the suite's, "
        "and numbers lead to the trial that was chosen"
    )
    links = tuple(one.link(one.entry.chosen_trial) for one in tuned.searches)
    return Table(f"{tuned.slug}-ledger", caption, columns, rows, raw, links)


def _ledger_row(tuned: Tuned, one: Search) -> tuple[Cell, ...]:
    entry, unit = one.entry, tuned.experiment.unit
    scores = one.scores or [math.nan]
    count = len(entry.trials)
    gain = one.gain(tuned.experiment.direction)
    given = one.given.score if one.given is not None else None
    return (
        Cell(one.name),
        Cell(str(count) if entry.finished else f"{count} so far", float(count)),
        Cell(_ended(one)),
        number_cell(math.nan if entry.training_flops is None else entry.training_flops, "FLOP"),
        number_cell(entry.seconds, "s"),
        number_cell(math.nan if given is None else given, unit),
        number_cell(math.nan if entry.score is None else entry.score, unit),
        Cell(words.difference(gain, unit), gain if math.isfinite(gain) else None),
        *(number_cell(value, unit) for value in (min(scores), float(np.median(scores)), max(scores))),
        Cell(values_text(entry.chosen) if entry.score is not None else "nothing: the suite's own values ran"),
        Cell("; ".join(map(_went, entry.extensions)) or "nowhere"),
    )


def _went(one: Extension) -> str:
    """What an extension tried: `learning rate 0.01 → 0.02, 0.04`."""
    return f"{setting(one.place)} {value_text(one.chosen)} → {', '.join(map(value_text, one.tried))}"


def _ended(one: Search) -> str:
    return ", ".join(f"{count} {status}" for status, count in one.statuses.most_common())


def _identify(tuned: Tuned, one: Search) -> dict[str, Any]:
    experiment = tuned.experiment
    names = {"mechanism": one.entry.mechanism, "variant": one.entry.variant}
    return {"suite": experiment.suite, "task": experiment.task, "protocol": experiment.protocol, **names}


def _ledger_raw(tuned: Tuned, one: Search) -> dict[str, Any]:
    entry, scores = one.entry, one.scores
    raw: dict[str, Any] = _identify(tuned, one)
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


def sensitivity_table(tuned: Tuned) -> Table | None:
    """What the score says of each setting: where the choice lies, what else was as good, and how they go together."""
    rows: list[tuple[Cell, ...]] = []
    raw: list[dict[str, Any]] = []
    links: list[str | None] = []
    for one in tuned.searches:
        for place, axis in one.entry.reached.items():
            pairs = _scored(one, place)
            if not pairs or one.entry.score is None:
                continue
            chosen = one.entry.chosen[place]
            good = _better_half(pairs, tuned.experiment.direction)
            where, rank = edge(axis, chosen), rank_correlation(pairs)
            cells = (
                Cell(setting(place)),
                Cell(space_text(axis)),
                Cell(value_text(chosen), chosen if is_number(chosen) else None),
                Cell(where or "no order"),
                Cell(good),
                Cell(
                    words.signed(f"{rank:+.2f}") if math.isfinite(rank) else words.MISSING,
                    rank if math.isfinite(rank) else None,
                ),
                Cell(str(len(pairs)), float(len(pairs))),
            )
            rows.append((Cell(one.name), *cells))
            links.append(one.link(one.entry.chosen_trial))
            raw.append(
                _identify(tuned, one)
                | {"setting": place, "space": space_text(axis), "chosen": chosen, "lies": where}
                | {"better_half": good, "rank_correlation": rank, "scored_trials": len(pairs)}
            )
    caption = (
        "Sensitivity to each setting over the scored trials: the values among the better half of them, and the rank correlation of "
        f"value and {tuned.metric_label}; all settings moved at once, so few trials say little of one alone"
    )
    left = ("Setting", "Searched", "Chosen", "Lies", "Better half")
    columns = (Column("Mechanism", "left"), *(Column(heading, "left") for heading in left))
    columns += (Column("Rank correlation"), Column("Scored trials"))
    name = f"{tuned.slug}-sensitivity"
    return Table(name, caption, columns, tuple(rows), tuple(raw), tuple(links)) if rows else None


def _scored(one: Search, place: str) -> list[tuple[Any, float]]:
    rows = [row for row in one.entry.trials if not row.repeats]
    return [(row.values[place], row.score) for row in rows if row.score is not None]


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


def trials_table(tuned: Tuned) -> Table:
    """Every trial of every entry, in order."""
    seeds = tuned.ledger.scoring_seeds if tuned.ledger else ()
    rows: list[tuple[Cell, ...]] = []
    raw: list[dict[str, Any]] = []
    links: list[str | None] = []
    for one in tuned.searches:
        for number, row in enumerate(one.entry.trials, start=1):
            rows.append(_trial_row(tuned, one, number, row))
            links.append(one.link(row))
            raw.append(
                _identify(tuned, one)
                | {"trial": number, "chosen": row is one.entry.chosen_trial, "repeats": row.repeats}
                | {key: row.values.get(key) for key in tuned.places}
                | {"score": row.score}
                | {f"score_seed{seed}": score for seed, score in zip(seeds, row.scores, strict=False)}
                | {"statuses": " ".join(row.statuses), "training_flops": row.training_flops}
                | {"seconds": row.seconds, "identities": " ".join(row.identities)}
            )
    columns = (
        Column("Mechanism", "left"),
        Column("Trial"),
        *(Column(words.capitalised(setting(key))) for key in tuned.places),
        Column("Score"),
        *(Column(f"Seed {seed}") for seed in seeds),
        Column("Training"),
        Column("Time"),
        Column("Note", "left"),
    )
    caption = f"Every trial: {tuned.metric_label}, mean over the scoring seeds and each of them"
    return Table(f"{tuned.slug}-trials", caption, columns, tuple(rows), tuple(raw), tuple(links))


def _trial_row(tuned: Tuned, one: Search, number: int, row: TrialRow) -> tuple[Cell, ...]:
    unit = tuned.experiment.unit
    notes = ["the suite's own values"] if row is one.entry.given_trial else []
    notes += ["chosen"] if row is one.entry.chosen_trial else []
    notes += ["a choice that was made before"] if row.repeats else []
    notes += sorted({status for status in row.statuses if status != "ok"})
    return (
        Cell(one.name),
        Cell(str(number), float(number)),
        *(_value_cell(row.values, key) for key in tuned.places),
        number_cell(math.nan if row.score is None else row.score, unit),
        *(number_cell(math.nan if score is None else score, unit) for score in row.scores),
        number_cell(math.nan if row.training_flops is None else row.training_flops, "FLOP"),
        number_cell(row.seconds, "s"),
        Cell(", ".join(notes)),
    )


def _value_cell(values: Mapping[str, Any], place: str) -> Cell:
    """What a trial had in one place; empty where its mechanism has no such setting."""
    if place not in values:
        return Cell("")
    value = values[place]
    return Cell(value_text(value), value if is_number(value) else None)


def picture(tuned: Tuned, place: str) -> Picture:
    """The score of every trial against one setting; the chosen ones are ringed, those without a score stand at the worse end."""
    experiment = tuned.experiment
    own = [one for one in tuned.searches if place in one.entry.space]
    tried = [row.values[place] for one in own for row in one.entry.trials]
    numbers = all(map(is_number, tried))
    ordered = sorted(set(tried)) if numbers else list(dict.fromkeys(map(value_text, tried)))
    at = (lambda value: float(value)) if numbers else (lambda value: float(ordered.index(value_text(value))))
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(2.9)
        phrases = [_drawn(axes, tuned, one, place, at, look_of(key_of(one.entry))) for one in own]
        _value_axis(axes, own, place, ordered, numbers)
        axes.set_xlabel(setting(place))
        title = f"{words.capitalised(tuned.metric_label)} against {setting(place)}"
        axes.set_title(axis_label(title, experiment.unit))
        legend(figure, axes)
        alt = f"Points: {title}, one a trial, mean over its seeds; ringed: what was chosen. {'; '.join(phrases)}."
        return finish(figure, tuned.slug, f"sensitivity {place}", title, alt)


def _drawn(axes: Axes, tuned: Tuned, one: Search, place: str, at: Any, look: Look) -> str:
    """Draw one entry's trials; what they show, in words."""
    unit, pairs = tuned.experiment.unit, sorted(_scored(one, place), key=lambda pair: at(pair[0]))
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": "none"}
    x = [at(value) for value, _ in pairs]
    (dots,) = axes.plot(x, scaled([score for _, score in pairs], unit), label=one.name, markersize=5, **style)
    phrases = [f"{tuned.score(score)} at {value_text(value)}" for value, score in pairs]
    hint(dots, "", (f"{one.name}: {text}" for text in phrases))
    best = one.entry.score
    if best is not None:
        ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.2}
        (chosen,) = axes.plot([at(one.entry.chosen[place])], scaled([best], unit), **style, **ring)
        hint(
            chosen,
            f"{one.name}, chosen: {tuned.score(best)} at {value_text(one.entry.chosen[place])}",
        )
    lost = [at(row.values[place]) for row in one.entry.trials if row.score is None]
    if lost:
        height = 0.98 if tuned.experiment.direction == "lower" else 0.02
        axes.plot(
            lost,
            [height] * len(lost),
            "x",
            color=look.colour,
            markersize=6,
            transform=axes.get_xaxis_transform(),
        )
    listed = ", ".join(phrases)
    without = f" and {len(lost)} without a score (crosses)" if lost else ""
    return f"{one.name} {listed or 'no score'}{without}"


def _value_axis(axes: Axes, own: Sequence[Search], place: str, ordered: Sequence[Any], numbers: bool) -> None:
    """Logarithmic where the search was, places without distance for words, and as many ticks as can be read."""
    axis = own[0].entry.space[place]
    choices = axis.get("choices")
    if not numbers:
        axes.set_xticks(range(len(ordered)), [str(value) for value in ordered])
        return
    ends = choices or [axis["low"], axis["high"]]
    spread = choices is not None and min(ends) > 0 and max(ends) / min(ends) >= 4
    if axis.get("log") or spread:
        axes.set_xscale("log")
    if choices is not None:
        axes.set_xticks(sorted(choices))
    elif axis.get("log"):
        axes.set_xticks(_round_ticks(ends[0], ends[1]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten inside a range, or 1 alone where these are too many to read."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= 7 and inside:
            return inside
    return [low, high]


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
    short += [f"{s.name} has none" for s in tuned.experiment.standings if s.entry not in searched]
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
            "train": {**spec["train"], **spec.get("tuned", {})},
            "settings": spec["mechanism"],
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
                found += [Plan(3, partial(picture, tuned, place)) for place in tuned.places]
                found.append(Folded("Every trial", (trials_table(tuned),)))
        return found


section = SearchSection
