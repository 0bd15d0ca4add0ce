"""What is compared with what: names, headline entries, and the comparisons that a suite declares."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from synthetic_records import START, make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import headline_entries, pairs_asked, pairs_declared
from oscbench.analysis.statistics.equivalence import Equivalence
from oscbench.analysis.study import Study, assemble
from oscbench.errors import ReportError
from oscbench.records import Matching, Measurement, Record


def report(records: list[Record], *compare: str) -> Study:
    return assemble(Loaded(tuple(sorted(records, key=lambda r: (r.suite, r.task))), (), ()), compare)


def cell(
    mechanism: str, variant: str = "default", validation: float | None = None, **changes: object
) -> Record:
    record = make_record(mechanism, variant=variant, **changes)  # type: ignore[arg-type]
    if validation is None:
        return record
    measured = Measurement(value=validation, unit="fraction", label="validation accuracy", direction="higher")
    return record.model_copy(update={"measures": record.measures | {"validation_accuracy": measured}})


CELLS = [cell("plain"), cell("lock", "a"), cell("lock", "b")]


def shown(compare: list[str], cells: list[Record] = CELLS) -> list[tuple[str, str]]:
    (pairs,) = pairs_asked(compare, [cells])
    return [(str(p.treatment), str(p.baseline)) for p in pairs]


def test_the_last_name_is_the_baseline_and_each_list_has_its_own() -> None:
    assert shown(["lock:a,lock:b,plain"]) == [("lock:a", "plain:default"), ("lock:b", "plain:default")]
    assert shown(["lock:a,plain", "lock:a,plain:default"]) == [("lock:a", "plain:default")]
    assert [pair[1] for pair in shown(["lock:a,plain", "plain,lock:b"])] == ["plain:default", "lock:b"]
    assert shown(["lock:a,lock:b"]) == [("lock:a", "lock:b")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["plan,lock"], 'nothing is called "plan" .*did you mean "plain"'),
        (["lock:c,plain"], 'did you mean "lock:[ab]"'),
        (["plain"], "give a baseline"),
        (["lock,plain", "plain"], "give a baseline"),
        (["plain,plain"], "give a baseline"),
        ([" , "], "no names"),
    ],
)
def test_bad_compare_names(names: list[str], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        pairs_asked(names, [CELLS])


def test_a_bare_name_means_the_entry_that_stands_for_the_mechanism() -> None:
    default, ablation = cell("wave", validation=0.8), cell("wave", "still", 0.9)
    assert headline_entries([default, ablation])["wave"].variant == "default", "an ablation stands for nobody"
    control = cell("wave", "big", 0.99)
    own = Matching(by="flops", reference="ring", hidden=9, control=True)
    control = control.model_copy(update={"matching": own})
    grid = [cell("lock", name, score) for name, score in (("a", 0.7), ("b", 0.9))]
    found = headline_entries([control, *grid])
    assert found["wave"].variant == "big", "a control where there is nothing else"
    assert found["lock"].variant == "b", "without a default, validation chooses"


def test_validation_chooses_among_entries_that_differ_in_position_alone() -> None:
    learned = cell("wave", "position=learned", 0.9)
    assert headline_entries([cell("wave", validation=0.8), learned])["wave"].variant == "position=learned"
    assert headline_entries([cell("wave", validation=0.95), learned])["wave"].variant == "default"
    assert headline_entries([cell("wave"), learned])["wave"].variant == "default", (
        "not measured on validation"
    )
    other = cell("plain", "position=learned", 0.9)
    cells = [cell("wave", validation=0.8), learned, cell("plain", validation=0.95), other]
    assert shown(["wave,plain"], cells) == [("wave:position=learned", "plain:default")]


def test_positions_alone_make_no_variant_of_a_mechanism() -> None:
    variants = {
        "position=none": 0.7,
        "position=learned+own": 0.8,
        "locked+position=own": 0.9,
        "spread-1": 0.99,
    }
    cells = [cell("wave", variant, score) for variant, score in variants.items()]
    assert headline_entries(cells)["wave"].variant == "position=learned+own"


def test_a_bare_name_may_mean_another_entry_in_another_suite_but_not_at_another_value() -> None:
    def suite(label: str, score: float) -> list[Record]:
        learned = cell("wave", "position=learned", score, suite=label)
        return [cell("wave", validation=0.8, suite=label), learned, cell("plain", suite=label)]

    made = report(
        [*suite("x[train.steps=50]", 0.7), *suite("x[train.steps=100]", 0.99), *suite("y", 0.1)], "wave,plain"
    )
    assert [c.treatment for e in made.experiments for c in e.comparisons] == [
        "wave (position=learned)",
        "wave (position=learned)",
        "wave",
    ]


def family(
    seeds: int, declared: list[list[str]], mechanisms: tuple[str, ...] = ("plain", "wave", "ring")
) -> list[Record]:
    given = {"compare": declared}
    return [make_record(m, s, spec_given=given) for m in mechanisms for s in range(seeds)]


def test_a_suite_that_declares_is_asked_that_and_its_family_is_the_correction() -> None:
    records = family(8, [["wave", "plain"], ["ring", "plain"]])
    both = report(records).comparisons
    assert [(c.name, c.role, c.tested) for c in both] == [
        ("wave − plain", "confirms", 2),
        ("ring − plain", "confirms", 2),
    ]
    (one,) = report(records, "wave,plain").comparisons
    assert (one.role, one.tested, one.p_holm) == ("confirms", 2, both[0].p_holm), (
        "asked alone, its family stays"
    )
    assert one.adjusted is not None
    assert one.paired is not None
    assert one.adjusted.low < one.paired.interval.low
    (other,) = report(records, "wave,ring").comparisons
    assert (other.role, other.tested) == ("explores", 1)
    assert other.caveats[0].startswith("explores")
    (turned,) = report(records, "plain,wave").comparisons
    assert (turned.role, turned.tested) == ("confirms", 2), "one comparison whichever way round it is asked"
    assert turned.p_holm == both[0].p_holm


def test_a_verdict_takes_eight_seeds_and_five_comparisons() -> None:
    (few,) = report(family(7, [["wave", "plain"]])).comparisons
    assert (few.verdict, few.estimates) == (
        "estimates only",
        "7 paired seeds, and a verdict takes at least 8",
    )
    (enough,) = report(family(8, [["wave", "plain"]])).comparisons
    assert enough.verdict == "better"
    names = [f"m{i}" for i in range(6)]
    many = report(family(8, [[name, "plain"] for name in names], ("plain", *names))).comparisons
    assert {c.verdict for c in many} == {"estimates only"}
    assert many[0].estimates.startswith("6 comparisons are declared")


def declared(told: dict[str, list[list[str]]]) -> list[Record]:
    """A cell of each mechanism, an hour apart, as its suite declared comparisons then."""
    return [
        make_record(
            m, spec_given={"compare": pairs} if pairs else {}, finished_utc=START + timedelta(hours=at)
        )
        for at, (m, pairs) in enumerate(told.items())
    ]


def test_what_is_named_when_a_cell_of_its_entries_is_there_confirms_nothing() -> None:
    first, late = ["wave", "plain"], ["ring", "plain"]
    whole = pairs_declared(declared({"plain": [first], "wave": [first]}))
    assert ([str(pair.treatment) for pair in whole.pairs], whole.count) == (["wave:default"], 1)
    grown = pairs_declared(declared({"plain": [first], "wave": [first], "ring": [first, late]}))
    assert grown.pairs == whole.pairs, "plain had run when ring was declared against it"
    assert grown.count == 2, "it is in the family all the same"
    assert [str(pair.treatment) for pair in grown.late] == ["ring:default"]
    withdrawn = pairs_declared(declared({"plain": [first], "wave": []}))
    assert (withdrawn.pairs, withdrawn.count) == ((), 1)
    other = pairs_declared(declared({"plain": [first], "wave": [first], "ring": []}))
    assert other.pairs == whole.pairs, "who is no party to it withdraws nothing"


def test_half_of_a_suite_is_corrected_as_all_of_it_will_be() -> None:
    both = [["wave", "plain"], ["ring", "plain"]]
    whole = report(family(8, both), "wave,plain").comparisons[0]
    half = report(family(8, both, ("plain", "wave"))).comparisons
    assert [(c.name, c.tested, c.p_holm) for c in half] == [(whole.name, 2, whole.p_holm)]
    assert half[0].adjusted == whole.adjusted


def test_a_floor_made_anew_withdraws_no_declaration() -> None:
    given = {"compare": [["wave", "plain"]]}
    cells = [make_record("plain", spec_given=given), make_record("wave", spec_given=given)]
    floor = make_record("bag", spec={"kind": "floor"}, spec_given={}, finished_utc=START + timedelta(days=1))
    assert pairs_declared([*cells, floor]) == pairs_declared(cells)


def test_a_pair_declared_over_values_confirms_over_all_of_them() -> None:
    given = {"compare": [["wave", "plain"]]}
    records = [
        make_record(m, s, suite=f"x[train.steps={steps}]", spec_given=given)
        for m in ("plain", "wave", "ring")
        for s in range(8)
        for steps in (50, 100)
    ]
    (whole,) = report(records).comparisons
    assert (whole.role, whole.verdict, whole.tested) == ("confirms", "better", 1)
    (asked,) = report(records, "ring,plain").comparisons
    assert (asked.name, asked.role) == ("ring − plain", "explores")


def test_a_value_differs_only_where_its_pair_does() -> None:
    """Of five values one stands out by chance often enough; their pair over all of them has to differ too."""
    rng = np.random.default_rng(0)
    lift = {50: 0.05, 100: -0.05, 200: 0.0}
    records = [
        make_record(
            m,
            s,
            suite=f"x[train.steps={steps}]",
            value=0.8 + (m == "wave") * rise + float(rng.normal(0, 0.004)),
        )
        for m in ("plain", "wave")
        for s in range(8)
        for steps, rise in lift.items()
    ]
    made = report(records, "wave,plain")
    (whole,) = made.comparisons
    assert whole.p_holm > 0.05
    points = [c for e in made.experiments for c in e.comparisons]
    assert sorted(c.paired.p < 0.01 for c in points if c.paired) == [False, True, True]
    assert {c.verdict for c in points} == {"no clear difference"}


def test_an_entry_has_the_name_that_its_own_suite_needs() -> None:
    """What sets it apart from another suite's entry of the mechanism stands beside, as that suite's positions do."""
    cells = [make_record(name, seed) for name in ("plain", "wave") for seed in range(3)]
    cells += [
        make_record("wave", seed, variant=variant, suite="other")
        for variant in ("position=own", "frozen")
        for seed in range(3)
    ]
    cells += [make_record("plain", seed, suite="other") for seed in range(3)]
    study = report(cells)
    named = {e.suite: sorted(s.name for s in e.standings) for e in study.experiments}
    assert named == {"other": ["plain", "wave", "wave (frozen)"], "toy": ["plain", "wave"]}
    assert sorted(study.names.values()) == ["plain", "wave", "wave (frozen)", "wave (position=own)"]


def test_equivalence_in_half_of_a_suite_is_corrected_as_all_of_it_will_be() -> None:
    given = {"compare": [["wave", "plain"], ["ring", "plain"]], "margin": "1 points"}
    noise = [0.004, -0.002, 0.003, -0.005, 0.001, -0.001, 0.002, -0.002]

    def shown(*names: str) -> Equivalence:
        records = [
            make_record(m, seed, value=0.9 + (m != "plain") * (0.001 + noise[seed]), spec_given=given)
            for m in names
            for seed in range(8)
        ]
        (found,) = (c.equivalence for c in report(records).comparisons if c.treatment == "wave")
        assert found is not None
        return found

    for one in (shown("plain", "wave"), shown("plain", "wave", "ring")):
        assert one.p_adjusted == pytest.approx(2 * one.p)


def test_twice_the_seconds_of_a_step_are_half_the_speed() -> None:
    records = [
        r.model_copy(
            update={
                "measures": r.measures
                | {"step_s": r.measures["step_s"].model_copy(update={"value": seconds})}
            }
        )
        for mechanism, seconds in (("plain", 0.01), ("wave", 0.02))
        for seed in range(3)
        for r in [make_record(mechanism, seed)]
    ]
    (found,) = report(records, "wave,plain").comparisons
    assert found.costs.speed == pytest.approx(0.5)
