"""Points of a varied suite side by side: numbers that were put in come out, and nothing is said that they do not hold."""

from __future__ import annotations

import math

import pytest
from synthetic_records import make_record

from oscbench.records import protocol
from oscbench.reporting import build_report
from oscbench.reporting.assembly import assemble
from oscbench.reporting.fairness import busy_notes
from oscbench.reporting.frame import Loaded, newest
from oscbench.reporting.style import looks
from oscbench.reporting.varied import answers, label_parts, smallest_reaching
from oscbench.reporting.varied_view import scaling_table, shares_table, values_table, varied_views

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
NOISE = (0.004, -0.002, 0.003, -0.005, 0.001, -0.001, 0.002, -0.002)


def point(mechanism, share, seed, value, key="task.fraction", name="data", train=3, **changes):
    made = make_record(mechanism, seed, suite=f"{name}[{key}={share}]", value=value, epochs=train, **changes)
    top, low = key.split(".")
    spec = made.spec | {top: {**made.spec.get(top, {}), low: share}}
    return made.model_copy(update={"spec": spec, "protocol": protocol(spec)})


def error_law(exponent, scale=0.1):
    """Accuracy whose error falls as a power of the share, with the same noise in logarithms at every share."""
    return lambda share, seed: 1 - scale * share**-exponent * math.exp(20 * NOISE[seed])


def records(laws, shares=SHARES, seeds=8, **changes):
    return [
        point(mechanism, share, seed, law(share, seed), **changes)
        for mechanism, law in laws.items()
        for share in shares
        for seed in range(seeds)
    ]


def report_of(found):
    return assemble(Loaded(newest(found)[0], (), ()), ())


def only_family(found):
    (family,) = report_of(found).families
    return family


LAWS = {"plain": error_law(0.3), "wave": error_law(0.3, 0.07)}


def test_labels_come_apart_as_they_were_made():
    assert label_parts("data") == ("data", {})
    assert label_parts("data[a.b=[1,2],c=0.5]") == ("data", {"a.b": "[1,2]", "c": "0.5"})
    assert label_parts('data[task={"name":"x","k":1},train.steps=5]')[1] == {
        "task": '{"name":"x","k":1}',
        "train.steps": "5",
    }


def test_means_stand_at_their_values():
    family = only_family(records(LAWS))
    assert family.values == list(SHARES)
    table = values_table(family)
    raw = {(row["mechanism"], row["value"]): row for row in table.raw}
    for mechanism, law in LAWS.items():
        for share in SHARES:
            expected = sum(law(share, seed) for seed in range(8)) / 8
            assert raw[mechanism, share]["mean"] == pytest.approx(expected, abs=1e-12)
            assert raw[mechanism, share]["seeds"] == 8


def test_holm_runs_over_the_points_of_one_pair():
    family = only_family(records(LAWS))
    (tests,) = family.tests
    smallest = 2 / 2**8
    assert [one.comparison.paired.p for one in tests] == pytest.approx([smallest] * 5)
    assert [one.comparison.p_holm for one in tests] == pytest.approx([5 * smallest] * 5)
    assert {one.comparison.verdict for one in tests} == {"better"}
    few = only_family(records(LAWS, seeds=5)).tests[0]
    assert {one.comparison.verdict for one in few} == {"underpowered"}, "2/2⁵ passes at none of five values"


def test_a_pair_is_one_test_over_all_values():
    laws = LAWS | {"ring": lambda share, seed: error_law(0.3)(share, seed) + 0.01 + NOISE[seed]}
    whole = {c.treatment: c for c in only_family(records(laws)).overall}
    for name, law in laws.items():
        if name == "plain":
            continue
        seeds = [
            sum(law(share, seed) - laws["plain"](share, seed) for share in SHARES) / 5 for seed in range(8)
        ]
        differences = [a - b for a, b in zip(whole[name].first, whole[name].second, strict=True)]
        assert differences == pytest.approx(seeds, abs=1e-12)
        assert whole[name].paired.mean == pytest.approx(sum(seeds) / 8, abs=1e-12)
        assert whole[name].p_holm == pytest.approx(2 * 2 / 2**8), "two pairs are asked about, not ten"
        assert whole[name].verdict == "better"


def test_what_a_report_answers_does_not_grow_with_what_else_it_holds():
    alone = report_of(records(LAWS)).comparisons
    (varied,) = alone
    others = [make_record(m, s, suite=f"other{i}") for m in LAWS for s in range(8) for i in range(9)]
    beside = report_of(records(LAWS) + others)
    assert beside.comparisons[0].p_holm == varied.p_holm
    assert len(beside.comparisons) == 10, "five points are one answer"


