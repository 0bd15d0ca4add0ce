"""Selection, pairing, refusal, caveats and the words that come of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import make_record, toy_suite

from oscbench.analysis.comparison import Aggregate, Comparison
from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import Entry, entry_names
from oscbench.analysis.study import Study, aggregates, assemble
from oscbench.records import Matching, Measurement, Record
from oscbench.reporting import build_report
from oscbench.reporting.page.comparisons import comparison_numbers, verdict_of
from oscbench.reporting.page.verdict import aggregate_words, aggregates_method, answer


def report(records: list[Record], *compare: str) -> Study:
    return assemble(Loaded(tuple(sorted(records, key=lambda r: (r.suite, r.task))), (), ()), compare)


def only(records: list[Record], *compare: str) -> Comparison:
    comparisons = report(records, *compare).comparisons
    assert len(comparisons) == 1
    return comparisons[0]


def runs(mechanism: str, values: list[float], **changes: object) -> list[Record]:
    return [make_record(mechanism, seed, value=value, **changes) for seed, value in enumerate(values)]  # type: ignore[arg-type]


def test_names_for_people() -> None:
    names = entry_names(toy_suite())
    control = Matching(by="flops", reference="wave", target=1, value=1, residual=0, hidden=9, control=True)
    twins = [make_record("ring", card=make_record("plain").card), make_record("plain")]
    assert entry_names(twins) == {
        Entry("plain", "default"): "plain:default",
        Entry("ring", "default"): "ring:default",
    }
    three = [
        make_record("plain"),
        make_record("plain", variant="x", matching=control),
        make_record("plain", variant="y"),
    ]
    assert list(entry_names(three).values()) == ["plain", "plain at equal FLOPs", "plain (y)"]
    (whole,) = entry_names([make_record("plain", variant="values-wave-flops", matching=control)]).values()
    assert whole == "plain (values) at equal FLOPs"
    (bare,) = entry_names([make_record("plain", variant="wave-flops", matching=control)]).values()
    assert bare == "plain at equal FLOPs"
    assert names[Entry("plain", "default")] == "plain"
    assert names[Entry("lock", "dead")] == "lock (dead)"


def test_the_answer_in_words() -> None:
    plain = [0.90, 0.91, 0.92, 0.90, 0.91, 0.92]
    wave = [0.91, 0.922, 0.928, 0.909, 0.921, 0.93]
    told = answer(only(runs("plain", plain) + runs("wave", wave), "wave,plain"))
    assert told.head == "wave \u2212 plain"
    assert told.text.startswith("+1.00 points accuracy, 95 % interval [+0.8")
    assert "6 paired seeds, p = 0.031;" in told.text
    assert "+21 % FLOPs" in told.text
    assert "training speed" in told.text
    assert told.verdict == "Better"
    assert told.caveats == ("wave spends more FLOPs than plain", "Nothing was tuned for anyone")


def test_lower_is_better_where_the_record_says_so() -> None:
    records = runs("plain", [3.0, 3.1, 3.2, 3.0, 3.1, 3.3]) + runs("wave", [2.0, 2.2, 2.1, 2.0, 2.3, 2.1])
    turned = [
        r.model_copy(
            update={
                "measures": r.measures
                | {
                    "accuracy": r.measures["accuracy"].model_copy(
                        update={"direction": "lower", "unit": "nats"}
                    )
                }
            }
        )
        for r in records
    ]
    comparison = only(turned, "wave,plain")
    assert comparison.verdict == "better"
    assert comparison.paired is not None
    assert comparison.paired.improvement == 1.0
    assert report(turned, "wave,plain").experiments[0].standings[0].name == "wave"


def test_few_seeds_are_called_underpowered_and_get_no_star() -> None:
    comparison = only(runs("plain", [0.8, 0.81, 0.8]) + runs("wave", [0.9, 0.92, 0.91]), "wave,plain")
    assert comparison.verdict == "underpowered"
    assert "3 paired seeds cannot reach p ≤ 0.05 among one comparison; 6 could" in comparison.caveats[0]


def test_a_test_that_passes_beside_an_interval_over_0_is_no_verdict() -> None:
    """Two of eight seeds that learned nothing pull the mean away, and the interval over 0 (as plain RoPE's on captions did)."""
    low = [0.5459, 0.8831, 0.9237, 0.9397, 0.5003, 0.9144, 0.8997, 0.9366]
    high = [0.9403, 0.9297, 0.9794, 0.9828, 0.9425, 0.8938, 0.9550, 0.9772]
    steady = [value - 0.02 - 0.001 * seed for seed, value in enumerate(high)]
    apart, near = (only(runs("plain", values) + runs("wave", high), "wave,plain") for values in (low, steady))
    assert apart.paired is not None
    assert (apart.p_holm < 0.05, apart.paired.interval.low < 0) == (True, True)
    assert (apart.clear, apart.verdict) == (False, "no clear difference")
    assert answer(apart).verdict.startswith("No clear difference")
    assert (near.clear, near.verdict) == (True, "better")


def test_people_are_told_other_words_than_exports() -> None:
    few = only(runs("plain", [0.8, 0.81, 0.8]) + runs("wave", [0.9, 0.92, 0.91]), "wave,plain")
    assert verdict_of(few) == few.verdict_in_words == "too few seeds for a verdict"
    assert comparison_numbers(few)["verdict"] == "underpowered"
    enough = only(runs("plain", [0.8] * 8) + runs("wave", [0.9] * 8), "wave,plain")
    assert enough.verdict_in_words == enough.verdict


def test_holm_counts_all_comparisons_of_a_suite() -> None:
    found = report(toy_suite(), "wave,ring,lock:dead,plain").comparisons
    assert [c.tested for c in found] == [3, 3, 3]
    assert [c.p_holm for c in found] == pytest.approx([3 * 0.03125] * 3)
    assert all(c.verdict == "underpowered" for c in found)


def test_one_seed_gives_no_interval_and_no_test() -> None:
    comparison = only(runs("plain", [0.8]) + runs("wave", [0.9]), "wave,plain")
    assert comparison.verdict == "one seed: no test"
    assert math.isnan(comparison.p_holm)
    assert comparison.paired is not None
    assert comparison.paired.improvement is comparison.paired.improvement_interval is None
    told = answer(comparison)
    assert "no interval (one seed)" in told.text
    assert "One paired seed gives no interval and no test" in told.caveats


def test_equal_seeds() -> None:
    comparison = only(runs("plain", [0.8] * 12) + runs("wave", [0.8] * 12), "wave,plain")
    assert comparison.paired is not None
    assert comparison.paired.p == 1.0
    assert comparison.verdict == "equivalent"
    assert "every seed gave the same difference, so the interval has no width" in comparison.caveats


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data_hash": "other"}, "unlike data hashes at seed 0\u20135"),
        ({"data_hash": None}, "unlike data hashes at seed 0\u20135"),
        ({"by": "flops"}, "unlike matching"),
        ({"device": "cuda"}, "unlike device"),
        ({"epochs": 9}, r"unlike protocol \(train.epochs: 9 against 3\)"),
    ],
)
def test_unlike_cells_are_refused_once_with_the_reason(changes: dict[str, object], reason: str) -> None:
    records = runs("plain", [0.8] * 6) + runs("wave", [0.9] * 6, **changes)
    comparison = only(records, "wave,plain")
    assert comparison.state == "refused"
    assert comparison.paired is None
    assert re.search(reason, comparison.reason)
    assert answer(comparison).verdict == "Refused"


