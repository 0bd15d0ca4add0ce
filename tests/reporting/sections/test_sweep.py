"""Points of a varied suite side by side: numbers that were put in come out, and nothing is said that they do not hold."""

from __future__ import annotations

import csv
import math
import re

import pytest
from synthetic_records import make_record, replaced
from varied_records import LAWS, NOISE, SHARES, error_law, point, records

from oscbench import words
from oscbench.analysis.fairness import busy_notes
from oscbench.analysis.frame import Loaded, newest
from oscbench.analysis.study import assemble
from oscbench.analysis.sweeps.laws import scaling_fits
from oscbench.analysis.sweeps.sweep import label_parts, smallest_reaching
from oscbench.reporting import build_report
from oscbench.reporting.page.blocks import Facts, Plan, walk
from oscbench.reporting.page.verdict import sweep_answers
from oscbench.reporting.render.html import EMBEDDED_BYTES
from oscbench.reporting.sections.power_law import PowerLaw, scaling_picture, scaling_table
from oscbench.reporting.sections.sweep import SweepSection, overall_table, shares_table, values_table


def report_of(found):
    return assemble(Loaded(newest(found)[0], (), ()), ())


def only_sweep(found):
    (sweep,) = report_of(found).sweeps
    return sweep


def test_labels_come_apart_as_they_were_made():
    assert label_parts("data") == ("data", {})
    assert label_parts("data[a.b=[1,2],c=0.5]") == ("data", {"a.b": "[1,2]", "c": "0.5"})
    assert label_parts('data[task={"name":"x","k":1},train.steps=5]')[1] == {
        "task": '{"name":"x","k":1}',
        "train.steps": "5",
    }


def test_means_stand_at_their_values():
    sweep = only_sweep(records(LAWS))
    assert sweep.values == list(SHARES)
    table = values_table(sweep)
    raw = {(row["mechanism"], row["value"]): row for row in table.raw}
    for mechanism, law in LAWS.items():
        for share in SHARES:
            expected = sum(law(share, seed) for seed in range(8)) / 8
            assert raw[mechanism, share]["mean"] == pytest.approx(expected, abs=1e-12)
            assert raw[mechanism, share]["seeds"] == 8


def test_holm_runs_over_the_points_of_one_pair():
    sweep = only_sweep(records(LAWS))
    (tests,) = sweep.tests
    smallest = 2 / 2**8
    assert [one.comparison.paired.p for one in tests] == pytest.approx([smallest] * 5)
    assert [one.comparison.p_holm for one in tests] == pytest.approx([5 * smallest] * 5)
    assert {one.comparison.verdict for one in tests} == {"better"}
    few = only_sweep(records(LAWS, seeds=5)).tests[0]
    assert {one.comparison.verdict for one in few} == {"underpowered"}, "2/2⁵ passes at none of five values"


def test_a_pair_is_one_test_over_all_values():
    laws = LAWS | {"ring": lambda share, seed: error_law(0.3)(share, seed) + 0.01 + NOISE[seed]}
    whole = {c.treatment: c for c in only_sweep(records(laws)).overall}
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
    (whole,) = only_sweep(lost).overall
    assert whole.seeds == (0, 1, 2, 4, 5, 6, 7)
    assert whole.metric_label.endswith("mean over share of training data 0.05, 0.25, 0.5 and 1")
    assert (
        "left out: at share of training data 0.1 refused: unlike data hashes at seed 0\u20137"
        in whole.caveats
    )
    assert "plain has unpaired seeds 3, left out (at share of training data 0.5)" in whole.caveats
    assert "seeds 3 did not finish at every value: left out" in whole.caveats
    (alone,) = only_sweep([r for r in odd if r.mechanism == "plain" or "=0.1]" in r.suite]).overall
    assert alone.verdict == "refused"
    assert "at share of training data 0.1 refused: " in alone.reason
    told = sweep_answers(only_sweep([r for r in odd if r.mechanism == "plain" or "=0.1]" in r.suite]))[0]
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
    sweep = only_sweep(dear)
    assert (sweep.overall[0].costs.flops, sweep.overall[0].costs_to.flops) == (1.5, 2.0)
    assert "+50 % to +100 % FLOPs" in sweep_answers(sweep)[0].text


def written(table):
    """The rows of a table's CSV, as a reader of the file gets them."""
    return list(csv.DictReader(table.csv().splitlines()))


def slowed(record):
    """The record, with steps twice as long where a treatment has a tenth of the data; all else costs the same everywhere."""
    step = record.measures["step_s"]
    factor = 2 if "=0.1]" in record.suite and record.mechanism != "plain" else 1
    return replaced(record, {"step_s": step.model_copy(update={"value": factor * step.value})})


