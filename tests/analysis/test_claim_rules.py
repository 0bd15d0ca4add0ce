"""What each rule of the ledger finds in made records."""

from __future__ import annotations

import numpy as np
from claim_records import NOISE, WAVE, ask, cells, declaring, outcome, pair, with_floor
from synthetic_records import make_record

from oscbench.analysis.claims.evidence import Evidence, Levels
from oscbench.analysis.claims.rules import find
from oscbench.analysis.frame import Loaded
from oscbench.records import HealthRow, Measurement, Record


def test_better_holds_fails_or_says_what_could_hide() -> None:
    assert outcome(pair(0.02), "better", **WAVE)[0] == "holds"
    assert outcome(pair(-0.02), "better", **WAVE)[0] == "does not hold", (
        "the interval excludes the claimed side"
    )
    verdict, text = outcome(pair(0.0), "better", **WAVE)
    assert verdict == "does not hold"
    assert "equivalent within ±0.5 points" in text
    verdict, text = outcome(pair(0.002, noise=3.0), "better", **WAVE)
    assert verdict == "undecided"
    assert "an advantage of up to 0.96 points could still hide" in text
    verdict, text = outcome(pair(0.02, seeds=6), "better", **WAVE)
    assert verdict == "undecided"
    assert "a verdict takes 8 seeds" in text
    assert outcome(cells("plain", [0.9] * 8), "better", **WAVE)[0] == "not tested"
    assert outcome(pair(0.02, suite="other"), "better", **WAVE) == (
        "not tested",
        "no records of wave and plain in toy here | ",
    )


def test_no_worse_is_judged_against_its_margin() -> None:
    wide = {"margin": "1 points"}
    assert outcome(pair(-0.001), "no worse", **WAVE)[0] == "holds"
    assert outcome(pair(-0.004), "no worse", **WAVE)[0] == "undecided"
    assert outcome(pair(-0.004), "no worse", **WAVE, **wide)[0] == "holds"
    verdict, text = outcome(pair(-0.03), "no worse", **WAVE)
    assert verdict == "does not hold"
    assert "against being worse by 0.5 points" in text
    assert outcome(pair(0.0, noise=0.0), "no worse", **WAVE)[0] == "holds", "equal at every seed"


def test_an_entry_is_above_every_floor_by_the_margin_or_not() -> None:
    entry = {"suite": "toy", "entry": "wave"}
    found = [*pair(0.0), *cells("ring", [0.97] * 8)]
    verdict, text = outcome(with_floor(found, 0.85), "above floors", **entry)
    assert verdict == "holds"
    assert "wave is +5.00 points" in text
    assert "ahead of the floor bag, 8 seeds (toy)" in text
    verdict, text = outcome(with_floor(found, 0.95), "above floors", **entry)
    assert verdict == "does not hold"
    assert "behind the floor bag" in text
    assert outcome(with_floor(found, 0.895), "above floors", **entry)[0] == "undecided", "about the margin"
    assert outcome(with_floor(found[:4] + found[8:12], 0.85), "above floors", **entry)[0] == "undecided", (
        "four seeds"
    )
    assert outcome(found, "above floors", **entry)[0] == "not tested", "no floor"


def test_who_is_below_the_floor_has_nothing_to_lose() -> None:
    best = cells("ring", [0.97] * 8)
    assert outcome(with_floor([*pair(-0.001), *best], 0.85), "no worse", **WAVE)[0] == "holds"
    verdict, text = outcome(with_floor([*pair(-0.001), *best], 0.95), "no worse", **WAVE)
    assert verdict == "undecided"
    assert "wave is +5.10 points" in text
    assert "behind the floor bag: it has nothing to lose" in text
    far = with_floor([*pair(-0.03), *best], 0.95)
    assert outcome(far, "no worse", **WAVE)[0] == "does not hold", "who is worse is worse"
    swept = []
    for size, floor in ((50, 0.85), (100, 0.95)):
        label = {"suite": f"toy[n={size}]"}
        swept += [r.model_copy(update=label) for r in with_floor([*pair(-0.001), *best], floor)]
    assert outcome(swept, "no worse", **WAVE)[0] == "holds", "above it somewhere"


