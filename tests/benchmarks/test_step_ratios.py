"""Training steps are as fast as their FLOPs, within issue 18's goals; see `step_ratios.py` for how it is measured.

Another processor has other ratios (digits KoPE 1.3 on an AMD, 1.5 on an Intel), and a busy one noisier ones, so the gate stands a
sixth above each goal; the figures themselves are printed and kept in the benchmark's record.
"""

from __future__ import annotations

import pytest
import step_ratios

ROUNDS = {"digits": 25, "vit": 7, "decoder": 7}
SLACK = 1.17

pytestmark = pytest.mark.timed


@pytest.mark.parametrize("size", list(step_ratios.GOALS))
def test_steps_are_as_fast_as_their_flops(size, benchmark, capsys):
    goals = step_ratios.GOALS[size]
    found: dict[str, float] = {}

    def measure() -> None:
        found.update(step_ratios.step_ratios(size, list(goals), ROUNDS[size]))

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= {"size": size, "time_for_each_flop_over_softmax": found, "goals": goals}
    with capsys.disabled():
        for name, figure in found.items():
            print(
                f"\nstep over softmax for each FLOP, {size:8} {name:12} {figure:5.2f} (goal {goals[name]})",
                end="",
            )
        print()
    assert {name: figure for name, figure in found.items() if figure > SLACK * goals[name]} == {}
