"""Tuning: equal searches, chosen on validation, replayed exactly; scores are made up here, so nothing trains."""

from __future__ import annotations

import json
import math

import pytest
from command_line import run
from trial_records import BEST, record_of

from oscbench.records import Store
from oscbench.records.ledger import is_trial, ledger_path, read_ledger, trial_label, write_ledger
from oscbench.runner import session
from oscbench.runner.executors import Machine, Recorded
from oscbench.runner.kind import Preview
from oscbench.runner.plan import make_plan
from oscbench.runner.session import dry_run
from oscbench.runner.terminal.estimate import total_seconds
from oscbench.runner.terminal.preview import preview_search, search_seconds
from oscbench.runner.training.search import key_of, ledger_of, search, searches, with_choices
from oscbench.runner.training.specs import recipe
from oscbench.suite import SuiteError, load_suite

SPACE = (
    "{train.learning_rate: {low: 1e-4, high: 1e-2, log: true}, settings.gamma: {choices: [0.02, 0.1, 0.2]}}"
)
TUNE = f"{{trials: 6, seeds: 2, extend: 0, space: {SPACE}}}"


@pytest.fixture
def planned(tiny):
    def plan(**changes):
        path = tiny(**({"tune": TUNE} | changes))
        loaded = load_suite(str(path))
        return loaded, make_plan(loaded, only=[], device="cpu")

    return plan


def begun(loaded, cells):
    return searches(loaded.suite, loaded.source, cells)


def all_records(cells):
    return [record_of(cell) for cell in cells]


def test_every_mechanism_has_as_many_trials_and_ignores_what_it_has_not(planned):
    loaded, cells = planned()
    found = begun(loaded, cells)
    search(found, all_records)
    by_name = {key_of(one.cell)[0]: one for one in found}
    assert {name: len(one.rows) for name, one in by_name.items()} == {"softmax": 6, "kope": 6}
    assert set(by_name["softmax"].rows[0].values) == {"train.learning_rate"}
    assert set(by_name["kope"].rows[0].values) == {"train.learning_rate", "settings.gamma"}
    for one in found:
        choices = [json.dumps(row.values) for row in one.rows]
        assert len(set(choices)) == 6, "a trial is a new choice while there are any"
        assert all(1e-4 <= row.values["train.learning_rate"] <= 1e-2 for row in one.rows)


def test_first_trial_is_what_the_suite_gives(planned):
    loaded, cells = planned(train="{epochs: 1, learning_rate: 3e-3}")
    first = {key_of(one.cell)[0]: one.ask()[0] for one in begun(loaded, cells)}
    assert recipe(first["softmax"].spec)["learning_rate"] == 3e-3


def test_an_entry_may_say_where_its_search_begins(planned):
    entries = "[softmax, {name: kope, first: {settings.gamma: 0.2, train.learning_rate: 4e-3}}]"
    loaded, cells = planned(mechanisms=entries, train="{epochs: 1, learning_rate: 3e-3}")
    found = begun(loaded, cells)
    first = {key_of(one.cell)[0]: one.ask()[0].spec for one in found}
    assert recipe(first["softmax"])["learning_rate"] == 3e-3
    assert recipe(first["kope"])["learning_rate"] == 4e-3
    assert first["kope"]["mechanism"]["gamma"] == 0.2
    search(found, all_records)
    kope = ledger_of(found).entries[1]
    assert kope.given_trial is kope.trials[0]
    assert {row.values["settings.gamma"] for row in kope.trials} > {0.2}, "the place stays open"