def test_the_test_over_all_values_is_a_table_with_its_csv():
    sweep = only_sweep(list(map(slowed, records(LAWS | {"ring": error_law(0.3, 0.2)}))))
    table = overall_table(sweep)
    headings = [column.heading for column in table.columns]
    assert headings[1:9] == [
        "Difference",
        "95 % interval",
        "All at once 95 %",
        "p",
        "p (Holm)",
        "P(better)",
        "Seeds",
        "Parameters",
    ]
    shown = {row[0].text: dict(zip(headings, row, strict=True)) for row in table.rows}
    for whole, line in zip(sweep.overall, written(table), strict=True):
        row = shown[f"{whole.treatment} {words.MINUS} plain"]
        assert row["Difference"].value == whole.paired.mean
        assert (row["Verdict"].text, row["p (Holm)"].value) == (whole.verdict, whole.p_holm)
        assert row["FLOPs"].text == {"wave": "+21 %", "ring": "+90 %"}[whole.treatment]
        assert row["Training speed"].text.count(words.TIMES) == 2, "from the slowest value to the fastest"
        assert float(line["difference"]) == whole.paired.mean, "the file rounds nothing"
        assert float(line["t_low"]) == whole.paired.interval.low
        assert float(line["adjusted_low"]) == whole.adjusted.low < whole.paired.interval.low
        assert float(line["p_holm"]) == whole.p_holm
        assert float(line["speed_ratio"]) == whole.costs.speed < whole.costs_to.speed
        assert float(line["speed_ratio_to"]) == whole.costs_to.speed
        assert (line["varied"], line["suite"]) == ("task.fraction", "data")
    assert {row["Verdict"].text for row in shown.values()} == {"better", "worse"}


def test_the_table_over_all_values_has_bca_from_ten_seeds_and_tells_refusals():
    def law(gain):
        return lambda share, seed: 0.8 + gain + 0.1 * share + 0.001 * ((7 * seed) % 5)

    ten = overall_table(only_sweep(records({"plain": law(0), "wave": law(0.01)}, seeds=10)))
    assert ten.columns[3].heading == "BCa 95 %"
    assert "bca_low" in written(ten)[0]
    one = [column.heading for column in overall_table(only_sweep(records(LAWS))).columns]
    assert "BCa 95 %" not in one
    assert "All at once 95 %" not in one, "of one comparison it is the interval itself"
    odd = [r.model_copy(update={"data_hash": f"{r.mechanism}"}) for r in records(LAWS)]
    table = overall_table(only_sweep(odd))
    assert len(table.rows[0]) == len(table.columns)
    assert table.rows[0][-1].text.startswith(
        "refused: compared at fewer than two values of share of training data"
    )
    assert written(table)[0]["state"] == "refused"
    alone = [r.model_copy(update={"matching": None}) for r in records({"plain": error_law(0.3)})]
    assert overall_table(only_sweep(alone)) is None


def test_what_is_refused_has_reached_nothing():
    odd = [
        r.model_copy(update={"data_hash": "other"}) if r.mechanism == "wave" and "=0.5]" in r.suite else r
        for r in records(LAWS)
    ]
    sweep = only_sweep(odd)
    row = next(row for row in shares_table(sweep).rows if row[0].text == "wave")
    assert row[2].text == "1", "0.5 is refused"
    assert "first at 1." in sweep_answers(sweep)[0].text
    last = [
        r.model_copy(update={"data_hash": "other"}) if r.mechanism == "wave" and "=1.0]" in r.suite else r
        for r in records(LAWS)
    ]
    assert shares_table(only_sweep(last)) is None
    assert "Reaches" not in sweep_answers(only_sweep(last))[0].text


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
    assert {c.tested for s in alone.experiments for c in s.comparisons} == {4}
    twin = report_of(grid() + records(LAWS, shares=(0.5, 1.0)))
    points = [s for s in twin.experiments if "width" in s.suite]
    assert {c.tested for s in points for c in s.comparisons} == {4}, (
        "what else lies in the folder changes nothing"
    )


def test_worse_and_unclear_are_told_apart():
    def flipping(times):
        return {
            "plain": error_law(0.3),
            "wave": lambda share, seed: error_law(0.3)(share, seed) + times * NOISE[seed],
        }

    for times, verdict in ((4, "no clear difference"), (1, "equivalent")):
        sweep = only_sweep(records(flipping(times)))
        assert {one.comparison.verdict for one in sweep.tests[0]} == {verdict}
    worse = {"plain": error_law(0.3), "wave": error_law(0.3, 0.15)}
    assert {one.comparison.verdict for one in only_sweep(records(worse)).tests[0]} == {"worse"}