def test_equal_names_of_entries_are_told_apart() -> None:
    records = [*pair(0.02), *cells("plain", [0.5] * 8, variant="broken")]
    evidence = Evidence(Loaded(tuple(records), (), ()))
    asks = [ask("better", treatment="wave", baseline=b) for b in ("plain:broken", "plain")]
    broken, usual = find(asks, evidence, Levels())
    assert "+42.00 points" in broken.text
    assert "+2.00 points" in usual.text


def test_a_suite_that_varies_is_asked_over_its_values_or_at_one() -> None:
    records = [r for n, lift in ((50, 0.03), (100, -0.01)) for r in pair(lift, suite=f"toy[train.steps={n}]")]
    assert outcome(records, "better", **WAVE)[0] == "holds"
    verdict, text = outcome(records, "better", **WAVE, value="train.steps=100")
    assert verdict == "does not hold"
    assert "(toy, train.steps=100)" in text


def test_less_of_a_measure_is_paired_by_seed() -> None:
    def with_error(mechanism: str, error: float, noise: float = 1.0) -> list[Record]:
        return [
            measured(r, error=error + noise * float(NOISE[seed]))
            for seed, r in enumerate(cells(mechanism, [0.9] * 8))
        ]

    given = WAVE | {"measure": "error"}
    plain = with_error("plain", 0.05, 0.0)
    assert outcome(with_error("wave", 0.03) + plain, "less", **given)[0] == "holds"
    verdict, text = outcome(with_error("wave", 0.07) + plain, "less", **given)
    assert verdict == "does not hold"
    assert "+2.00 points" in text
    assert outcome(with_error("wave", 0.05) + plain, "less", **given)[0] == "undecided"
    assert outcome(cells("wave", [0.9] * 8) + plain, "less", **given)[0] == "not tested"


def measured(record: Record, **values: float) -> Record:
    found = {
        name: Measurement(value=value, unit="fraction", label=f"Accuracy {name}", direction="higher")
        for name, value in values.items()
    }
    return record.model_copy(update={"measures": {**record.measures, **found}})


def robust(mechanism: str, losses: list[float]) -> list[Record]:
    return [
        measured(r, whole=0.95, noisy=0.95 - loss)
        for r, loss in zip(cells(mechanism, [0.95] * len(losses)), losses, strict=True)
    ]


def test_loses_less_pairs_what_each_seed_loses() -> None:
    given = WAVE | {"whole": "whole", "changed": "noisy"}
    little, much = (list(0.05 + shift + NOISE) for shift in (0.0, 0.03))
    verdict, text = outcome(robust("wave", little) + robust("plain", much), "loses less", **given)
    assert verdict == "holds"
    assert "wave loses 5.00 points, plain 8.00 points" in text
    assert (
        outcome(robust("wave", much) + robust("plain", little), "loses less", **given)[0] == "does not hold"
    )
    alike = robust("wave", list(0.05 + NOISE[::-1])) + robust("plain", little)
    assert outcome(alike, "loses less", **given)[0] == "undecided"
    verdict, text = outcome(alike, "loses less", **given, margin="2 points")
    assert verdict == "holds"
    assert "against losing 2 points more" in text
    assert (
        outcome(robust("wave", little[:6]) + robust("plain", much[:6]), "loses less", **given)[0]
        == "undecided"
    )
    assert outcome(cells("wave", [0.9]) + cells("plain", [0.9]), "loses less", **given)[0] == "not tested"


def test_seeds_that_did_not_learn_are_not_asked_what_they_lose() -> None:
    learned = {"of": {"measure": "whole", "level": 0.5}}
    little, much = (list(0.05 + shift + NOISE) for shift in (0.0, 0.03))
    records = robust("wave", little) + robust("plain", much)
    failed = (
        measured(make_record("wave", 8), whole=0.1, noisy=0.1),
        measured(make_record("plain", 8), whole=0.9, noisy=0.8),
    )
    given = WAVE | {"whole": "whole", "changed": "noisy"}
    assert "9 seeds, p" in outcome([*records, *failed], "loses less", **given)[1]
    assert (
        "8 seeds that have whole of 0.5 or more, p"
        in outcome([*records, *failed], "loses less", **given, **learned)[1]
    )
    level = {"entry": "wave", "measure": "whole", "less": "noisy", "at_most": 0.1}
    assert "9 seeds (" in outcome([*records, *failed], "level", **level)[1]
    assert (
        "8 seeds that have whole of 0.5 or more ("
        in outcome([*records, *failed], "level", **level, **learned)[1]
    )