def test_trials_are_cells_of_their_own_label_on_seeds_of_their_own(planned):
    loaded, cells = planned(measures="[params, flops, health]")
    one = begun(loaded, cells)[0]
    asked = one.ask()
    assert [cell.spec["seed"] for cell in asked] == [100, 101]
    assert {cell.suite for cell in asked} == {"tiny[tune]"}
    assert [measure["name"] for measure in asked[0].spec["measures"]] == ["params", "flops"]
    assert asked[0].spec["variant"].startswith("default+learning_rate=")
    assert not {cell.identity for cell in asked} & {cell.identity for cell in cells}
    assert trial_label("tiny[train.epochs=3]") == "tiny[train.epochs=3,tune]"
    assert [is_trial(label) for label in ("tiny[tune]", "tiny[a=1,tune]", "tiny", "tune")] == [1, 1, 0, 0]


def test_chosen_values_are_the_best_and_stand_outside_the_protocol(planned):
    loaded, cells = planned()
    found = begun(loaded, cells)
    search(found, all_records)
    tuned = with_choices(cells, found)
    for one in found:
        best = max(one.rows, key=lambda row: row.score)
        assert one.best() == best
        own = [cell for cell in tuned if key_of(cell) == key_of(one.cell)]
        for cell in own:
            assert recipe(cell.spec)["learning_rate"] == best.values["train.learning_rate"]
            assert cell.spec["train"]["learning_rate"] == 1e-3, "the suite's recipe stays what all share"
            if "settings.gamma" in best.values:
                assert cell.spec["mechanism"]["gamma"] == best.values["settings.gamma"]
    assert len({cell.protocol for cell in tuned}) == 1
    assert len({cell.identity for cell in [*cells, *tuned]}) == len(cells) + len(tuned)


def test_search_that_was_stopped_goes_on_with_the_same_trials(planned):
    loaded, cells = planned()
    whole = begun(loaded, cells)
    search(whole, all_records)
    kept = {}

    def two_rounds(asked):
        if len(kept) < 8:
            kept.update({cell.identity: record_of(cell) for cell in asked})
        return [kept[cell.identity] for cell in asked if cell.identity in kept]

    stopped = begun(loaded, cells)
    search(stopped, two_rounds)
    assert [len(one.rows) for one in stopped] == [2, 2]
    computed = []

    def rest(asked):
        computed.extend(cell for cell in asked if cell.identity not in kept)
        return [kept.get(cell.identity) or record_of(cell) for cell in asked]

    again = begun(loaded, cells)
    search(again, rest)
    assert [[row.values for row in one.rows] for one in again] == [
        [row.values for row in one.rows] for one in whole
    ]
    assert len(computed) == 2 * 4 * 2, "two mechanisms, four trials left, two seeds"


def test_diverged_trial_is_a_bad_trial_and_no_error(planned):
    loaded, cells = planned()
    found = begun(loaded, cells)

    def run(asked):
        hot = [recipe(cell.spec)["learning_rate"] > BEST and cell.spec["seed"] == 101 for cell in asked]
        return [record_of(cell, "diverged" if bad else "ok") for cell, bad in zip(asked, hot, strict=True)]

    search(found, run)
    for one in found:
        bad = [row for row in one.rows if row.values["train.learning_rate"] > BEST]
        assert bad, "otherwise this shows nothing"
        assert all(row.score is None for row in bad)
        assert one.best().values["train.learning_rate"] <= BEST
        assert len(one.rows) == 6


def test_where_no_trial_ends_well_the_suites_own_values_run(planned):
    loaded, cells = planned()
    found = begun(loaded, cells)
    search(found, lambda asked: [record_of(cell, "diverged") for cell in asked])
    assert [cell.identity for cell in with_choices(cells, found)] == [cell.identity for cell in cells]
    assert [entry.chosen for entry in ledger_of(found).entries] == [{}, {}]


def test_space_that_holds_no_more_repeats_at_no_cost(planned):
    loaded, cells = planned(tune="{trials: 4, seeds: 1, space: {settings.gamma: {choices: [0.05, 0.1]}}}")
    found = begun(loaded, cells)
    search(found, all_records)
    by_name = {entry.mechanism: entry for entry in ledger_of(found).entries}
    assert [row.repeats for row in by_name["softmax"].trials] == [False, True, True, True]
    assert sorted(row.repeats for row in by_name["kope"].trials) == [False, False, True, True]
    assert by_name["softmax"].seconds == 2.0
    assert by_name["kope"].seconds == 4.0


