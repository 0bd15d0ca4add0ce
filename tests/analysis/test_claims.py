"""The ledger: every rule on made records, verdicts over grounds, and a page that is what the committed records say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from synthetic_records import make_record

from oscbench.analysis.claims.evidence import CORRECTED, Evidence
from oscbench.analysis.claims.ledger import Ask, Claim, Ground, read_claims
from oscbench.analysis.claims.rules import find
from oscbench.analysis.claims.verdicts import Judged, combined, counted, fill
from oscbench.analysis.frame import Loaded, load
from oscbench.analysis.published.numbers import PublishedError
from oscbench.analysis.statistics.seeds import LEVEL
from oscbench.errors import UserError
from oscbench.records import Curve, HealthRow, Measurement, Record

ROOT = Path(__file__).resolve().parents[2]
NOISE = np.array([0.004, -0.002, 0.003, -0.005, 0.001, -0.001, 0.002, -0.002])


def ask(rule: str, **given: object) -> Ask:
    read: Ask = TypeAdapter(Ask).validate_python({"rule": rule, "suite": "toy", **given})
    return read


def cells(mechanism: str, values: list[float], **changes: object) -> list[Record]:
    return [make_record(mechanism, seed, value=v, **changes) for seed, v in enumerate(values)]  # type: ignore[arg-type]


def pair(lift: float, noise: float = 1.0, seeds: int = 8, **changes: object) -> list[Record]:
    plain = [0.9] * seeds
    wave = [0.9 + lift + noise * float(NOISE[s % 8]) for s in range(seeds)]
    return [*cells("plain", plain, **changes), *cells("wave", wave, **changes)]


def outcome(records: list[Record], rule: str, **given: object) -> tuple[str, str]:
    (found,) = find([ask(rule, **given)], Evidence(Loaded(tuple(records), (), ())), LEVEL)
    return found.outcome, found.text + " | " + found.hides


WAVE = {"treatment": "wave", "baseline": "plain"}


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


def claim_of(*grounds: list[Ask]) -> Claim:
    made = tuple(Ground(ground=f"g{at}", asks=tuple(asks)) for at, asks in enumerate(grounds))
    return Claim(id="X", claim="waves are better", source="none", grounds=made)


def declaring(records: list[Record], *pairs: str) -> list[Record]:
    """Records of a suite that declared these comparisons before it ran."""
    told = {"compare": [pair.split(" - ") for pair in pairs]}
    return [r.model_copy(update={"spec_given": r.spec_given | told}) for r in records]


def test_what_speaks_against_a_claim_is_corrected_over_its_questions() -> None:
    # A mean of 0.95 standard deviations below 0 lies outside the 95 % interval of eight seeds, and inside that of three questions.
    spread = 0.006 * NOISE / NOISE.std(ddof=1)
    below = [0.9 - 0.95 * 0.006 + x for x in spread]
    records = [
        *cells("plain", [0.9] * 8),
        *cells("wave", below),
        *cells("ring", [0.8] * 8),
        *cells("lock", [0.7] * 8),
    ]
    names = ("wave", "ring", "lock")
    loaded = Loaded(tuple(declaring(records, *(f"{t} - plain" for t in names))), (), ())
    wave, ring, lock = (ask("better", treatment=t, baseline="plain") for t in names)

    def outcomes(*grounds: list[Ask]) -> list[str]:
        (entry,) = fill([claim_of(*grounds)], loaded)
        return [finding.outcome for judged in entry.grounds for finding in judged.findings]

    assert outcomes([wave]) == ["does not hold"]
    corrected = ["undecided", "does not hold", "does not hold"]
    assert outcomes([wave, ring, lock]) == corrected
    assert outcomes([wave], [ring], [lock]) == corrected, "one ground is enough against a claim"
    later = [one.model_copy(update={"asked": "later"}) for one in (ring, lock)]
    assert outcomes([wave], later)[0] == "does not hold", "what decides nothing costs nothing"


def test_what_was_chosen_after_the_records_were_there_keeps_a_ground_open_and_decides_none() -> None:
    def verdict(records: list[Record], *asks: Ask) -> tuple[str, list[str]]:
        (entry,) = fill([claim_of(list(asks))], Loaded(tuple(records), (), ()))
        return entry.verdict, entry.lines

    plain = ask("better", **WAVE)
    late = ask("better", **WAVE, asked="after the records were there")
    for lift, found, decided in ((0.02, "holds", "holds in part"), (-0.02, "does not hold", "does not hold")):
        chosen, declared = pair(lift), declaring(pair(lift), "wave - plain")
        assert verdict(declared, plain)[0] == decided
        for records, one in ((chosen, plain), (declared, late)):
            said, lines = verdict(records, one)
            assert said == "undecided"
            assert lines[0].startswith(f"G0: *suggests that it {found}*. ")
    assert verdict(declaring(pair(0.02), "wave - plain"), plain, late)[0] == "undecided"
    assert verdict(declaring(pair(-0.02), "wave - plain"), plain, late)[0] == "does not hold"


def test_no_worse_is_judged_against_its_margin() -> None:
    wide = {"margin": "1 points"}
    assert outcome(pair(-0.001), "no worse", **WAVE)[0] == "holds"
    assert outcome(pair(-0.004), "no worse", **WAVE)[0] == "undecided"
    assert outcome(pair(-0.004), "no worse", **WAVE, **wide)[0] == "holds"
    verdict, text = outcome(pair(-0.03), "no worse", **WAVE)
    assert verdict == "does not hold"
    assert "against being worse by 0.5 points" in text
    assert outcome(pair(0.0, noise=0.0), "no worse", **WAVE)[0] == "holds", "equal at every seed"


def with_floor(records: list[Record], floor: float) -> list[Record]:
    """The same on one draw of data, with an untrained floor."""
    (bag,) = cells("bag", [floor])
    bag = bag.model_copy(update={"spec": bag.spec | {"kind": "floor"}})
    return [r.model_copy(update={"data_hash": "d"}) for r in (*records, bag)]


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
    broken, usual = find(asks, evidence, LEVEL)
    assert "+42.00 points" in broken.text
    assert "+2.00 points" in usual.text


def test_a_suite_that_varies_is_asked_over_its_values_or_at_one() -> None:
    records = [r for n, lift in ((50, 0.03), (100, -0.01)) for r in pair(lift, suite=f"toy[train.steps={n}]")]
    assert outcome(records, "better", **WAVE)[0] == "holds"
    verdict, text = outcome(records, "better", **WAVE, value="train.steps=100")
    assert verdict == "does not hold"
    assert "(toy, train.steps=100)" in text


def learning(mechanism: str, steps: list[float | None]) -> list[Record]:
    found = []
    for seed, step in enumerate(steps):
        y = (0.5, 0.5) if step is None else (0.5, 0.96)
        curve = Curve(label="v", unit="fraction", direction="higher", x=(1.0, step or 800.0), y=y)
        record = make_record(mechanism, seed)
        found.append(record.model_copy(update={"curves": record.curves | {"validation_accuracy": curve}}))
    return found


def test_sooner_takes_the_ratio_of_steps_seed_by_seed() -> None:
    slow = [200.0, 210, 190, 220, 200, 230, 180, 200]
    fast = [s * f for s, f in zip(slow, (0.6, 0.7, 0.65, 0.6, 0.7, 0.5, 0.6, 0.7), strict=True)]
    given = WAVE | {"targets": [0.95]}
    verdict, text = outcome(learning("wave", fast) + learning("plain", slow), "sooner", **given)
    assert verdict == "holds"
    ratio = np.exp(np.log(np.array(fast) / slow).mean())
    assert f"{ratio:.2f} times the steps" in text
    assert outcome(learning("wave", slow) + learning("plain", fast), "sooner", **given)[0] == "does not hold"
    never = learning("wave", [None, *fast[1:]]) + learning("plain", slow)
    verdict, text = outcome(never, "sooner", **given)
    assert verdict == "undecided"
    assert "at 1 of 8 seeds one of them never got there" in text


def test_of_several_levels_the_geometric_mean_counts() -> None:
    def two_levels(mechanism: str, first: float, second: float) -> list[Record]:
        found = []
        for seed in range(8):
            jitter = 1.0 + float(NOISE[seed])
            curve = Curve(
                label="v",
                unit="fraction",
                direction="higher",
                x=(1.0, first * jitter, second),
                y=(0.1, 0.92, 0.96),
            )
            record = make_record(mechanism, seed)
            found.append(record.model_copy(update={"curves": {"validation_accuracy": curve}}))
        return found

    cells = two_levels("wave", 100, 400) + two_levels("plain", 200, 410)
    verdict, text = outcome(cells, "sooner", **WAVE, targets=[0.9, 0.95])
    assert verdict == "holds"
    assert f"{np.sqrt(0.5 * 400 / 410):.2f} times the steps" in text
    assert "90.0 % and 95.0 %" in text


def sized(mechanism: str, results: dict[float, float], noise: float = 1.0) -> list[Record]:
    return [
        make_record(
            mechanism, seed, value=y + noise * float(NOISE[seed]), suite=f"toy[task.fraction={share}]"
        )
        for share, y in results.items()
        for seed in range(8)
    ]


def test_needs_less_reads_between_sizes_on_a_logarithmic_scale() -> None:
    given = WAVE | {"over": "task.fraction", "targets": [0.8]}
    plain = sized("plain", {0.1: 0.7, 0.4: 0.9, 1.0: 0.88}, noise=0.0)  # 0.8 lies half way from 0.1 to 0.4
    wave = sized("wave", {0.1: 0.8, 0.4: 0.9, 1.0: 0.95}, noise=0.0)
    verdict, text = outcome(wave + plain, "needs less", **given)
    assert verdict == "holds"
    assert "0.50 times task.fraction" in text
    assert "(8 and 0 of 8 at the smallest size, which counts as needed)" in text
    verdict, text = outcome(wave + plain, "needs less", **given | {"targets": [0.81]})
    assert "smallest size" not in text
    assert outcome(plain + wave, "needs less", **given | {"treatment": "plain", "baseline": "wave"})[0] == (
        "does not hold"
    )
    verdict, text = outcome(wave + plain, "needs less", **given | {"targets": [0.8, 0.92]})
    assert verdict == "undecided"
    assert "never got there" in text, "0.92 is above all that the baseline ever had"
    noisy = sized("wave", {0.1: 0.7, 0.4: 0.9}, noise=4.0) + sized("plain", {0.1: 0.7, 0.4: 0.9}, noise=-4.0)
    assert outcome(noisy, "needs less", **given)[0] == "undecided"
    assert outcome(plain, "needs less", **given)[0] == "not tested"


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


def test_what_speaks_against_is_corrected_over_all_kinds_of_questions() -> None:
    """One ground, two kinds: the same difference speaks against a claim alone, and no longer beside others."""
    spread = 0.006 * NOISE / NOISE.std(ddof=1)
    records = [*cells("plain", [0.9] * 8), *cells("wave", [0.9 - 0.95 * 0.006 + x for x in spread])]
    loaded = Loaded(tuple(records), (), ())
    better = ask("better", **WAVE)
    others = [ask("finishes", mechanism="wave"), ask("finishes", mechanism="plain")]
    (alone,), (beside,) = (fill([claim_of(asks)], loaded) for asks in ([better], [better, *others]))
    assert alone.grounds[0].findings[0].outcome == "does not hold"
    found = beside.grounds[0].findings
    assert [one.outcome for one in found] == ["undecided", "holds", "holds"]
    assert found[0].hides == CORRECTED


def test_when_a_question_was_asked_is_told() -> None:
    late = ask("better", **WAVE, asked="after the records were there")
    (entry,) = fill([claim_of([late])], Loaded(tuple(pair(0.02)), (), ()))
    assert entry.lines[0].endswith("; asked after the records were there.")
    assert entry.grounds[0].findings[0].outcome == "holds"


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
    assert outcome(shapes(0.01), "time", **asked)[0] == "undecided"
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


def followed(mechanism: str, lift: float, seeds: int = 8, status: str = "ok") -> list[Record]:
    """Cells whose last of two layers rises by `lift` over 100 steps, give or take a seed's noise; the first layer falls."""
    found = []
    for seed in range(seeds):
        ends = {0: (0.9, 0.1), 1: (0.2, 0.2 + lift + float(NOISE[seed]))}
        curves = {
            f"gini/{layer}": Curve(label="gini", unit="1", layer=layer, x=(0, 10, 100), y=(y0, y1, y1))
            for layer, (y0, y1) in ends.items()
        }
        made = make_record(mechanism, seed, status=status, reason=None if status == "ok" else "NaN")
        found.append(made.model_copy(update={"curves": made.curves | curves}))
    return found


