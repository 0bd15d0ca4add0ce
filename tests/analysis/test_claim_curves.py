"""Rules of the ledger that read more than one number a cell: learning curves, sizes, layers over training, a setting."""

from __future__ import annotations

import numpy as np
from claim_records import NOISE, WAVE, cells, outcome, pair, with_floor
from synthetic_records import make_record

from oscbench.records import Curve, Record


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
    assert "(8 and 0 of 8 met at the smallest size already, which is taken as the size needed)" in text
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