def test_ledger_counts_the_cost_and_keeps_entries_that_a_run_left_out(planned, tmp_path):
    loaded, cells = planned()
    found = begun(loaded, cells)
    search(found, all_records)
    store = Store(tmp_path / "results")
    write_ledger(store, ledger_of(found))
    entries = read_ledger(ledger_path(store, "tiny")).entries
    assert [entry.seconds for entry in entries] == [6 * 2 * 2.0] * 2
    assert entries[0].training_flops == 6 * 2 * 3 * 100 * 7 * 128
    for entry in entries:
        assert entry.finished
        values = [value for value, _ in entry.by_setting["train.learning_rate"]]
        assert values == sorted(values)
    write_ledger(store, ledger_of(found[:1]))
    assert len(read_ledger(ledger_path(store, "tiny")).entries) == 2
    assert store.read_all() == ([], []), "a ledger is no record, and no damaged one"


def test_a_search_that_is_gone_through_again_and_interrupted_loses_no_trial_of_its_ledger(planned, tmp_path):
    loaded, cells = planned()
    whole, partly = begun(loaded, cells), begun(loaded, cells)
    search(whole, all_records)
    store = Store(tmp_path / "results")
    write_ledger(store, ledger_of(whole))
    before = read_ledger(ledger_path(store, "tiny"))
    left = iter(range(4))
    search(partly, lambda asked: all_records(asked) if next(left, None) is not None else [])
    assert all(0 < len(one.rows) < len(all_of.rows) for one, all_of in zip(partly, whole, strict=True))
    write_ledger(store, ledger_of(partly))
    assert read_ledger(ledger_path(store, "tiny")) == before
    others = begun(loaded, cells)
    for one, all_of in zip(others, whole, strict=True):
        one.rows = [row.model_copy(update={"identities": ("other",)}) for row in all_of.rows[:1]]
    write_ledger(store, ledger_of(others))
    assert [len(entry.trials) for entry in read_ledger(ledger_path(store, "tiny")).entries] == [1, 1]


def test_a_search_may_leave_the_test_alone_and_chooses_the_same(tiny, tmp_path, capfd):
    tune = "{trials: 2, seeds: 1, extend: 0, test: TESTED, space: {train.learning_rate: {choices: [1e-3, 2e-3]}}}"
    specs = {}
    for tested in ("true", "false"):
        changes = {"train": "{steps: 20, batch_size: 32}", "tune": tune.replace("TESTED", tested)}
        suite, results = tiny(mechanisms="[softmax]", **changes), tmp_path / tested
        assert run(suite, results, jobs=1) == 0
        trials, reported = (
            [r for r in Store(results).read_all()[0] if is_trial(r.suite) == wanted]
            for wanted in (True, False)
        )
        entry = read_ledger(ledger_path(Store(results), "tiny")).entries[0]
        specs[tested] = (
            entry.chosen,
            entry.score,
            sorted(r.measures["validation_accuracy"].value for r in trials),
        )
        assert all(r.measures["accuracy"].value is not None for r in reported)
        if tested == "true":
            assert all(r.measures["accuracy"].value is not None for r in trials)
            assert all("tested" not in r.spec for r in trials)
            continue
        for record in trials:
            assert record.status == "ok"
            assert record.measures["accuracy"].value is None
            assert record.measures["accuracy"].reason == "a trial of a search that leaves the test alone"
        assert "validation_accuracy 0." in capfd.readouterr().err
    assert specs["true"] == specs["false"]


def test_suite_without_a_search_has_the_specs_it_had(planned):
    _, cells = planned(tune="")
    assert all("tune" not in cell.spec and "tuned" not in cell.spec for cell in cells)