def test_a_quantity_rises_where_the_last_layer_ends_above_its_start() -> None:
    given = {"entry": "wave", "quantity": "gini"}
    verdict, text = outcome(followed("wave", 0.1), "rises", **given)
    assert verdict == "holds"
    assert "gini in the last layer from 0.200 to 0.300 over 100 steps" in text
    assert outcome(followed("wave", -0.1), "rises", **given)[0] == "does not hold"
    assert outcome(followed("wave", 0.0), "rises", **given)[0] == "undecided"
    verdict, text = outcome(followed("wave", 0.1, seeds=7), "rises", **given)
    assert (verdict, "a verdict takes 8 seeds" in text) == ("undecided", True)
    assert outcome(followed("wave", 0.1, status="diverged"), "rises", **given)[0] == "not tested"
    assert outcome(cells("wave", [0.9] * 8), "rises", **given)[0] == "not tested", "nobody looked on the way"


def test_a_quantity_rises_more_than_another_entrys_where_pairs_of_seeds_say_so() -> None:
    given = {"entry": "wave", "quantity": "gini", "over": "plain"}
    verdict, text = outcome(followed("wave", 0.3) + followed("plain", 0.2), "rises", **given)
    assert verdict == "holds"
    assert "from 0.200 to 0.500 over 100 steps, +0.100" in text
    assert "minus plain's change, 8 seeds" in text
    assert outcome(followed("wave", 0.2) + followed("plain", 0.3), "rises", **given)[0] == "does not hold"
    lifts = [one for seed in range(8) for one in [followed("wave", 0.1 if seed % 2 else -0.1)[seed]]]
    assert outcome(lifts + followed("plain", 0.0), "rises", **given)[0] == "undecided"
    assert outcome(followed("wave", 0.3), "rises", **given)[0] == "not tested"
    # Seeds that both have are paired.
    assert "5 seeds" in outcome(followed("wave", 0.3) + followed("plain", 0.2, seeds=5), "rises", **given)[1]


