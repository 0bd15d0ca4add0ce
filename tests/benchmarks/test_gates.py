"""The gates: hard quantities in every test run, peaks and ratios to softmax in `tox -e bench`.

To accept a change on purpose: `tox -e bench -- --update-baseline`, which shows the difference and writes `baseline.json`.
"""

from __future__ import annotations

import statistics
import time

import gate_subjects
import pytest

from oscbench.analysis.costs import regression
from oscbench.instruments.clock import Effort, WallClock, interleave, paired_ratio
from oscbench.instruments.peak_memory import peak_in_child
from oscbench.machine.idle import wait_for_idle

BLOCK, BLOCKS, WARM_UP = 20, 3, 5
MORE_BLOCKS = 4


@pytest.mark.parametrize("name", gate_subjects.names())
def test_hard_quantities_are_those_of_the_baseline(name, baseline, updating):
    if updating:
        pytest.skip("the baseline is being written")
    if name not in baseline:
        pytest.skip(f"{name} is not in the baseline yet")
    new = regression.Reading(hard=gate_subjects.hard_numbers(gate_subjects.make_subject(name)))
    changes = regression.compare({name: regression.Reading(hard=baseline[name].hard)}, {name: new})
    assert not regression.table(regression.regressions(changes))


def test_the_baseline_is_of_what_there_is(baseline, updating):
    """What left the catalog, or came into it, is told with `--update-baseline`."""
    if not updating:
        assert set(baseline) == set(gate_subjects.names())


@pytest.mark.timed
@pytest.mark.parametrize("name", gate_subjects.names())
def test_peaks_and_ratios_are_within_their_limits(name, baseline, gates, updating, benchmark):
    quiet = wait_for_idle(cores=1.0, patience_s=10.0)
    step, softmax = gate_subjects.step_of(name), gate_subjects.step_of("softmax")
    reference: list[float] = []

    def softmax_first():
        started = time.perf_counter()
        softmax.run()
        reference.append(time.perf_counter() - started)

    benchmark.pedantic(step.run, setup=softmax_first, rounds=BLOCK * BLOCKS, warmup_rounds=WARM_UP)
    samples = benchmark.stats.stats.data
    pairs = [a / b for a, b in zip(samples, reference[-len(samples) :], strict=True)]
    blocks = [statistics.median(pairs[start : start + BLOCK]) for start in range(0, len(pairs), BLOCK)]
    allowed = baseline[name].ratios.get("step") if name in baseline else None
    while (
        allowed
        and min(blocks) > allowed * (1 + regression.RATIO_GROWTH)
        and len(blocks) < BLOCKS + MORE_BLOCKS
    ):
        wait_for_idle(cores=1.0, patience_s=10.0)
        effort = Effort(seconds=10.0, min_rounds=BLOCK, max_rounds=BLOCK)
        timed = interleave({"softmax": softmax, "step": step}, WallClock(), effort)
        blocks.append(statistics.median(paired_ratio(timed["step"], timed["softmax"])))
    gate = {
        "hard": gate_subjects.hard_numbers(gate_subjects.make_subject(name)),
        "peak_bytes": {"step": peak_in_child(gate_subjects.build_step, name).above},
        "ratios": {"step": min(blocks)},
    }
    machine = {"quiet": vars(quiet), "blocks": blocks, "rounds": len(pairs), "threads": 1}
    benchmark.extra_info |= {"subject": name, "gate": gate, "timing": machine}
    stats = {"median": statistics.median(samples), "rounds": len(samples)}
    gates[name] = {"name": name, "extra_info": {"gate": gate, "timing": machine}, "stats": stats}
    if not updating and name in baseline:
        changes = regression.compare({name: baseline[name]}, {name: regression.Reading(**gate)})
        assert not regression.table(regression.regressions(changes))