def test_an_entrys_own_places_are_added_and_what_it_fixes_is_left_alone(planned):
    kope = "{name: kope, variant: weak, settings: {gamma: 0.01}}"
    fixed = "{name: fixed_query, tune: {settings.d_osc: {choices: [4, 8]}}}"
    loaded, cells = planned(mechanisms=f"[softmax, {{name: kope}}, {kope}, {fixed}]")
    spaces = {key_of(one.cell): set(one.space) for one in begun(loaded, cells)}
    assert spaces["kope", "weak"] == {"train.learning_rate"}
    assert spaces["kope", "default"] == {"train.learning_rate", "settings.gamma"}
    assert spaces["fixed_query", "default"] == {"train.learning_rate", "settings.d_osc"}


def test_run_searches_and_then_reports_and_a_second_run_computes_nothing(tiny, tmp_path, capfd):
    suite = tiny(
        train="{steps: 1, batch_size: 8}",
        mechanisms="[softmax]",
        tune="{trials: 2, seeds: 1, space: {train.learning_rate: {choices: [1e-3, 2e-3]}}}",
    )
    results = tmp_path / "results"
    assert run(suite, results, jobs=1) == 0
    found, damaged = Store(results).read_all()
    assert not damaged
    assert sorted(record.suite for record in found) == ["tiny", "tiny[tune]", "tiny[tune]"]
    (entry,) = read_ledger(ledger_path(Store(results), "tiny")).entries
    (reported,) = (record for record in found if record.suite == "tiny")
    assert reported.spec["tuned"] == {"learning_rate": entry.chosen["train.learning_rate"]}
    assert entry.score == max(row.score for row in entry.trials)
    capfd.readouterr()
    assert run(suite, results, jobs=1) == 0
    assert capfd.readouterr().err.count("already there") == 3


class Scored:
    """An executor that makes records up, one at a time, and is interrupted when its patience ends."""

    patience = math.inf

    def __init__(self, options):
        self.told = []

    def machines(self):
        return [Machine("here", 1)]

    def submit(self, job):
        if Scored.patience <= 0:
            raise KeyboardInterrupt
        Scored.patience -= 1
        self.told.append(Recorded(job.ticket, record_of(job.cell).model_dump_json()))

    def wait(self, seconds):
        told, self.told = self.told, []
        return told

    def running(self):
        return {event.ticket for event in self.told}

    def cancel(self, ticket):
        raise AssertionError("nothing runs long enough")

    def close(self):
        pass


def test_interrupted_search_leaves_its_ledger_and_goes_on_to_the_same(tiny, tmp_path, oscbench, monkeypatch):
    monkeypatch.setattr(session, "make_executor", lambda name, options: Scored(options))
    suite, results, whole = tiny(tune=TUNE), tmp_path / "results", tmp_path / "whole"
    assert oscbench("run", suite, "--results", whole).code == 0
    monkeypatch.setattr(
        Scored, "patience", 11
    )  # five trials of two cells, whoever's they are, and a cell of a sixth
    ended = oscbench("run", suite, "--results", results)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    begun_entries = read_ledger(ledger_path(Store(results), "tiny")).entries
    assert not any(entry.finished for entry in begun_entries)
    assert sum(len(entry.trials) for entry in begun_entries) in (
        4,
        5,
    )  # the last one's score may not have been told yet
    assert len(Store(results).read_all()[0]) == 11
    monkeypatch.setattr(Scored, "patience", math.inf)
    assert oscbench("run", suite, "--results", results).code == 0
    for one, other in zip(
        read_ledger(ledger_path(Store(results), "tiny")).entries,
        read_ledger(ledger_path(Store(whole), "tiny")).entries,
        strict=True,
    ):
        assert one == other
    names = [sorted(path.name for path in folder.rglob("*.json")) for folder in (results, whole)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "tune",
    [
        "{trials: 0, space: {settings.gamma: {choices: [0.1]}}}",
        "{trials: 2, space: {settings.gama: {choices: [0.1]}}}",
        "{trials: 2, space: {train.clip: {low: 2.0, high: 1.0}}}",
        "{trials: 2, space: {settings.dynamics: {choices: [frozzen]}}}",
        "{trials: 2, space: {train.learning_rate: [1e-3]}}",
    ],
)
@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("validate",)])
def test_mistakes_in_a_search_end_with_code_2_and_one_line(tiny, oscbench, command, tune):
    ended = oscbench(*command, tiny(tune=tune))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "tune" in ended.err