def test_smallest_share_that_reaches_the_baseline_with_all_data():
    early = {0.05: 0.8, 0.1: 0.9, 0.25: 0.89, 1.0: 0.95}
    assert smallest_reaching(early, 0.9, "higher") == 0.1
    assert smallest_reaching(early, 0.85, "lower") == 0.05
    assert math.isnan(smallest_reaching(early, 0.96, "higher"))

    table = shares_table(only_sweep(records(LAWS)))
    rows = {row[0].text: [cell.text for cell in row[2:]] for row in table.rows}
    # 0.07 x^-0.3 ≤ 0.1 where x ≥ 0.304: the next share that was run is 0.5.
    assert rows["wave"] == ["0.5", "0.5", "0.5 to 0.5", "8/8"]
    assert rows["plain"] == ["1", "1", "1 to 1", "8/8"]


def test_an_entry_that_never_gets_there_is_censored():
    laws = {"plain": error_law(0.3), "wave": error_law(0.3, 0.2)}
    table = shares_table(only_sweep(records(laws)))
    row = next(row for row in table.rows if row[0].text == "wave")
    assert [cell.text for cell in row[2:]] == ["never", "never", "never to never", "0/8"]
    assert all(math.isnan(line["share"]) for line in table.raw if line["entry"] == "wave")


def test_no_shares_of_a_number_that_is_no_resource():
    assert shares_table(only_sweep(records(LAWS, shares=(0.1, 0.5)))) is not None
    assert shares_table(only_sweep(records(LAWS, shares=(0.5, 1.0), key="train.warmup"))) is None


def test_scaling_finds_the_exponent_that_was_put_in_and_refuses_four_points():
    sweep = only_sweep(records(LAWS))
    fits = scaling_fits(sweep)
    table = scaling_table(sweep, fits)
    assert fits.refused == ""
    assert [row["exponent"] for row in table.raw] == pytest.approx([0.3, 0.3], abs=1e-6)
    assert {row["over"] for row in table.raw} == {"task.fraction"}
    for row in table.raw:
        for kind in ("t", "bootstrap"):
            assert row[f"{kind}_low"] <= row["exponent"] + 1e-9
            assert row["exponent"] <= row[f"{kind}_high"] + 1e-9
    few = only_sweep(records(LAWS, shares=SHARES[1:]))
    assert scaling_table(few, scaling_fits(few)) is None
    assert (
        scaling_fits(few).refused
        == "none for plain, wave: 4 sizes are too few for a scaling law; at least 5 are needed"
    )
    study = report_of(records(LAWS, shares=SHARES[1:]))
    shown = [*SweepSection().blocks(study), *PowerLaw().blocks(study)]
    names = [block.draw().name for block in shown if isinstance(block, Plan)]
    assert names == [f"data-digits-over-task-fraction-{kind}" for kind in ("varied", "varied-differences")]


def sized(record, width):
    """The record, of a model that has as many parameters as its width squared."""
    count = record.measures["params"].model_copy(update={"value": width**2})
    return replaced(record, {"params": count})


def test_a_size_is_fitted_to_parameters_too():
    """An error that falls as the width to the 0.4 falls as the parameters, its square, to the 0.2."""
    widths = (32, 48, 64, 96, 128)
    found = [
        sized(r, width)
        for width in widths
        for r in records({"plain": error_law(0.4), "wave": error_law(0.2)}, (width,), key="model.width")
    ]
    fits = scaling_fits(only_sweep(found))
    assert [(fit.name, fit.over) for fit in fits.found] == [
        (name, over) for over in ("model.width", "parameters") for name in ("plain", "wave")
    ]
    exponents = [fit.scaling.law.exponent for fit in fits.found]
    assert exponents == pytest.approx([0.4, 0.2, 0.2, 0.1], abs=1e-6)
    assert fits.found[-1].scaling.x == tuple(width**2 for width in widths)
    assert {fit.over for fit in fits.drawn} == {"parameters"}
    uncounted = [r.model_copy(update={"measures": {"accuracy": r.measures["accuracy"]}}) for r in found]
    alone = scaling_fits(only_sweep(uncounted))
    assert {fit.over for fit in alone.found} == {"model.width"}
    assert alone.refused.startswith("none for plain, wave: ")


