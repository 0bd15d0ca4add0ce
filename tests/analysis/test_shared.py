"""One run under two suites is recognised, named and no second piece of evidence."""

from __future__ import annotations

from synthetic_records import make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.same_runs import fingerprint, shared_note, suites_sharing
from oscbench.analysis.study import assemble


def test_one_run_has_one_fingerprint_in_whatever_suite_and_version() -> None:
    run = make_record("wave", 1, suite="one")
    again = make_record("wave", 1, suite="two[train.steps=50]", versions={"training": 2})
    assert run.identity != again.identity
    assert fingerprint(run) == fingerprint(again)
    for other in (make_record("wave", 2), make_record("wave", 1, value=0.5), make_record("ring", 1)):
        assert fingerprint(other) != fingerprint(run)
    bare = run.model_copy(update={"curves": {}})
    assert fingerprint(bare) == run.identity, "without a curve only the request tells"


def test_suites_that_share_runs_are_named() -> None:
    records = [make_record("wave", s, suite=suite) for s in range(3) for suite in ("one", "two")]
    records += [make_record("wave", 3, suite="one")]
    sharing = suites_sharing(records)
    assert set(sharing.values()) == {("one", "two")}
    assert shared_note([r for r in records if r.suite == "one"], sharing).startswith(
        "3 of its 4 cells are also those of two"
    )
    assert shared_note(records[-1:], sharing) == ""
    sweep = [make_record("wave", 0, suite=f"one[train.steps={n}]") for n in (1, 2)]
    assert suites_sharing(sweep) == {}, "values of one suite are one suite"


def test_a_comparison_says_whose_runs_it_repeats() -> None:
    records = [
        make_record(m, s, suite=suite)
        for suite in ("one", "two")
        for m in ("plain", "wave")
        for s in range(3)
    ]
    for comparison in assemble(Loaded(tuple(records), (), ()), ()).comparisons:
        assert any("6 of its 6 cells are also those of" in note for note in comparison.caveats)