def test_an_entry_is_ahead_by_its_mean_over_training_without_its_start() -> None:
    given = {**WAVE, "quantity": "gini"}
    verdict, text = outcome(followed("wave", 0.1) + followed("plain", 0.0), "ahead", **given)
    assert verdict == "holds"
    assert "+0.1" in text
    assert "mean over 2 points of training" in text, "before the first step nothing was trained"
    assert outcome(followed("wave", 0.0) + followed("plain", 0.1), "ahead", **given)[0] == "does not hold"
    lifts = [one for seed in range(8) for one in [followed("wave", 0.1 if seed % 2 else -0.1)[seed]]]
    assert outcome(lifts + followed("plain", 0.0), "ahead", **given)[0] == "undecided"
    assert outcome(followed("wave", 0.1), "ahead", **given)[0] == "not tested"


def test_half_way_takes_the_ratio_of_steps_seed_by_seed() -> None:
    def rising(mechanism: str, steps: list[int], way: float = 0.5) -> list[Record]:
        """A last layer's Gini that goes evenly with the logarithm of the step, and is there at so many steps."""
        found, looks = [], (0, *(2**k for k in range(11)))
        for seed, end in enumerate(steps):
            y = tuple(0.2 + way * min(1.0, float(np.log2(max(x, 1)) / np.log2(end))) for x in looks)
            made = make_record(mechanism, seed)
            curve = {"gini/1": Curve(label="gini", unit="1", layer=1, x=looks, y=y)}
            found.append(made.model_copy(update={"curves": made.curves | curve}))
        return found

    given = WAVE | {"quantity": "gini"}
    slow, quick = rising("plain", [256, 512] * 4), rising("wave", [64, 128] * 4)
    verdict, text = outcome(slow + quick, "half way", **given)
    assert verdict == "holds"
    assert (
        "wave over plain to half of the way of gini in the last layer: 0.50 times the steps [0.50, 0.50], 8 seeds"
        in text
    )
    turned = {"treatment": "plain", "baseline": "wave", "quantity": "gini"}
    assert outcome(slow + quick, "half way", **turned)[0] == "does not hold"
    assert outcome(slow + rising("wave", [256, 512] * 4), "half way", **given)[0] == "undecided"
    assert outcome(slow + quick[:7], "half way", **given)[0] == "undecided"
    still = rising("wave", [64] * 8, way=0.0)
    verdict, text = outcome(slow + still, "half way", **given)
    assert verdict == "undecided"
    assert "at 8 of 8 seeds it never moved" in text
    assert outcome(pair(0.0), "half way", **given)[0] == "not tested"