def test_a_value_that_is_refused_and_a_seed_that_is_lost_are_left_out_and_said():
    found = records(LAWS)
    odd = [
        r.model_copy(update={"data_hash": "other"}) if r.mechanism == "wave" and "=0.1]" in r.suite else r
        for r in found
    ]
    lost = [r for r in odd if not (r.mechanism == "wave" and "=0.5]" in r.suite and r.seed == 3)]
    (whole,) = only_family(lost).overall
    assert whole.seeds == (0, 1, 2, 4, 5, 6, 7)
    assert whole.metric_label.endswith("mean over fraction 0.05, 0.25, 0.5 and 1")
    assert "left out: at fraction 0.1 refused: unlike data hashes at seed 0\u20137" in whole.caveats
    assert "plain has unpaired seeds 3, left out (at fraction 0.5)" in whole.caveats
    assert "seeds 3 did not finish at every value: left out" in whole.caveats
    (alone,) = only_family([r for r in odd if r.mechanism == "plain" or "=0.1]" in r.suite]).overall
    assert alone.verdict == "refused"
    assert "at fraction 0.1 refused: " in alone.reason
    told = answers(only_family([r for r in odd if r.mechanism == "plain" or "=0.1]" in r.suite]))[0]
    assert told.verdict == "Refused"


def test_costs_that_grow_with_the_value_are_told_as_a_range():
    dear = [
        r.model_copy(
            update={
                "measures": r.measures
                | {
                    "flops": r.measures["flops"].model_copy(
                        update={"value": 1e6 * (2 if "=0.1]" in r.suite else 1.5)}
                    )
                }
            }
        )
        if r.mechanism == "wave"
        else r.model_copy(
            update={"measures": r.measures | {"flops": r.measures["flops"].model_copy(update={"value": 1e6})}}
        )
        for r in records(LAWS)
    ]
    family = only_family(dear)
    assert (family.overall[0].costs.flops, family.overall[0].costs_to.flops) == (1.5, 2.0)
    assert "+50 % to +100 % FLOPs" in answers(family)[0].text


def test_what_is_refused_has_reached_nothing():
    odd = [
        r.model_copy(update={"data_hash": "other"}) if r.mechanism == "wave" and "=0.5]" in r.suite else r
        for r in records(LAWS)
    ]
    family = only_family(odd)
    row = next(row for row in shares_table(family).rows if row[0].text == "wave")
    assert row[2].text == "1", "0.5 is refused"
    assert "first at 1." in answers(family)[0].text
    last = [
        r.model_copy(update={"data_hash": "other"}) if r.mechanism == "wave" and "=1.0]" in r.suite else r
        for r in records(LAWS)
    ]
    assert shares_table(only_family(last)) is None
    assert "Reaches" not in answers(only_family(last))[0].text


def test_two_numbers_are_one_question_and_other_changes_are_another():
    def grid(extra=""):
        return [
            r.model_copy(update={"suite": f"data[model.width={width},task.fraction={share}{extra}]"})
            for width in (32, 64)
            for share in (0.5, 1.0)
            for r in records(LAWS, shares=(share,))
        ]

    alone = report_of(grid())
    assert {c.tested for c in alone.comparisons} == {4}, "two families over the width, two over the share"
    assert {c.tested for s in alone.sections for c in s.comparisons} == {4}
    twin = report_of(grid() + records(LAWS, shares=(0.5, 1.0)))
    points = [s for s in twin.sections if "width" in s.suite]
    assert {c.tested for s in points for c in s.comparisons} == {4}, (
        "what else lies in the folder changes nothing"
    )


def test_worse_and_unclear_are_told_apart():
    flips = {"plain": error_law(0.3), "wave": lambda share, seed: error_law(0.3)(share, seed) + NOISE[seed]}
    assert {one.comparison.verdict for one in only_family(records(flips)).tests[0]} == {"no clear difference"}
    worse = {"plain": error_law(0.3), "wave": error_law(0.3, 0.15)}
    assert {one.comparison.verdict for one in only_family(records(worse)).tests[0]} == {"worse"}


def test_smallest_share_that_reaches_the_baseline_with_all_data():
    early = {0.05: 0.8, 0.1: 0.9, 0.25: 0.89, 1.0: 0.95}
    assert smallest_reaching(early, 0.9, "higher") == 0.1
    assert smallest_reaching(early, 0.85, "lower") == 0.05
    assert math.isnan(smallest_reaching(early, 0.96, "higher"))

    table = shares_table(only_family(records(LAWS)))
    rows = {row[0].text: [cell.text for cell in row[2:]] for row in table.rows}
    # 0.07 x^-0.3 ≤ 0.1 where x ≥ 0.304: the next share that was run is 0.5.
    assert rows["wave"] == ["0.5", "0.5", "0.5 to 0.5", "8/8"]
    assert rows["plain"] == ["1", "1", "1 to 1", "8/8"]


def test_an_entry_that_never_gets_there_is_censored():
    laws = {"plain": error_law(0.3), "wave": error_law(0.3, 0.2)}
    table = shares_table(only_family(records(laws)))
    row = next(row for row in table.rows if row[0].text == "wave")
    assert [cell.text for cell in row[2:]] == ["never", "never", "never to never", "0/8"]
    assert all(math.isnan(line["share"]) for line in table.raw if line["entry"] == "wave")


