"""A report says what was searched, shows the ledger, and leaves the trials out of what is compared unless they are asked for."""

from __future__ import annotations

import csv
import math
import re

import pytest
from synthetic_records import make_record

from oscbench.analysis.facts import fairness_facts
from oscbench.analysis.frame import load
from oscbench.analysis.search import edge, searches
from oscbench.analysis.selection import entry_names
from oscbench.analysis.study import assemble
from oscbench.errors import ReportError
from oscbench.records import Measurement, Store, identity, protocol
from oscbench.records.ledger import Ledger, LedgerEntry, TrialRow, shared_request, write_ledger
from oscbench.reporting import build_report
from oscbench.reporting.page.trials import trials_picture, trials_table
from oscbench.reporting.sections.search import (
    facts,
    ledger_table,
    rank_correlation,
    sensitivity_table,
)

TUNE = {
    "trials": 8,
    "seeds": [100, 101],
    "sampler_seed": 0,
    "space": {"settings.gamma": {"choices": [0.1, 0.2]}},
}


@pytest.fixture
def results(tmp_path):
    store = Store(tmp_path)
    for suite in ("toy", "toy[tune]", "toy[train.epochs=9,tune]", "toy[train.epochs=9]"):
        store.write(make_record("plain", 0, suite=suite))
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ([], {"toy", "toy[train.epochs=9]"}),
        (["toy"], {"toy", "toy[train.epochs=9]"}),
        (["toy[tune]"], {"toy[tune]"}),
    ],
)
def test_trials_are_reported_only_where_they_are_named(results, asked, labels):
    assert {record.suite for record in load(results, asked).records} == labels


def test_folder_of_trials_alone_is_told_in_one_line(tmp_path):
    Store(tmp_path).write(make_record("plain", 0, suite="toy[tune]"))
    with pytest.raises(ReportError, match="trials of a search only"):
        load(tmp_path, [])


def tuned(name, learning_rate, **mechanism):
    record = make_record(name, 0)
    changes = {
        "tune": TUNE,
        "tuned": {"learning_rate": learning_rate},
        "mechanism": {"name": name, **mechanism},
    }
    return record.model_copy(update={"spec": record.spec | changes})


def test_fairness_tells_the_search_and_what_it_chose():
    cells = [tuned("plain", 0.002), tuned("wave", 0.004, gamma=0.2)]
    told = dict(fairness_facts(cells, entry_names(cells)))["Tuning"]
    assert "8 trials for every entry" in told
    assert "100" in told
    assert "plain learning_rate 0.002; wave learning_rate 0.004, gamma 0.2" in told
    untuned = [make_record("plain", 0)]
    assert dict(fairness_facts(untuned, entry_names(untuned)))["Tuning"].startswith("none")


RATE, GAMMA = "train.learning_rate", "settings.gamma"
SPACE = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, GAMMA: {"choices": [0.1, 0.2, 0.4]}}
SEARCH = {"trials": 4, "seeds": [100, 101], "sampler_seed": 0, "space": SPACE}
RATES = (1e-3, 1e-2, 3e-4, 2e-3)
GAMMAS = (0.1, 0.2, 0.4, 0.1)
LEVEL = {"plain": (0.80, None, 0.70, 0.85), "wave": (0.82, 0.60, 0.75, 0.81)}
"""Mean scores of the four trials; the second of `plain` diverges at one of its seeds."""
COST = 1e9


def searched(mechanism, seed, spec, **changes):
    """A record of a tuned suite, with an identity and a protocol of its own."""
    made = make_record(mechanism, seed, **changes)
    spec = made.spec | spec
    named = spec | {"suite": made.suite}
    return made.model_copy(update={"spec": spec, "identity": identity(named), "protocol": protocol(spec)})