def spheres(
    gap: float, exponent: float, seeds: int = 8, sizes: tuple[int, ...] = (2, 4, 8, 16, 32)
) -> list[Record]:
    """A mechanism that falls short of plain's 0.9 by a power of its setting, every seed in its own measure."""
    found = []
    for size in sizes:
        for seed in range(seeds):
            value = 0.9 - gap * size**-exponent * (1 + 20 * float(NOISE[(seed + size) % 8]))
            made = make_record("wave", seed, value=value, variant=f"size={size}")
            spec = {**made.spec, "mechanism": {"name": "wave", "size": size}}
            found.append(made.model_copy(update={"spec": spec}))
    return found


def test_a_gap_falls_as_a_power_of_a_setting() -> None:
    given = {**WAVE, "over": "size", "what": "size of the wave"}
    plain = cells("plain", [0.9] * 8)
    verdict, text = outcome(plain + spheres(0.2, 0.5), "falls", **given)
    assert verdict == "holds"
    assert "gap to the power of −0.5" in text
    assert "at 32 of size of the wave, 8 seeds" in text
    assert outcome(plain + spheres(0.02, -0.5), "falls", **given)[0] == "does not hold", "it grows"
    assert outcome(plain + spheres(0.1, 0.0), "falls", **given)[0] in ("undecided", "does not hold")
    verdict, text = outcome(plain + spheres(-0.2, 0.5), "falls", **given)
    assert (verdict, "no power law" in text) == ("undecided", True), "where nothing is behind nothing falls"
    assert outcome(plain + spheres(0.2, 0.5, sizes=(2, 4, 8, 16)), "falls", **given)[0] == "undecided"
    assert outcome(plain + spheres(0.2, 0.5, seeds=7), "falls", **given)[0] == "undecided", (
        "seeds that all have"
    )
    bare = [r.model_copy(update={"spec": {}}) for r in spheres(0.2, 0.5)]
    assert outcome(plain + bare, "falls", **given)[0] == "not tested", "no record says the setting"
    unmeasured = [r.model_copy(update={"measures": {}}) for r in spheres(0.2, 0.5)]
    assert outcome(plain + unmeasured, "falls", **given)[0] == "not tested"
    assert outcome(plain, "falls", **given)[0] == "not tested"
    dent = {r.seed: 0.9 - 0.02 * (1 + 20 * float(NOISE[r.seed])) for r in plain}
    crooked = [
        r
        if r.variant != "size=4"
        else make_record("wave", r.seed, value=dent[r.seed], variant="size=4", spec=r.spec)
        for r in spheres(0.2, 0.5)
    ]
    verdict, text = outcome(plain + crooked, "falls", **given)
    assert verdict == "undecided"
    assert "the gap falls, and not as a power" in text
    assert outcome(spheres(0.2, 0.5), "falls", **given)[0] == "not tested"