def test_without_compare_the_reference_of_the_matching_is_the_baseline() -> None:
    found = report(toy_suite()).comparisons
    assert {c.baseline for c in found} == {"plain"}
    assert [c.treatment for c in found if c.state == "compared"] == [
        "lock (calibrated)",
        "lock (dead)",
        "ring",
        "wave",
    ]
    assert [c.reason for c in found if c.state == "missing"] == ["ghost has no finished cell (unsupported)"]
    alone = [make_record("wave", s, reference=None) for s in range(2)]
    assert report(alone).comparisons == []


def test_missing_seeds_failures_and_flags_stand_beside_the_answer() -> None:
    records = runs("plain", [0.8] * 7) + runs(
        "wave", [0.9, 0.91, 0.9, 0.9, 0.92, 0.9], flags=("dead gradient",)
    )
    records.append(make_record("wave", 6, status="diverged", reason="nan"))
    comparison = only(records, "wave,plain")
    assert comparison.seeds == (0, 1, 2, 3, 4, 5)
    assert "wave diverged at seed 6: left out, which may favour it" in comparison.caveats
    assert "wave is flagged: dead gradient" in comparison.caveats
    assert "plain has unpaired seeds 6, left out" in comparison.caveats


def test_no_shared_seed_is_missing() -> None:
    records = [make_record("plain", 0), make_record("wave", 1)]
    assert only(records, "wave,plain").reason == "the two share no finished seed"