def test_the_figure_of_the_laws_shows_what_they_leave_over():
    def bent(share, seed):
        """Twice the error of the law at a quarter of the data."""
        return 1 - (2 if share == 0.25 else 1) * (1 - error_law(0.3, 0.05)(share, seed))

    sweep = only_sweep(records({"plain": error_law(0.3), "wave": bent}))
    fits = scaling_fits(sweep)
    found = scaling_picture(sweep, fits)
    worst = max(abs(r) for fit in fits.found if fit.name == "wave" for r in fit.scaling.law.residuals)
    assert f"wave exponent 0.289, largest residual +{100 * worst:.1f} % at 0.25" in found.alt
    assert "plain exponent 0.300, largest residual" in found.alt
    for text in ("Residual [%]", "Share of training data", "wave"):
        assert text in found.svg
    assert found.svg == scaling_picture(sweep, fits).svg


def told(found):
    """The facts of the only suite that varies."""
    (facts,) = (block for block in walk(SweepSection().blocks(report_of(found))) if isinstance(block, Facts))
    return dict(facts.items)


def test_what_else_differs_between_the_points_is_told():
    assert list(told(records(LAWS))) == ["Varied"]
    mixed = records(LAWS, shares=(0.1, 0.25)) + records(LAWS, shares=(0.5, 1.0), train=9)
    assert told(mixed)["Also unlike between the values"] == "train.epochs"


def test_other_changes_and_texts_make_no_family():
    one = records(LAWS, shares=(0.5,))
    assert list(report_of(one).sweeps) == []
    texts = [
        make_record("plain", s, suite=f"data[task.label={w}]") for s in range(2) for w in ("which", "count")
    ]
    assert list(report_of(texts).sweeps) == []


def test_a_product_gives_a_family_for_each_number_with_the_others_held():
    found = [
        r.model_copy(update={"suite": f"data[model.width={width},task.fraction={share}]"})
        for width in (32, 64)
        for share in (0.5, 1.0)
        for r in records(LAWS, shares=(share,), seeds=2)
    ]
    made = report_of(found).sweeps
    assert {(f.suite, f.key) for f in made} == {
        ("data[model.width=32]", "task.fraction"),
        ("data[model.width=64]", "task.fraction"),
        ("data[task.fraction=0.5]", "model.width"),
        ("data[task.fraction=1.0]", "model.width"),
    }


def test_the_page_holds_it_all(save, tmp_path):
    results = save(records(LAWS))
    build_report(results, tmp_path / "page", ["data"], formats=("html", "md", "latex"))
    index, html, text = (
        (tmp_path / "page" / name).read_text() for name in ("index.html", "suite-data.html", "report.md")
    )
    assert "Digits over share of training data (data)" in index
    assert "Digits over share of training data (data)" in text
    assert "mean over share of training data 0.05, 0.1, 0.25, 0.5 and 1, 95" in html
    assert "Better at share of training data 0.05, 0.1, 0.25, 0.5 and 1." in html
    assert "Reaches the mean of plain at share of training data 1 first at 0.5." in html
    first = "Over all values of the share of training data"
    assert html.index("wave − plain") < html.index("mean ± 95") < html.index(first) < html.index("Varied")
    assert [f'<th scope="col" class="right">{share:g}</th>' in html for share in SHARES] == [True] * 5
    assert html.count('id="results"') == 1, "values are columns, never a section each"
    latex = (tmp_path / "page" / "tables" / "data-digits-over-task-fraction-overall.tex").read_text()
    assert "wave $-$ plain & +4.93 & " in latex, "0.03 x^-0.3 over the five shares"
    names = {
        file.name
        for file in (tmp_path / "page").rglob("data-digits-over-task-fraction-*")
        if file.suffix != ".tex"
    }
    assert names == {
        f"data-digits-over-task-fraction-{kind}"
        for kind in (
            "overall.csv",
            "values.csv",
            "differences.csv",
            "shares.csv",
            "scaling.csv",
            "varied.png",
            "varied.svg",
            "varied-differences.png",
            "varied-differences.svg",
            "scaling.png",
            "scaling.svg",
        )
    }


@pytest.mark.usefixtures("undrawn")
def test_points_are_no_tasks_of_their_own_among_the_ranks(save, tmp_path):
    others = [make_record(m, s, task=t) for m in LAWS for s in range(2) for t in ("reading", "counting")]
    build_report(save([*records(LAWS, seeds=2), *others]), tmp_path / "page")
    ranked = (tmp_path / "page" / "tables" / "leaderboard-params.csv").read_text()
    assert "Reading (toy)" in ranked
    assert '"Digits (data, mean over share of training data)"' in ranked
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
    (experiment,) = report_of(loaded_machine(9.5, 3)).experiments
    assert any("busy machine" in finding for name, finding in experiment.facts if name == "Note")