def test_a_law_of_gaps_decides_nothing_on_a_task_that_tells_nobody_apart() -> None:
    records = [*cells("plain", [0.9] * 8), *spheres(0.2, 0.5)]
    same = with_floor(records, 0.9)
    given = {**WAVE, "over": "size", "what": "size of the wave"}
    assert outcome(records, "falls", **given)[0] == "holds"
    verdict, text = outcome(same, "falls", **given)
    assert verdict == "undecided"
    assert "ahead of the floor bag" in text


def judged(*outcomes: str, real: bool = True) -> list[Judged]:
    found = []
    for number, one in enumerate(outcomes):
        records = {"holds": pair(0.02), "does not hold": pair(-0.02), "undecided": pair(0.002, noise=3.0)}
        evidence = Evidence(Loaded(tuple(declaring(records.get(one, []), "wave - plain")), (), ()))
        ground = Ground(ground=f"g{number}", real=real and number == 0, asks=(ask("better", **WAVE),))
        found.append(Judged(ground, tuple(find(ground.asks, evidence, LEVEL))))
        assert found[-1].outcome == one
    return found


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (("holds", "holds"), "holds"),
        (("holds",), "holds in part"),
        (("holds", "not tested"), "holds in part"),
        (("holds", "does not hold"), "holds in part"),
        (("does not hold", "undecided"), "does not hold"),
        (("does not hold", "not tested"), "does not hold"),
        (("undecided", "not tested"), "undecided"),
        (("not tested", "not tested"), "not tested here"),
    ],
)
def test_a_claim_is_as_good_as_its_grounds(outcomes: tuple[str, ...], verdict: str) -> None:
    assert combined(judged(*outcomes)) == verdict