def test_uncommitted_changes_and_several_commits_are_named() -> None:
    records = runs("plain", [0.8] * 6) + runs("wave", [0.9] * 6, dirty=True, commit="f" * 16)
    caveats = " ".join(only(records, "wave,plain").caveats)
    assert "uncommitted changes" in caveats
    assert "2 commits" in caveats


def test_one_section_a_suite_task_and_protocol() -> None:
    records = runs("plain", [0.8] * 2) + runs("plain", [0.8] * 2, task="scenes")
    records += [make_record("wave", s, epochs=9) for s in range(2)]
    experiments = report(records).experiments
    assert [(s.task, s.split) for s in experiments] == [("digits", True), ("digits", True), ("scenes", False)]
    assert len({s.slug for s in experiments}) == 3


def test_a_pair_is_told_in_the_suites_that_hold_both_and_missing_only_where_none_does() -> None:
    here = runs("plain", [0.8] * 2) + runs("wave", [0.9] * 2)
    other = runs("plain", [0.8] * 2, suite="other") + runs("ring", [0.9] * 2, suite="other")
    found = report(here + other, "wave,plain", "wave,ring").comparisons
    assert [(c.treatment, c.baseline, c.state) for c in found] == [
        ("wave", "ring", "missing"),
        ("wave", "plain", "compared"),
        ("wave", "ring", "missing"),
    ]


def test_fairness_facts_name_what_was_equal() -> None:
    facts = dict(report(toy_suite()).experiments[0].facts)
    assert facts["Matching"] == "by params to plain; largest residual 0.20 %"
    assert "at each seed the same tensors" in facts["Data"]
    assert facts["Seeds"] == "6 (0\u20135); but ghost has 0"
    assert facts["Tested on"].startswith("540 items or classes, of which the score is a mean")
    right = dict(report(runs("plain", [0.5] * 2) + runs("wave", [0.9] * 2)).experiments[0].facts)
    assert right["Tested on"].startswith("540 items; their own sampling error is up to ± 4.1 points")
    assert facts["Tuning"].startswith("none")
    unlike = dict(report(runs("plain", [0.8]) + runs("wave", [0.9], data_hash="x")).experiments[0].facts)
    assert unlike["Data"].startswith("NOT the same")

    def told(**task: str) -> str:
        cells = [make_record("plain", seed) for seed in range(2)]
        cells = [
            r.model_copy(update={"spec": r.spec | {"task": {"name": "x", "path": "mine"} | task}})
            for r in cells
        ]
        return dict(report(cells).experiments[0].facts)["Data"]

    assert told().startswith("NOT the same at every seed (2 hashes), though the task draws none anew")
    assert "one hash a seed" in told(draw="per_seed")


PLAIN, WAVE = [0.8, 0.81, 0.82], [0.82, 0.83, 0.85]


def both(suite: str, task: str, wave: list[float] = WAVE, **changes: object) -> list[Record]:
    return [
        record
        for mechanism, values in (("plain", PLAIN[: len(wave)]), ("wave", wave))
        for record in runs(mechanism, values, suite=suite, task=task, **changes)
    ]


def aggregates_of(records: list[Record]) -> list[Aggregate]:
    return aggregates(report(records, "wave,plain"))