def trial(store, mechanism, number, repeats=False):
    """A trial's row; its cells are written."""
    level, values = LEVEL[mechanism][number], {RATE: RATES[number]}
    values |= {GAMMA: GAMMAS[number]} if mechanism == "wave" else {}
    scores = [None, 0.5] if level is None else [level - 0.01, level + 0.01]
    cells = [
        searched(
            mechanism,
            seed,
            {"tuned": {"learning_rate": RATES[number]}},
            suite="toy[tune]",
            variant=f"default+learning_rate={RATES[number]}",
            status="ok" if score is not None else "diverged",
        )
        for seed, score in zip((100, 101), scores, strict=True)
    ]
    for cell in cells:
        store.write(cell)
    return TrialRow(
        values=values,
        score=level,
        scores=scores,
        statuses=[cell.status for cell in cells],
        identities=[cell.identity for cell in cells],
        repeats=repeats,
        seconds=0.0 if repeats else 120.0,
        training_flops=0.0 if repeats else COST,
    )


def entry_of_ledger(store, mechanism, **changes):
    rows = tuple(trial(store, mechanism, number) for number in range(4))
    best = max((row for row in rows if row.score is not None), key=lambda row: row.score)
    places = [RATE, GAMMA] if mechanism == "wave" else [RATE]
    fields = {
        "mechanism": mechanism,
        "variant": "default",
        "space": {place: SPACE[place] for place in places},
        "given": {place: rows[0].values[place] for place in places},
        "trials": rows,
        "chosen": best.values,
        "score": best.score,
        "seconds": 480.0,
        "training_flops": 4 * COST,
        "by_setting": {},
        "finished": True,
    }
    return LedgerEntry(**(fields | changes))


def reported(mechanism, seed, chosen):
    settings = {"gamma": chosen[GAMMA]} if GAMMA in chosen else {}
    changes = {"tune": SEARCH, "tuned": {"learning_rate": chosen.get(RATE, 1e-3)}}
    return searched(mechanism, seed, changes | {"mechanism": {"name": mechanism, **settings}})


@pytest.fixture
def folder(tmp_path):
    """A finished tuned suite: trials, ledger and three reported seeds of two mechanisms; changes go to `wave`'s entry."""

    def make(seeds=(0, 1, 2), request=None, **changes):
        store = Store(tmp_path / "results")
        entries = [entry_of_ledger(store, "plain"), entry_of_ledger(store, "wave", **changes)]
        cells = [reported(entry.mechanism, seed, entry.chosen) for entry in entries for seed in seeds]
        for cell in cells:
            store.write(cell)
        ledger = Ledger(
            suite="toy",
            trial_suite="toy[tune]",
            trials=4,
            scoring_seeds=(100, 101),
            metric="validation_accuracy",
            direction="higher",
            sampler="a sampler, seed 0",
            request=request or shared_request(SEARCH, cells[0].protocol),
            entries=entries,
        )
        write_ledger(store, ledger)
        return store.root

    return make


def only_search(results):
    loaded = load(results, [])
    (found,) = searches(assemble(loaded, ()).experiments, loaded, results)
    return found


def test_ledger_counts_trials_cost_gain_and_choice(folder):
    tuned = only_search(folder())
    rows = {row["mechanism"]: row for row in ledger_table(tuned).raw}
    plain, wave = rows["plain"], rows["wave"]
    assert (plain["trials"], plain["cells_ok"], plain["cells_diverged"]) == (4, 7, 1)
    assert plain["training_flops"] == 4 * COST
    assert plain["gain"] == pytest.approx(0.05)
    assert (plain["own_values"], plain["best"], plain[f"chosen_{RATE}"]) == (0.80, 0.85, 2e-3)
    assert (plain["lowest"], plain["median"], plain["highest"]) == (0.70, 0.80, 0.85)
    assert wave["gain"] == 0
    assert (wave[f"chosen_{RATE}"], wave[f"chosen_{GAMMA}"]) == (1e-3, 0.1)
    told = dict(facts(tuned))
    assert told["Trials"] == "4 for every entry"
    assert "seeds 100\u2013101; none of them reported" in told["Scored by"]
    assert "8.00 GFLOP" in told["Compute"]
    assert "2.67\u00d7" in told["Compute"], "960 s of trials beside 360 s of reported cells"
    assert "gamma: 0.1, 0.2, 0.4 (wave only)" in told["Searched"]