def test_a_level_is_asked_of_the_whole_interval() -> None:
    settled = [measured(r, settled=0.95 + x) for r, x in zip(cells("wave", [0.9] * 8), NOISE, strict=True)]
    given = {"entry": "wave", "measure": "settled"}
    verdict, text = outcome(settled, "level", **given, at_least=0.9)
    assert verdict == "holds"
    assert "asked for at least 90.0 %, 8 seeds" in text
    assert outcome(settled, "level", **given, at_least=0.95)[0] == "undecided"
    assert outcome(settled[:7], "level", **given, at_least=0.9)[0] == "undecided", (
        "a verdict takes eight seeds"
    )
    assert outcome(settled, "level", **given, at_most=0.9)[0] == "does not hold"
    assert outcome(settled, "level", entry="wave", measure="nothing", at_most=0.9)[0] == "not tested"


def test_a_level_less_another_measure_is_what_is_lost_and_not_what_was_never_there() -> None:
    """A seed that trained badly loses nothing to noise."""
    before = np.array([0.95, 0.95, 0.6, 0.95, 0.95, 0.95, 0.7, 0.95])
    lost = [
        measured(r, whole=float(w), noisy=float(w - 0.005 - x))
        for r, w, x in zip(cells("wave", [0.9] * 8), before, NOISE, strict=True)
    ]
    given = {"entry": "wave", "measure": "whole", "less": "noisy"}
    verdict, text = outcome(lost, "level", **given, at_most=0.01)
    assert verdict == "holds"
    assert "+0.50 points" in text
    assert "at most +1.00 points" in text
    assert outcome(lost, "level", **given, at_most=0.001)[0] == "does not hold"
    assert outcome(lost, "level", entry="wave", measure="whole", less="nothing", at_most=1)[0] == "not tested"


def test_a_level_over_a_floor_takes_each_cells_own_floor_off() -> None:
    def over(by: float) -> list[Record]:
        made = []
        for r, x in zip(cells("wave", [0.9] * 8), NOISE, strict=True):
            one = measured(r, bound=0.5 + 10 * x)
            floors = {"floors": {"places": [0.1, 0.5 + 9 * x - by], "alone": 0.4}}
            details = floors | {"start": [0.2, 0.45 + 9 * x - by]}
            bound = one.measures["bound"].model_copy(update={"details": details})
            made.append(one.model_copy(update={"measures": {**one.measures, "bound": bound}}))
        return made

    given = {"entry": "wave", "measure": "bound", "at_least": 0.0}
    verdict, text = outcome(over(0.05), "level", **given, over="places")
    assert verdict == "holds"
    assert "over the floor places 5.0 %" in text, "of the last layer"
    assert outcome(over(-0.05), "level", **given, over="places")[0] == "does not hold"
    assert outcome(over(0.05), "level", **given, over="alone")[0] == "holds"
    assert outcome(over(0.05), "level", **given, over="nowhere")[0] == "not tested"
    verdict, text = outcome(over(-0.04), "level", **given, over="start")
    assert verdict == "holds"
    assert "over what it was before training 1.0 %" in text, "of the last layer"
    assert outcome(over(-0.06), "level", **given, over="start")[0] == "does not hold"


def test_fails_less_counts_seeds() -> None:
    given = WAVE | {"measure": "accuracy", "level": 0.85}
    good, bad = [0.97] * 8, [0.5] * 7 + [0.97]
    assert outcome(cells("wave", good) + cells("plain", bad), "fails less", **given)[0] == "holds"
    assert outcome(cells("wave", bad) + cells("plain", good), "fails less", **given)[0] == "does not hold"
    verdict, text = outcome(cells("wave", good) + cells("plain", good), "fails less", **given)
    assert verdict == "undecided"
    assert "up to 37 % of plain's seeds could fail" in text
    few = cells("wave", good[:6]) + cells("plain", bad[:6])
    verdict, text = outcome(few, "fails less", **given)
    assert verdict == "undecided"
    assert "a verdict takes 8 seeds" in text