ENTRIES = ("plain", "wave_of_many_angles", "ring_of_fixed_queries", "lock", "spin_with_learned_positions")


def many_suites(count, seeds=2):
    return [
        point(name, share, seed, error_law(0.3)(share, seed), name=f"data_efficiency_{i}")
        for i in range(count)
        for name in ENTRIES
        for share in SHARES
        for seed in range(seeds)
    ]


def test_pages_of_many_varied_suites_stay_small_and_say_what_they_leave_out(save, tmp_path, monkeypatch):
    """27 suites of 5 values and 5 entries, with all the pictures that a page may hold, stay below 5 MB each."""
    monkeypatch.setattr("oscbench.reporting.report.MAX_FIGURES", 2)
    build_report(save(many_suites(4)), tmp_path / "page")
    index, text = ((tmp_path / "page" / name).read_text() for name in ("index.html", "report.md"))
    html = (tmp_path / "page" / "suite-data-efficiency-0.html").read_text()
    without = re.sub("<svg.*?</svg>", "", index, flags=re.DOTALL)
    assert 27 / 4 * len(without.encode()) + EMBEDDED_BYTES < 5e6
    assert len(html.encode()) + EMBEDDED_BYTES < 5e6
    left = re.search(r"\d+ less important figures are left out", index)
    assert left
    assert left[0] in text
    files = re.findall(r'href="(tables/data-efficiency-0-task-fraction-0-05-[^"]*)"', html)
    assert any(name.endswith("-comparisons.csv") for name in files)
    assert any(name.endswith("-health.csv") for name in files)
    for name in files:
        assert (tmp_path / "page" / name).is_file(), name


def test_a_page_that_would_be_too_large_leaves_drawings_to_their_files(save, tmp_path, monkeypatch):
    results = save(many_suites(1))
    monkeypatch.setattr("oscbench.reporting.report.MAX_FIGURES", 6)
    name = "suite-data-efficiency-0.html"
    whole = build_report(results, tmp_path / "whole").with_name(name).read_text()
    drawn = whole.count('role="img"')
    assert drawn == 5, "and the forest plot on the first page"
    limit = len(whole.encode()) - 1
    monkeypatch.setattr("oscbench.reporting.render.html.PAGE_BYTES", limit)
    less = build_report(results, tmp_path / "less").with_name(name).read_text()
    assert len(less.encode()) <= limit
    assert 0 < less.count('role="img"') < drawn
    assert less.count("kept beside this page") == drawn - less.count('role="img"')


def test_the_largest_value_is_shown_and_the_others_are_files(save, tmp_path, monkeypatch):
    monkeypatch.setattr("oscbench.reporting.report.MAX_FIGURES", 2)
    build_report(save(records(LAWS, seeds=2)), tmp_path / "page")
    html = (tmp_path / "page" / "suite-data.html").read_text()
    assert html.count("Health as a table") == 1
    assert "Digits at share of training data 1.0" in html
    shown = set(re.findall(r"data-task-fraction-(\d-?\d*)-digits-health.csv", html))
    assert shown == {"0-05", "0-1", "0-25", "0-5", "1-0"}


def test_a_mean_that_no_single_value_bears_out_says_so():
    def uneven(share, seed):
        return LAWS["plain"](share, seed) + 0.005 + 0.02 * (-1) ** (seed + (share < 0.5))

    (told,) = sweep_answers(only_sweep(records({"plain": LAWS["plain"], "wave": uneven}, shares=(0.1, 1.0))))
    assert told.verdict == "Better: on the mean over all values, at none of them alone"
    assert "No clear difference at share of training data 0.1 and 1." in told.text
    (clear,) = sweep_answers(only_sweep(records(LAWS)))
    assert clear.verdict == "Better"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("seeds", "told"), [(8, "with 8 seeds no p can be below 0.008"), (10, None)])
def test_few_seeds_say_how_small_a_p_can_be(save, tmp_path, seeds, told):
    cells = [
        make_record(m, s, value=v + s / 100) for m, v in (("plain", 0.5), ("wave", 0.6)) for s in range(seeds)
    ]
    build_report(save(cells), tmp_path / "page", formats=("html",))
    text = (tmp_path / "page" / "index.html").read_text()
    assert (told in text) if told else ("no p can be below" not in text)