@pytest.mark.parametrize(
    ("lift", "asked_for", "seeds", "verdict", "told"),
    [
        (-0.02, 0.85, 8, "does not hold", "given"),
        (-0.02, 0.95, 8, "undecided", "not given, so that nothing is decided here"),
        (0.02, 0.95, 8, "undecided", "not given, so that nothing is decided here"),
        (0.02, 0.85, 8, "holds in part", "given"),
        (-0.02, 0.85, 4, "undecided", "not known to be given: estimates only: a verdict takes 8 seeds"),
    ],
)
def test_nothing_is_decided_before_what_must_be_given_is(
    lift: float, asked_for: float, seeds: int, verdict: str, told: str
) -> None:
    learned = ask("level", entry="wave", measure="accuracy", at_least=asked_for)
    ground = Ground(ground="toys", given=(learned,), asks=(ask("better", **WAVE),))
    claim = Claim(id="X1", claim="waves win", source="nobody", grounds=(ground,))
    (entry,) = fill([claim], Loaded(tuple(declaring(pair(lift, seeds=seeds), "wave - plain")), (), ()))
    assert entry.verdict == verdict
    first, second = entry.lines
    assert first.startswith(f"Toys: *{told}*. wave: ")
    assert "wave − plain" in second
    (absent,) = fill([claim], Loaded(tuple(cells("plain", [0.9] * 8)), (), ()))
    assert absent.lines == ["Toys: not tested here."]