def test_levels_of_health_times_and_counts() -> None:
    def locked(*shares: float) -> list[Record]:
        rows = [(HealthRow(when="end", layer=0, quantities={"locked_share": s}),) for s in shares]
        return [make_record("lock", seed).model_copy(update={"health": row}) for seed, row in enumerate(rows)]

    bound = {"entry": "lock", "quantity": "locked_share", "when": "end", "at_most": 0.5}
    assert outcome(locked(*[0.1, 0.12] * 4), "quantity", **bound)[0] == "holds"
    assert outcome(locked(*[0.9, 0.92] * 4), "quantity", **bound)[0] == "does not hold"
    assert outcome(locked(*[0.1, 0.9] * 4), "quantity", **bound)[0] == "undecided"
    verdict, text = outcome(locked(*[0.1, 0.12] * 3), "quantity", **bound)
    assert verdict == "undecided"
    assert "a verdict takes 8 seeds" in text, "as of every other rule over seeds"

    def measured(
        mechanism: str, name: str, value: float, variant: str = "default", **details: object
    ) -> Record:
        record = make_record(mechanism, variant=variant)
        measurement = Measurement(value=value, unit="1", label=name, details=dict(details))
        return record.model_copy(update={"measures": record.measures | {name: measurement}})

    def shapes(half: float | None) -> list[Record]:
        return [
            measured("plain", "step_ratio/x", v, variant=str(n), half_width=half)
            for n, v in enumerate((1.05, 1.6))
        ]

    asked = {"measure": "step_ratio/x", "at_most": 1}
    assert outcome(shapes(0.01)[:1], "time", **asked)[0] == "holds", "within what timings differ by"
    assert outcome(shapes(0.01)[1:], "time", **asked)[0] == "does not hold"
    assert outcome(shapes(0.01), "time", **asked)[0] == "does not hold", "it is claimed of every shape"
    verdict, text = outcome(shapes(0.4)[1:], "time", **asked)
    assert verdict == "undecided"
    assert "1.60 [0.96, 2.24]" in text
    verdict, text = outcome(shapes(None), "time", **asked)
    assert verdict == "undecided"
    assert "too few rounds for an interval" in text

    costs = [measured("wave", "ops", 100, of=5), measured("plain", "ops", 90, of=9)]
    assert outcome(costs, "count", **WAVE, measure="ops")[0] == "does not hold"
    assert outcome(costs, "count", **WAVE, measure="ops", detail="of")[0] == "holds"
    close = [measured("wave", "ops", 99.5), measured("plain", "ops", 100)]
    verdict, text = outcome(close, "count", **WAVE, measure="ops")
    assert verdict == "undecided"
    assert "as far as matched models can be" in text

    diverged = [*cells("wave", [0.9] * 8), make_record("wave", 8, status="diverged", reason="NaN")]
    assert outcome(diverged, "finishes", mechanism="wave")[0] == "does not hold"
    verdict, text = outcome(diverged[:8], "finishes", mechanism="wave")
    assert verdict == "holds"
    assert "0 of 8 runs diverged [0, 37 %]" in text
    assert outcome(diverged[:7], "finishes", mechanism="wave")[0] == "undecided"


def lost(records: list[Record], mechanism: str, *seeds: int) -> list[Record]:
    """The same, with runs that diverged at some seeds."""
    return [
        r.model_copy(update={"status": "diverged", "reason": "loss is nan", "measures": {}})
        if r.mechanism == mechanism and r.seed in seeds
        else r
        for r in records
    ]


def test_who_diverged_does_not_win_by_what_is_left() -> None:
    ten = [*pair(0.02, seeds=10)]
    assert outcome(ten, "better", **WAVE)[0] == "holds"
    verdict, text = outcome(lost(ten, "wave", 3), "better", **WAVE)
    assert verdict == "undecided"
    assert "1 of 10 runs of wave diverged or ran out of memory, and what is left may favour it" in text
    assert outcome(lost(ten, "plain", 3), "better", **WAVE)[0] == "holds", "what plain lost favours plain"
    worse = pair(-0.02, seeds=10)
    assert outcome(lost(worse, "wave", 3), "better", **WAVE)[0] == "does not hold"
    assert outcome(lost(worse, "plain", 3), "better", **WAVE)[0] == "undecided"


