"""What the runner costs beside the work: wall-clock time of a run beyond what its cells needed themselves.

A process for each cell, the plan, locks, records. Aim: under 5 % of a cell of `vision_small`. Informs, never gates.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from oscbench.measures import Subject
from oscbench.records import Store
from oscbench.runner.plan import make_plan
from oscbench.runner.session import run_suite
from oscbench.runner.training.loop import (
    data_generators,
    learning_rate_factor,
    make_optimizer,
    total_steps,
    train,
)
from oscbench.runner.training.specs import match_spec, parts_of
from oscbench.suite import load_suite
from oscbench.tasks import Score

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


@pytest.mark.benchmark(group="runner")
@pytest.mark.timed
def test_training_loop_overhead(benchmark):
    """Clocks, history and progress of a cell that asks for no measure, against the same steps written bare. Aim: under 2 %."""
    (cell,) = make_plan(
        load_suite("vision_small", ["measures=[]"]), only=["mechanism=softmax", "seed=0"], device="cpu"
    )
    recipe = cell.spec["train"] | {"epochs": 1}
    parts = parts_of(cell.spec)
    task = parts.task_class(parts.task_config)
    hidden = match_spec(cell.spec, task.inputs).hidden
    evaluate, task.evaluate = task.evaluate, lambda *_: {task.metric.name: Score(0.0, 1)}  # not a step's cost
    seconds = {"bare": [], "measured": []}

    def model():
        torch.manual_seed(0)
        return parts.build(cell.spec["mechanism"], hidden, 0, task.inputs)

    def turn():
        for name, loop in (("bare", bare), ("measured", measured)):
            fresh = model()
            begun = time.process_time()
            loop(fresh)
            seconds[name].append(time.process_time() - begun)

    def measured(fresh):
        subject = Subject(fresh, task, None, torch.device("cpu"), recipe["batch_size"])
        train(subject, recipe, 0, lambda done, steps: None)

    def bare(fresh):
        optimizer = make_optimizer(fresh, recipe)
        steps = total_steps(task, recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, steps, recipe["warmup"])
        )
        for batch in task.training_batches(recipe["batch_size"], *data_generators(0)):
            loss = task.loss(fresh(batch.inputs).prediction, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(fresh.parameters(), recipe["clip"])
            optimizer.step()
            schedule.step()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        benchmark.pedantic(turn, rounds=15, warmup_rounds=1)
    finally:
        torch.set_num_threads(threads)
        task.evaluate = evaluate
    ratios = [b / a for a, b in zip(seconds["bare"], seconds["measured"], strict=True)]
    benchmark.extra_info["overhead_share"] = statistics.median(ratios) - 1.0
    print({name: round(value, 4) for name, value in benchmark.extra_info.items()})