def test_what_nobody_measured_is_not_known_to_be_given() -> None:
    ground = Ground(
        ground="toys",
        given=(ask("level", entry="wave", measure="old_rules", at_least=0.9),),
        asks=(ask("better", **WAVE),),
    )
    claim = Claim(id="X1", claim="waves win", source="nobody", grounds=(ground,))
    (entry,) = fill([claim], Loaded(tuple(pair(-0.02)), (), ()))
    assert entry.verdict == "undecided"
    assert entry.lines[0].startswith("Toys: *not known to be given*. ")


def test_a_ground_that_only_suggests_decides_nothing_and_says_why() -> None:
    given = {"id": "X1", "claim": "waves win", "source": "nobody"}
    ground = Ground(ground="toys", asks=(ask("better", **WAVE),))
    records = Loaded(tuple(declaring(pair(-0.02), "wave - plain")), (), ())
    (against,) = fill([Claim(**given, grounds=(ground,))], records)
    assert (against.verdict, against.rests_on_toys) == ("does not hold", True)
    assert counted([against]) == "Of 1 claims: 1 does not hold (1 of them on made or toy data alone)."
    aside = ground.model_copy(update={"suggests": "nobody claims it there"})
    assert Claim(**given, grounds=(ground, aside)).num_questions == 1, (
        "what may not decide needs no correction"
    )
    (entry,) = fill([Claim(**given, grounds=(aside,))], records)
    assert (entry.verdict, entry.rests_on_toys) == ("undecided", False)
    first, second = entry.lines
    assert first.startswith("Toys: *suggests that it does not hold*. ")
    assert second == "Toys: it decides nothing, since nobody claims it there."
    real = ground.model_copy(update={"real": True})
    (entry,) = fill([Claim(**given, grounds=(real,))], records)
    assert not entry.rests_on_toys


def test_without_real_data_nothing_holds_whole() -> None:
    assert combined(judged("holds", "holds", real=False)) == "holds in part"


def test_the_file_names_every_claim_once_and_suites_that_exist() -> None:
    claims = read_claims()
    assert len(claims) == 29
    suites = {path.stem for path in (ROOT / "suites").glob("*.yaml")}
    for claim in claims:
        for ground in claim.grounds:
            assert ground.asks or ground.takes, (
                f"{claim.id}, {ground.ground}: neither asked nor said what it takes"
            )
            assert {one.suite for one in (*ground.given, *ground.asks)} <= suites


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "claims: [{id: K, claim: c, source: s, grounds: [{ground: g, asks: [{rule: nicer, suite: x}]}]}]",
            "nicer",
        ),
        ("claims: [{id: K, claim: c, source: s, grounds: []}]", "grounds"),
        ("claims: [{id: K, claim: c, source: s, verdict: holds, grounds: [{ground: g}]}]", "verdict"),
        ("[]", "not readable as claims"),
    ],
)
def test_a_bad_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(PublishedError, match=message) as caught:
        read_claims(path)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def reference() -> Loaded:
    return load(ROOT / "results" / "reference")


def test_what_was_found_by_hand_is_what_the_rules_find(reference: Loaded) -> None:
    entries = {entry.claim.id: entry for entry in fill(read_claims(), reference)}
    gamma = next(line for line in entries["K4"].lines if "gamma=0.0" in line)
    assert "*undecided" in gamma, "p = 0.046 alone, and one of two questions of its ground"
    assert entries["K4"].verdict == "does not hold"
    assert entries["S4"].verdict == "does not hold"
    assert "0.81 times the steps [0.68, 0.96]" in " ".join(entries["K1"].lines)