def test_no_shares_of_a_number_that_is_no_resource():
    assert shares_table(only_family(records(LAWS, shares=(0.1, 0.5)))) is not None
    assert shares_table(only_family(records(LAWS, shares=(0.5, 1.0), key="train.warmup"))) is None


def test_scaling_finds_the_exponent_that_was_put_in_and_refuses_four_points():
    table, refused = scaling_table(only_family(records(LAWS)))
    assert refused == ""
    assert [row["exponent"] for row in table.raw] == pytest.approx([0.3, 0.3], abs=1e-6)
    assert all(
        row["low"] <= row["exponent"] + 1e-9 and row["exponent"] <= row["high"] + 1e-9 for row in table.raw
    )
    table, refused = scaling_table(only_family(records(LAWS, shares=SHARES[1:])))
    assert table is None
    assert refused == "none for plain, wave: 4 sizes are too few for a scaling law; at least 5 are needed"


def test_what_else_differs_between_the_points_is_told():
    plain = varied_views(report_of(records(LAWS)).families, looks(LAWS))[0]
    assert [name for name, _ in plain.facts] == ["Varied"]
    mixed = records(LAWS, shares=(0.1, 0.25)) + records(LAWS, shares=(0.5, 1.0), train=9)
    view = varied_views(report_of(mixed).families, looks(LAWS))[0]
    assert dict(view.facts)["Also unlike between the values"] == "train.epochs"


def test_other_changes_and_texts_make_no_family():
    one = records(LAWS, shares=(0.5,))
    assert list(report_of(one).families) == []
    texts = [
        make_record("plain", s, suite=f"data[task.label={w}]") for s in range(2) for w in ("which", "count")
    ]
    assert list(report_of(texts).families) == []


def test_a_product_gives_a_family_for_each_number_with_the_others_held():
    found = [
        r.model_copy(update={"suite": f"data[model.width={width},task.fraction={share}]"})
        for width in (32, 64)
        for share in (0.5, 1.0)
        for r in records(LAWS, shares=(share,), seeds=2)
    ]
    made = report_of(found).families
    assert {(f.suite, f.key) for f in made} == {
        ("data[model.width=32]", "task.fraction"),
        ("data[model.width=64]", "task.fraction"),
        ("data[task.fraction=0.5]", "model.width"),
        ("data[task.fraction=1.0]", "model.width"),
    }


def test_the_page_holds_it_all(save, tmp_path):
    results = save(records(LAWS))
    build_report(results, tmp_path / "page", ["data"])
    html, text = ((tmp_path / "page" / name).read_text() for name in ("index.html", "report.md"))
    assert "Digits over task.fraction (data)" in html
    assert "mean over fraction 0.05, 0.1, 0.25, 0.5 and 1, 95 % interval" in text
    assert "Better at fraction 0.05, 0.1, 0.25, 0.5 and 1." in text
    assert "Reaches the mean of plain at fraction 1 first at 0.5." in text
    assert text.index("Digits over task.fraction") < text.index("\n## Digits (data"), "the answer comes first"
    names = {file.name for file in (tmp_path / "page").rglob("data-digits-over-task-fraction-*")}
    assert names == {
        f"data-digits-over-task-fraction-{kind}"
        for kind in ("values.csv", "differences.csv", "shares.csv", "scaling.csv", "varied.png", "varied.svg")
    }


def test_points_are_no_tasks_of_their_own_among_the_ranks(save, tmp_path):
    others = [make_record(m, s, task=t) for m in LAWS for s in range(2) for t in ("reading", "counting")]
    build_report(save([*records(LAWS, seeds=2), *others]), tmp_path / "page")
    ranked = (tmp_path / "page" / "tables" / "leaderboard-params.csv").read_text()
    assert "Reading (toy)" in ranked
    assert '"Digits (data, mean over task.fraction)"' in ranked
    assert "fraction=" not in ranked


def loaded_machine(load, count, cores=2):
    return [make_record(seed=s, environment={"load_average": load, "cores": cores}) for s in range(count)]


def test_a_busy_machine_is_named_where_most_cells_saw_it():
    quiet, busy = loaded_machine(1.2, 3), loaded_machine(3.04, 4)
    assert busy_notes([*quiet, *busy]) == [
        "times were taken on a busy machine, with more to run than its 2 cores: do not read training speeds as costs"
    ]
    assert busy_notes([*quiet, *busy[:3]]) == [], "half is not most"
    assert busy_notes([make_record(seed=s) for s in range(3)]) == [], "unknown is not busy"
    (section,) = report_of(loaded_machine(9.5, 3)).sections
    assert any("busy machine" in finding for name, finding in section.facts if name == "Note")