def dry(suite, results):
    return dry_run(str(suite), results=results, only=[], overrides=[], jobs=1, device="cpu")[:2]


def test_dry_run_counts_the_trials_that_are_left(tiny, tmp_path):
    suite = tiny(tune=TUNE, train="{steps: 1, batch_size: 8}")
    results = tmp_path / "results"
    store = Store(results)
    rows, line = dry(suite, results)
    assert not results.exists(), "a dry run writes nothing"
    assert line.startswith("24 of 24 trial cells and then 2 of 2 cells to run, about 0:00:")
    assert [row["seconds"].split(" for ")[1] for row in rows[:2]] == ["12 cells", "12 cells"]
    assert rows[0]["seed"] == "6 trials × 2"
    assert [row["params"] for row in rows[:2]] == [rows[2]["params"], rows[3]["params"]]
    loaded = load_suite(str(suite))
    cells = make_plan(loaded, only=[], device="cpu")
    stopped = begun(loaded, cells)
    written = []

    def rounds(asked):
        """One whole round, and of the second one all cells but the last."""
        kept = asked if not written else asked[:-1]
        if len(written) <= 4:
            written.extend(record_of(cell) for cell in kept)
        return [record for record in written if record.identity in {cell.identity for cell in asked}]

    search(stopped, rounds)
    for record in written:
        store.write(record)
    assert len(written) == 7
    rows, line = dry(suite, results)
    assert line.startswith("17 of 24 trial cells and then 2 of 2 cells")
    assert [row["seconds"].split(" for ")[1] for row in rows[:2]] == ["8 cells", "9 cells"]
    found = begun(loaded, cells)
    search(found, all_records)
    trials = [cell for one in found for row in one.rows for cell in row.identities]

    def keep(asked):
        for cell in asked:
            store.write(record_of(cell))
        return all_records(asked)

    search(begun(loaded, cells), keep)
    store.write(record_of(with_choices(cells, found)[0]))
    rows, line = dry(suite, results)
    assert line.startswith(f"0 of {len(trials)} trial cells and then 1 of 2 cells")
    assert [row["seconds"] for row in rows[:3]] == ["there"] * 3


def test_dry_run_expects_no_trials_that_a_space_cannot_hold(planned, tmp_path):
    loaded, cells = planned(tune="{trials: 4, seeds: 2, space: {settings.gamma: {choices: [0.05, 0.1]}}}")
    previews = [Preview(cell, estimate=10.0) for cell in cells]
    found = [preview_search(one, previews, Store(tmp_path)) for one in begun(loaded, cells)]
    by_name = {key_of(one.search.cell)[0]: one for one in found}
    assert {name: (one.left, one.total) for name, one in by_name.items()} == {
        "softmax": (2, 2),
        "kope": (4, 4),
    }
    # Four cells in the first round and two in the second, three at once.
    assert search_seconds(found, jobs=3) == pytest.approx(40 / 3 + 10)


def test_cells_take_no_less_than_the_longest_of_them():
    assert total_seconds([10.0, 1.0, 1.0], jobs=4) == 10.0
    assert total_seconds([3.0, 3.0, 3.0], jobs=2) == 4.5
    assert total_seconds([], jobs=2) == 0.0


