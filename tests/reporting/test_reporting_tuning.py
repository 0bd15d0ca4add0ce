"""A report says what was searched, and leaves the trials out unless they are asked for."""

from __future__ import annotations

import pytest
from synthetic_records import make_record

from oscbench.records import Store
from oscbench.reporting.errors import ReportError
from oscbench.reporting.frame import load
from oscbench.reporting.sections import fairness_facts
from oscbench.reporting.selection import entry_names

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