def test_gain_where_lower_is_better_has_its_sign(folder):
    tuned = only_search(folder())
    wave = next(one for one in tuned.searches if one.name == "plain")
    assert wave.gain("higher") == pytest.approx(0.05)
    assert wave.gain("lower") == pytest.approx(-0.05)


def test_sensitivity_says_where_the_choice_lies(folder):
    tuned = only_search(folder())
    rows = {(row["mechanism"], row["setting"]): row for row in sensitivity_table(tuned).raw}
    assert rows["plain", RATE]["lies"] == "inside"
    assert rows["wave", GAMMA]["lies"] == "at the low end"
    assert rows["plain", RATE]["better_half"] == "0.001 to 0.002"
    assert rows["plain", RATE]["rank_correlation"] == pytest.approx(1.0)
    assert rows["wave", RATE]["scored_trials"] == 4
    assert "wave took gamma 0.1 at the low end" in dict(facts(tuned))["At the edge"]


@pytest.mark.parametrize(
    ("axis", "value", "expected"),
    [
        ({"low": 1e-4, "high": 1e-2, "log": True}, 1e-4, "at the low end"),
        ({"low": 1e-4, "high": 1e-2, "log": True}, 9.5e-3, "at the high end"),
        ({"low": 1e-4, "high": 1e-2, "log": True}, 1e-3, "inside"),
        ({"low": 0.0, "high": 1.0}, 0.2, "inside"),
        ({"choices": [4, 8]}, 4, ""),
        ({"choices": ["a", "b", "c"]}, "a", ""),
        ({"choices": [4, 16, 8]}, 16, "at the high end"),
    ],
)
def test_edge_of_a_space(axis, value, expected):
    assert edge(axis, value) == expected


def test_rank_correlation_takes_ties_at_their_mean_rank():
    assert rank_correlation([(1, 0.1), (2, 0.3), (3, 0.2)]) == pytest.approx(0.5)
    assert rank_correlation([(1, 0.1), (1, 0.3), (2, 0.2), (2, 0.4)]) == pytest.approx(1 / math.sqrt(5))
    assert math.isnan(rank_correlation([(1, 0.1), (1, 0.2), (1, 0.3)]))
    assert math.isnan(rank_correlation([("a", 0.1), ("b", 0.2), ("c", 0.3)]))


def test_every_trial_is_listed_and_leads_to_its_cells(folder, tmp_path):
    results = folder()
    table = trials_table(only_search(results))
    assert len(table.rows) == 8
    assert sum(row["chosen"] for row in table.raw) == 2
    assert "diverged" in table.rows[next(i for i, r in enumerate(table.raw) if r["score"] is None)][-1].text
    page = build_report(results, tmp_path / "out", formats=("html", "md", "latex"))
    there = set(re.findall(r'<section id="([^"]+)"', (tmp_path / "out" / "records.html").read_text("utf-8")))
    assert set(table.links) <= there
    html = page.with_name("suite-toy.html").read_text("utf-8")
    for name in ("ledger", "sensitivity", "trials"):
        assert f"toy-digits-search-{name}.csv" in html
        assert (tmp_path / "out" / "tables" / f"toy-digits-search-{name}.tex").exists()
    assert html.count('aria-label="Points: Validation accuracy against') == 2
    assert "Search before" in html


@pytest.mark.usefixtures("undrawn")
def test_trials_are_neither_compared_nor_ranked_nor_exported(folder, tmp_path):
    build_report(folder(), tmp_path / "out")
    with (tmp_path / "out" / "tables" / "cells.csv").open(encoding="utf-8") as file:
        assert {row["suite"] for row in csv.DictReader(file)} == {"toy"}
    results = (tmp_path / "out" / "tables" / "toy-digits-results.csv").read_text("utf-8")
    assert "learning_rate=" not in results
    assert not list((tmp_path / "out" / "tables").glob("*leaderboard*"))
    for page in (tmp_path / "out").glob("[is]*.html"):
        assert "[tune]" not in page.read_text("utf-8")