def test_effects_over_tasks_of_one_suite_or_several() -> None:
    for suites in (("toy", "toy"), ("one", "two")):
        (found,) = aggregates_of(both(suites[0], "digits") + both(suites[1], "scenes"))
        assert found.tasks == (("Digits", (suites[0],)), ("Scenes", (suites[1],)))
        assert (found.treatment, found.baseline, found.matching) == ("wave", "plain", ("params", "params"))
        assert found.effect == pytest.approx(0.07 / 3)
        told = aggregate_words(found)
        assert told.startswith(
            f"wave \u2212 plain over 2 tasks (digits in {suites[0]}; scenes in {suites[1]}), matched by params: "
            "+2.33 points accuracy, 95 % interval ["
        )
        assert told.endswith("], at least 3 paired seeds a task.")
    assert "t intervals over seeds inside each task" in aggregates_method([found])
    assert aggregates_of(both("one", "digits")) == []
    assert aggregates_method([]) == ""


def test_unlike_matchings_and_metrics_are_no_common_effect() -> None:
    assert aggregates_of(both("one", "digits") + both("two", "scenes", by="time")) == []
    loss = {"loss": Measurement(value=0.5, unit="nats", label="loss", direction="lower")}
    other = [r.model_copy(update={"metric": "loss", "measures": loss}) for r in both("two", "scenes")]
    assert aggregates_of(both("one", "digits") + other) == []


def test_a_task_of_several_suites_weighs_once_seed_by_seed() -> None:
    digits = both("one", "digits", [0.9, 0.81, 0.82]) + both("two", "digits", [0.7, 0.81, 0.82])
    assert aggregates_of(digits) == [], "two suites of one task are one task"
    (found,) = aggregates_of(digits + both("one", "scenes"))
    assert found.tasks == (("Digits", ("one", "two")), ("Scenes", ("one",)))
    assert found.effect == pytest.approx((0 + 0.07 / 3) / 2)
    (scenes,) = aggregates_of(both("one", "scenes") + both("one", "digits", PLAIN))
    assert found.interval.low == pytest.approx(scenes.interval.low), (
        "+0.1 and \u22120.1 at one seed cancel in every draw"
    )
    assert "averaged seed by seed" in aggregates_method([found])
    assert "averaged" not in aggregates_method([scenes])


def test_suites_that_hardly_share_seeds_are_not_averaged() -> None:
    smoke = both("smoke", "digits", [0.9])
    (found,) = aggregates_of(smoke + both("one", "digits") + both("one", "scenes"))
    assert found.tasks[0] == ("Digits", ("one",))
    (lone,) = aggregates_of(smoke + both("one", "scenes"))
    assert not lone.interval.exists
    assert "no interval (one seed in a task)" in aggregate_words(lone)


def test_a_varied_suite_enters_by_its_mean_and_not_by_its_points() -> None:
    points = [
        r
        for n, up in ((1, 0.0), (2, 0.02))
        for r in both(f"v[train.steps={n}]", "digits", [x + up for x in WAVE])
    ]
    assert aggregates_of(points) == []
    (found,) = aggregates_of(points + both("one", "scenes"))
    assert sorted(found.tasks) == [("Digits", ("v",)), ("Scenes", ("one",))]
    assert found.effect == pytest.approx((0.07 / 3 + 0.01 + 0.07 / 3) / 2)


def test_a_control_is_a_pair_of_its_own_and_told_as_one() -> None:
    control = Matching(by="flops", reference="wave", target=1, value=1, residual=0, hidden=9, control=True)
    asked = {"match": {"by": "params", "reference": {"name": "plain"}}}
    records = []
    for task in ("digits", "scenes"):
        for r in both("one", task):
            changes = {"spec": r.spec | asked} | ({"matching": control} if r.mechanism == "plain" else {})
            records.append(r.model_copy(update=changes))
    (found,) = aggregates_of(records)
    assert found.matching == ("params", "flops")
    assert (
        "wave matched by params, plain at equal FLOPs, a control, matched by flops: +2.33"
        in aggregate_words(found)
    )


@pytest.mark.usefixtures("undrawn")
def test_the_page_tells_effects_over_tasks(save: Callable[..., Path], tmp_path: Path) -> None:
    page = build_report(save(both("one", "digits") + both("two", "scenes")), tmp_path / "page")
    for text in (page.read_text(), page.with_name("report.md").read_text()):
        assert len(re.findall(r"## Over tasks|<h2 id=.over-tasks-heading", text)) == 1
        assert "over 2 tasks (digits in one; scenes in two), matched by params" in text
        assert text.count("they say nothing about other tasks, and are not corrected") == 1