def test_a_difference_of_nothing_at_all_is_no_gain() -> None:
    """Phases that never move have exactly the score of phases that never move."""
    given = {"entry": "wave", "measure": "accuracy", "less": "accuracy", "at_least": 0.0}
    verdict, text = outcome(pair(0.02), "level", **given)
    assert verdict == "undecided"
    assert "no difference at all" in text


def test_several_values_are_not_taken_for_seeds() -> None:
    records = [
        *pair(0.02, suite="toy[train.steps=50]"),
        *pair(0.02, suite="toy[train.steps=100]"),
    ]
    asked = {"entry": "wave", "measure": "accuracy", "at_least": 0.5}
    assert outcome(records, "level", **asked) == (
        "not tested",
        "toy varies, and the question names none of its values | ",
    )
    verdict, text = outcome(records, "level", **asked, value="train.steps=50")
    assert verdict == "holds"
    assert "8 seeds" in text


def test_every_comparison_says_whether_its_suite_declared_it() -> None:
    records = [measured_again(record, 0.1 if record.mechanism == "wave" else 0.2) for record in pair(0.0)]
    evidence = Evidence(Loaded(tuple(records), (), ()))
    given = ask("less", measure="lost", **WAVE)
    (plain,) = find([given], evidence, Levels())
    assert (plain.outcome, plain.declared, plain.suggests) == ("holds", False, True)
    told = Evidence(Loaded(tuple(declaring(records, "plain - wave")), (), ()))
    (declared,) = find([given], told, Levels())
    assert (declared.declared, declared.suggests) == (True, False), "either way round"


def measured_again(record: Record, value: float) -> Record:
    lost_by = value + 0.001 * float(NOISE[record.seed])
    measurement = Measurement(value=lost_by, unit="1", label="what is lost", direction="lower")
    return record.model_copy(update={"measures": record.measures | {"lost": measurement}})


def in_bits(records: list[Record]) -> list[Record]:
    """The same numbers as bits, of which less is better."""
    return [
        r.model_copy(
            update={
                "measures": {
                    name: one.model_copy(update={"direction": "lower", "unit": "bits/character"})
                    for name, one in r.measures.items()
                }
            }
        )
        for r in records
    ]


def test_of_bits_less_is_better_in_claims_too() -> None:
    assert outcome(in_bits(pair(-0.05)), "better", **WAVE)[0] == "holds"
    assert outcome(in_bits(pair(0.05)), "better", **WAVE)[0] == "does not hold"


def test_of_bits_who_gains_fewer_loses_less() -> None:
    def bits(mechanism: str, more: float) -> list[Record]:
        return in_bits(
            [
                r.model_copy(
                    update={
                        "measures": {
                            name: r.measures["accuracy"].model_copy(update={"value": value, "label": name})
                            for name, value in (("whole", 2.0), ("long", 2.0 + more + 0.001 * r.seed))
                        }
                    }
                )
                for r in cells(mechanism, [0.9] * 8)
            ]
        )

    given = WAVE | {"whole": "whole", "changed": "long"}
    assert outcome(bits("wave", 0.1) + bits("plain", 0.5), "loses less", **given)[0] == "holds"
    assert outcome(bits("wave", 0.5) + bits("plain", 0.1), "loses less", **given)[0] == "does not hold"


def test_a_seed_fails_above_a_level_where_less_is_better() -> None:
    given = WAVE | {"measure": "accuracy", "level": 0.3, "direction": "lower"}
    good, bad = [0.1] * 8, [0.5] * 8
    assert outcome(cells("wave", good) + cells("plain", bad), "fails less", **given)[0] == "holds"
    assert outcome(cells("wave", bad) + cells("plain", good), "fails less", **given)[0] == "does not hold"


def test_a_task_whose_best_entry_is_at_its_floor_decides_no_claim() -> None:
    assert outcome(with_floor(pair(0.02), 0.5), "better", **WAVE)[0] == "holds"
    assert outcome(with_floor(pair(0.02), 0.99), "better", **WAVE)[0] == "undecided"
