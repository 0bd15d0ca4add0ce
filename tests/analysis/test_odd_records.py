"""Records that are legal and rare: names spelled alike, signs, lost seeds, two devices, quantities of 0 and numbers that are none."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import make_record, replaced
from timing_records import timing_record

from oscbench.analysis.costs.regression import compare_paths
from oscbench.analysis.frame import Loaded, newest
from oscbench.analysis.selection import anchor_of
from oscbench.analysis.study import Study, assemble
from oscbench.analysis.sweeps.setting import grids
from oscbench.records import Curve, Measurement, Record, Store
from oscbench.reporting.page.blocks import page_of
from oscbench.reporting.page.caveats import method
from oscbench.reporting.sections.setting import over_tasks
from oscbench.reporting.sections.targets import target_of, targets_table
from oscbench.words import slug

MANY = ["wave", "ring", "lock", "a", "b", "c"]


def study(records: list[Record]) -> Study:
    return assemble(Loaded(tuple(records), (), ()), [])


def cells(suite: str, task: str = "digits", seeds: int = 3) -> list[Record]:
    return [make_record(m, s, suite=suite, task=task) for m in ("plain", "wave") for s in range(seeds)]


def test_a_value_of_minus_one_is_not_one() -> None:
    assert slug("shift=-1") != slug("shift=1")
    assert slug("step 2e-3 of kope-softmax") == "step-2e-3-of-kope-softmax"
    gains = {-1: -0.02, 1: 0.02, 3: 0.06}
    made = [
        make_record(m, s, suite=f"toy[task.shift={v}]", value=0.9 + 0.001 * s + (gain if m == "wave" else 0))
        for v, gain in gains.items()
        for m in ("plain", "wave")
        for s in range(8)
    ]
    found = study(made)
    assert len(found.experiments) == 3
    (sweep,) = found.sweeps
    means = {v: c.paired.mean for v, e in sweep.points for c in e.comparisons if c.paired}
    assert means == pytest.approx(gains)
    anchors = {anchor_of(make_record("wave", 0, variant=f"shift={v}")) for v in (-1, 1)}
    assert len(anchors) == 2


@pytest.mark.parametrize(
    "made",
    [
        [*cells("vision", "small_digits"), *cells("vision_small", "digits")],
        [*cells("a_b"), *cells("a-b")],
        [*cells("A"), *cells("a")],
    ],
)
def test_suites_that_are_spelled_alike_stay_apart(made: list[Record]) -> None:
    found = study(sorted(made, key=lambda record: (record.suite, record.task)))
    assert len({e.slug for e in found.experiments}) == len(found.experiments) == 2
    assert len({page_of(e.suite) for e in found.experiments}) == 2
    assert page_of("vision_small") == "suite-vision-small.html"


@pytest.mark.parametrize("finished", [0, 1, 2, 3, 8])
def test_a_value_that_lost_seeds_hides_no_loss_of_another(finished: int) -> None:
    rng = np.random.default_rng(0)
    made = []
    for value, mean in (("0.1", 0.9), ("0.2", 0.9), ("0.3", 0.6), ("0.9", 0.3)):
        for seed in range(8):
            dead = value == "0.9" and seed >= finished
            score = None if dead else mean + float(rng.normal(0, 0.002))
            more = {"status": "diverged", "reason": "x"} if dead else {}
            made.append(make_record("wave", seed, variant=f"gamma={value}", value=score, **more))  # type: ignore[arg-type]
    (grid,) = grids(study(made).single)
    assert grid.against_best[0.3].verdict == "worse"
    assert 0.3 in grid.worse


def test_values_that_lost_seeds_are_corrected_among_themselves() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(10):
        made = []
        for step in range(12):
            for seed in range(8):
                dead = step >= 3 and seed == step % 8
                more = {"status": "diverged", "reason": "x"} if dead else {}
                score = None if dead else 0.9 + float(rng.normal(0, 0.01))
                made.append(make_record("wave", seed, variant=f"gamma={step / 10:g}", value=score, **more))  # type: ignore[arg-type]
        (grid,) = grids(study(made).single)
        assert len(grid.lost) == 9
        found += any(grid.against_best[value].p_holm <= 0.05 for value in grid.lost)
    assert found == 0


def test_no_loss_is_a_number_too() -> None:
    made = [
        make_record(
            "wave",
            seed,
            variant=f"gamma={value}",
            suite=task,
            task=task,
            measures={
                "accuracy": Measurement(
                    value=value + 0.01 * seed, unit="bits/character", label="bits", direction="lower"
                )
            },
        )
        for task in ("text", "code")
        for value in (1, 2, 3)
        for seed in range(8)
    ]
    (answer,) = over_tasks(grids(study(made).single))
    assert "1 for all of them loses at most 0 bits/character on any" in answer.text


def test_values_of_a_suite_get_no_verdict_where_all_of_it_gets_none() -> None:
    declared = {"compare": [[name, "plain"] for name in MANY]}
    made = [
        make_record(m, s, suite=f"toy[train.steps={v}]", spec_given=declared)
        for v in (1, 2)
        for m in ("plain", *MANY)
        for s in range(10)
    ]
    (sweep,) = study(made).sweeps
    verdicts = {c.verdict for c in sweep.overall}
    verdicts |= {c.verdict for _, e in sweep.points for c in e.comparisons}
    assert verdicts == {"estimates only"}


def test_a_report_says_how_its_pairs_were_chosen() -> None:
    declared = {"spec_given": {"compare": [["wave", "ring"]]}}
    made = [make_record(m, s, **declared) for m in ("plain", "wave", "ring") for s in range(8)]
    assert "Compared is what a suite declared" in method(study(made))
    assert "Each entry is compared with the reference" in method(study(cells("toy")))


def test_a_step_of_another_batch_says_nothing_of_joules_until_a_target() -> None:
    step = {"step_energy_j": Measurement(value=2.0, unit="J", label="energy", details={"batch_size": 64})}
    made = [
        replaced(r.model_copy(update={"spec": {**r.spec, "train": {"epochs": 3, "batch_size": 128}}}), step)
        for r in cells("toy")
    ]
    table = targets_table(study(made).experiments[0])
    assert table is not None
    rows = [[cell.text for cell in row] for row in table.rows]
    assert all(row[2] == "3/3" and row[-1] == "n/a" for row in rows)


def test_a_value_that_is_no_number_moves_no_target() -> None:
    name, made = "validation_accuracy", cells("toy")
    curve = made[0].curves[name]

    def target(y: tuple[float, ...]) -> float:
        holed = Curve(**{**curve.model_dump(), "x": tuple(range(len(y))), "y": y})
        found = target_of(
            study([r.model_copy(update={"curves": {name: holed}}) for r in made]).experiments[0]
        )
        return math.nan if found is None else found[0]

    assert target((math.nan, 0.5, 0.9)) == pytest.approx(target((0.1, 0.5, 0.9)))
    assert math.isnan(target((math.nan, math.nan)))


def test_an_entry_that_costs_nothing_is_told() -> None:
    made = [
        replaced(
            r, {"flops": r.measures["flops"].model_copy(update={"value": 5.0 * (r.mechanism == "wave")})}
        )
        for r in cells("toy")
    ]
    facts = str(study(made).experiments[0].facts)
    assert "0 FLOP to 5.000 FLOP" in facts


def test_times_of_two_devices_are_two_cells_and_never_compared(tmp_path: Path) -> None:
    on_cpu = [timing_record(n) for n in (128, 256)]
    on_gpu = [
        r.model_copy(update={"device": "cuda", "identity": "c" + r.identity[1:], "finished_utc": r.finished_utc + timedelta(hours=1)})
        for r in on_cpu
    ]  # fmt: skip
    current, superseded = newest([*on_cpu, *on_gpu])
    assert (len(current), superseded) == (4, ())

    def folder(name: str, devices: dict[str, float]) -> Path:
        store = Store(tmp_path / name)
        for later, (device, value) in enumerate(devices.items()):
            peak = {
                "step_peak_memory_bytes": Measurement(value=value, unit="B", label="peak", direction="lower")
            }
            store.write(replaced(make_record("plain", 0, device=device, later=float(later)), peak))
        return tmp_path / name

    old, new = folder("old", {"cpu": 1e6}), folder("new", {"cpu": 1e6, "cuda": 3e6})
    _, told, code = compare_paths(old, new)
    assert code == 0, told