def test_times_of_unlike_machines_are_not_compared() -> None:
    elsewhere = runs("wave", [0.9] * 6, environment={"processor": "another", "threads": 1})
    comparison = only(runs("plain", [0.8] * 6) + elsewhere, "wave,plain")
    assert math.isnan(comparison.costs.speed)
    assert comparison.costs.flops == pytest.approx(1.21)
    assert any("more than one kind of machine" in note for note in comparison.caveats)
    assert "training speed" not in answer(comparison).text


@pytest.mark.parametrize("converged", [True, False])
def test_a_match_by_time_that_did_not_settle_is_a_caveat(converged: bool) -> None:
    by_time = Matching(
        by="time", reference="plain", target=1.0, value=1.08, residual=0.08, hidden=9, converged=converged
    )
    records = runs("plain", [0.5] * 3) + runs("lock", [0.6, 0.7, 0.8])
    records = [record.model_copy(update={"matching": by_time}) for record in records]
    said = [note for note in only(records, "lock,plain").caveats if "did not settle" in note]
    assert bool(said) is not converged
    assert converged or "off by 8.0%, with too few steps timed to know it" in said[0]


def test_a_match_by_time_may_be_near_and_yet_not_known_well_enough() -> None:
    by_time = Matching(
        by="time",
        reference="plain",
        target=1.0,
        value=1.01,
        residual=0.01,
        spread=0.2,
        hidden=9,
        converged=False,
    )
    records = runs("plain", [0.5] * 3) + runs("lock", [0.6, 0.7, 0.8])
    records = [record.model_copy(update={"matching": by_time}) for record in records]
    (said,) = {n.split(": ", 1)[1] for n in only(records, "lock,plain").caveats if "did not settle" in n}
    assert said.startswith("its match by measured time did not settle (off by 1.0%, known to ± 20.0%")


@pytest.mark.parametrize("shared", [True, False])
def test_seeds_that_share_their_data_say_what_the_interval_leaves_out(shared: bool) -> None:
    hashes = ["one"] * 3 if shared else ["a", "b", "c"]
    records = [
        make_record(name, seed, data_hash=hashes[seed]) for name in ("plain", "wave") for seed in range(3)
    ]
    said = [note for note in only(records, "wave,plain").caveats if "one draw" in note]
    assert bool(said) is shared


def test_a_tuned_pair_is_not_called_untuned() -> None:
    records = runs("plain", [0.5] * 3) + runs("wave", [0.6] * 3)
    records = [r.model_copy(update={"spec": r.spec | {"tuned": {"gamma": 0.1}}}) for r in records]
    assert not [note for note in only(records, "wave,plain").caveats if "nothing was tuned" in note]


def test_caveats_told_once_for_all_are_not_said_again() -> None:
    told = answer(only(runs("plain", [0.8]) + runs("wave", [0.9], dirty=True), "wave,plain"))
    assert len(told.caveats) == 3
    left = told.without({told.caveats[0]})
    assert left.caveats == (*told.caveats, *told.more)[1:][:3]
    assert left.text == told.text


@pytest.mark.parametrize(
    ("flops", "told"), [(1000, []), (1049, []), (900, ["plain spends more FLOPs than wave"])]
)
def test_unlike_compute_is_told_from_five_percent_on(flops: int, told: list[str]) -> None:
    records = runs("plain", [0.5] * 3) + runs("wave", [0.6] * 3)
    given = {"plain": 1000, "wave": flops}
    changed = [
        r.model_copy(
            update={
                "measures": r.measures
                | {"flops": r.measures["flops"].model_copy(update={"value": given[r.mechanism]})}
            }
        )
        for r in records
    ]
    assert [note for note in only(changed, "wave,plain").caveats if "FLOPs" in note] == told


def test_a_comparison_is_named_as_suites_write_it_too() -> None:
    cells = [make_record(name, seed) for name in ("plain", "wave") for seed in range(3)]
    names = [only(cells, said).name for said in ("wave,plain", "wave - plain", "wave − plain")]
    assert names == [names[0]] * 3
