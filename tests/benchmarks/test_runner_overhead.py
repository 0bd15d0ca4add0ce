"""What the runner costs beside the work: wall-clock time of a run beyond what its cells needed themselves.

A process for each cell, the plan, locks, records. Aim: under 5 % of a cell of `vision_small`. Informs, never gates.
"""

from __future__ import annotations

import time

import pytest

from oscbench.records import Store
from oscbench.runner.session import run_suite

OPTIONS = {"only": ["mechanism=softmax"], "jobs": 1, "device": "cpu"}


@pytest.mark.benchmark(group="runner")
def test_runner_overhead(benchmark, tmp_path):
    # The first run also starts the fork server, which a whole suite pays for once: it is told apart.
    begun = time.perf_counter()
    run_suite("vision_small", results=tmp_path / "first", overrides=["train.epochs=1", "seeds=1"], **OPTIONS)
    first = time.perf_counter() - begun
    (short,) = Store(tmp_path / "first").read_all()[0]

    def whole():
        return run_suite("vision_small", results=tmp_path / "results", overrides=["seeds=2"], **OPTIONS)

    begun = time.perf_counter()
    code = benchmark.pedantic(whole, rounds=1, iterations=1)
    wall = time.perf_counter() - begun
    assert code == 0
    records, _ = Store(tmp_path / "results").read_all()
    training = sum(record.measures["training_s"].value for record in records)
    cells = sum(record.seconds for record in records)
    benchmark.extra_info |= {
        "cells": len(records),
        "cell_s": cells / len(records),
        "runner_s_a_cell": (wall - cells) / len(records),
        "runner_share_of_cell": (wall - cells) / cells,
        "beyond_training_s_a_cell": (wall - training) / len(records),
        "beyond_training_share_of_cell": (wall - training) / cells,
        "once_a_run_s": first - short.seconds,
    }
    print({name: round(value, 4) for name, value in benchmark.extra_info.items()})