def test_figure_tells_every_trial_in_words(folder):
    tuned = only_search(folder())
    drawn = trials_picture(tuned, RATE)
    assert drawn.name == "toy-digits-search-sensitivity-train-learning-rate"
    assert (
        "plain 70.0 % at 0.0003, 80.0 % at 0.001, 85.0 % at 0.002 and 1 without a score (crosses)"
        in drawn.alt
    )
    assert "wave 75.0 % at 0.0003, 82.0 % at 0.001, 81.0 % at 0.002, 60.0 % at 0.01" in drawn.alt


def test_choices_without_an_order_have_places_and_words(folder):
    clips = (None, 1.0, True, "high")
    rows = [
        TrialRow(
            values={"train.clip": clip},
            score=score,
            scores=[score],
            statuses=["ok"],
            identities=[str(score)],
            repeats=False,
            seconds=1.0,
            training_flops=None,
        )
        for clip, score in zip(clips, (0.7, 0.8, 0.5, 0.6), strict=True)
    ]
    changes = {
        "trials": rows,
        "chosen": {"train.clip": 1.0},
        "score": 0.8,
        "given": {"train.clip": None},
        "training_flops": None,
    }
    tuned = only_search(folder(space={"train.clip": {"choices": list(clips)}}, **changes))
    alt = trials_picture(tuned, "train.clip").alt
    assert "wave 70.0 % at null, 80.0 % at 1, 50.0 % at true, 60.0 % at high." in alt
    row = next(row for row in sensitivity_table(tuned).raw if row["setting"] == "train.clip")
    assert (row["lies"], row["better_half"]) == ("", "1, null")
    assert math.isnan(row["rank_correlation"])
    assert "FLOP" not in dict(facts(tuned))["Compute"]


def test_ledger_of_another_search_is_not_shown(folder):
    tuned = only_search(folder(request="somethingelse"))
    assert tuned.searches == ()
    assert facts(tuned)[0][1].startswith("none of this very search")


def test_unequal_searches_and_seeds_that_are_reported_too_are_told(folder):
    short = only_search(folder(trials=(), given=None, chosen={}, score=None, finished=False, seeds=(0, 100)))
    told = dict(facts(short))
    assert "NOT equal: wave has 0" in told["Trials"]
    assert "seed 100 is REPORTED TOO" in told["Scored by"]


@pytest.mark.parametrize(("level", "names"), [(0.70, ""), (0.815, "wave"), (0.845, "wave and plain")])
def test_a_search_that_was_not_above_its_floor_is_told(folder, level, names):
    """The trials that were chosen have 0.84 and 0.86 of `plain`, and 0.81 and 0.83 of `wave`; the harder floor does not count."""
    results = folder()
    floors = {"easy": level, "hard": 0.95}
    for name, score in floors.items():
        both = dict.fromkeys(
            ("accuracy", "validation_accuracy"), Measurement(value=score, unit="1", label="accuracy")
        )
        made = make_record(name, 0, measures=both)
        floor = made.model_copy(
            update={"spec": made.spec | {"kind": "floor"}, "identity": f"floor{name}".ljust(64, "0")}
        )
        Store(results).write(floor)
    told = dict(facts(only_search(results))).get("Saw nothing", "")
    assert told.startswith(
        f"a seed of the trial that was chosen for {names} is not above easy" if names else ""
    )
    assert bool(told) == bool(names)


def test_cells_that_ran_with_other_values_than_were_chosen_are_told(folder):
    results = folder()
    assert "Not what was chosen" not in dict(facts(only_search(results)))
    other = reported("plain", 3, {RATE: 5e-3})
    Store(results).write(other)
    assert "plain ran with learning rate 0.005" in dict(facts(only_search(results)))["Not what was chosen"]


def test_suite_without_a_search_has_no_view(save):
    loaded = load(save([make_record("plain", 0)]), [])
    assert searches(assemble(loaded, ()).experiments, loaded, save([])) == ()