def test_what_the_suite_gives_is_marked_in_the_ledger(planned):
    wider = TUNE.replace("[0.02, ", "[0.05, ")
    loaded, cells = planned(train="{epochs: 1, learning_rate: 0.00123456}", tune=wider)
    found = begun(loaded, cells)
    search(found, all_records)
    for entry in ledger_of(found).entries:
        assert entry.given["train.learning_rate"] == 0.00123
        assert entry.given_trial is entry.trials[0]
        assert entry.chosen_trial.score == entry.score
    loaded, cells = planned(train="{epochs: 1, learning_rate: 0.05}")
    found = begun(loaded, cells)
    search(found, all_records)
    assert [entry.given_trial for entry in ledger_of(found).entries] == [None, None]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tune": "{trials: 2, space: {learning_rate: {choices: [1]}}}"}, '"learning_rate" is no place'),
        ({"tune": "{trials: 2, space: {train.epochs: {choices: [1, 2]}}}"}, '"train.epochs" is not searched'),
        ({"tune": "{trials: 2, space: {}}"}, "tune.space: got {}"),
        ({"tune": "{trials: 0, space: {train.clip: {choices: [1]}}}"}, "tune.trials: got 0"),
        ({"tune": "{trials: 2, space: {train.clip: {low: 1.0}}}"}, "low and high belong together"),
        ({"tune": "{trials: 2, space: {train.clip: {low: 2.0, high: 1.0}}}"}, "low must be below high"),
        ({"tune": "{trials: 2, space: {train.clip: {low: 0.0, high: 1.0, log: true}}}"}, "starts above 0"),
        ({"tune": "{trials: 2, space: {train.clip: {choices: [1, 1]}}}"}, "a choice is named twice"),
        (
            {"tune": "{trials: 2, space: {settings.gama: {choices: [0.1]}}}"},
            'tune.space.settings.gama: no mechanism of this suite has it; did you mean "settings.gamma"?',
        ),
        (
            {"tune": "{trials: 2, first_seed: 0, space: {train.clip: {choices: [1, 2]}}}"},
            "seed 0 would be tuned on and reported",
        ),
        ({"tune": "{trials: 2, space: {settings.gamma: {choices: [high]}}}"}, "tune, settings.gamma = high"),
        ({"tune": "{trials: 2, space: {train.beta2: {low: 0.5, high: 2.0}}}"}, "train.beta2: got 2.0"),
        (
            {"mechanisms": "[{name: kope, tune: {settings.d_osc: {choices: [4]}}}]"},
            "mechanisms[0].tune.settings.d_osc: kope has no such setting",
        ),
        (
            {
                "mechanisms": "[{name: kope, settings: {gamma: 0.1}, tune: {settings.gamma: {choices: [1]}}}]",
                "tune": "{trials: 2, space: {train.clip: {choices: [1]}}}",
            },
            "the entry fixes gamma and searches it",
        ),
        (
            {"mechanisms": "[{name: kope, tune: {settings.gamma: {choices: [1]}}}]", "tune": ""},
            "mechanisms[0].tune: adds to a search that the suite does not ask for",
        ),
        (
            {"mechanisms": "[{name: kope, first: {settings.gamma: 1}}]", "tune": ""},
            "mechanisms[0].first: begins a search that the suite does not ask for",
        ),
        (
            {"mechanisms": "[kope, {name: softmax, first: {settings.gamma: 0.1}}]"},
            "first.settings.gamma: its search has no such place",
        ),
        (
            {"mechanisms": "[{name: kope, first: {settings.gamma: 0.3}}]"},
            "first.settings.gamma: got 0.3, which is none of its choices",
        ),
        (
            {"mechanisms": "[{name: kope, first: {train.learning_rate: 1}}]"},
            "first.train.learning_rate: got 1, which does not lie between 0.0001 and 0.01",
        ),
    ],
)
def test_mistakes_in_a_search_are_one_line_with_the_place(planned, changes, expected):
    with pytest.raises(SuiteError) as caught:
        planned(**changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
