"""A mechanism's training step against softmax's, for each FLOP: what small operations cost beside the mathematics.

`python tests/benchmarks/step_ratios.py [size …]` prints the table. Steps take turns in one process on one thread and their own
processor time is taken, so other load on the machine moves all alike; the figure is the median over rounds of paired ratios.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

from oscbench.instruments.passes import model_pass
from oscbench.runner.timing.models import Objective, make_batch, make_model

# 17 tokens; ViT-S/16 at 224 pixels, 197 tokens; 256 tokens, causal.
SIZES = {
    "digits": {"side": 8, "patch": 2, "width": 64, "heads": 4, "layers": 4, "batch": 64},
    "vit": {"side": 224, "patch": 16, "width": 384, "heads": 6, "layers": 12, "batch": 1},
    "decoder": {"tokens": 256, "width": 256, "heads": 4, "layers": 12, "batch": 1},
}
# The step's time over softmax's, divided by the ratio of their FLOPs; 1 is a step as fast as its FLOPs.
GOALS = {
    "digits": {"kope": 1.5, "torus": 1.3, "ssa": 1.3, "fixed_query": 1.3},
    "vit": {"kope": 1.2, "torus": 1.25, "ssa": 1.25, "fixed_query": 1.15},
    "decoder": {"kope": 1.2, "torus": 1.25, "ssa": 1.35, "fixed_query": 1.35},
}


def make_step(size: str, name: str) -> tuple[Callable[[], object], int]:
    """A training step of a mechanism's model at equal width, heads and MLP, and its FLOPs a sample."""
    setting = SIZES[size]
    family = "decoder" if size == "decoder" else "vision"
    tokens = setting.get("tokens") or (setting["side"] // setting["patch"]) ** 2 + 1
    torch.manual_seed(0)
    model = make_model(family, {"name": name, "settings": {}}, setting, tokens).train()
    batch = make_batch(family, setting, setting["batch"], tokens)
    return model_pass("step", model, Objective(family), batch).run, model.flops()


def step_ratios(size: str, names: Sequence[str], rounds: int) -> dict[str, float]:
    """The figure of each mechanism, from so many rounds of one step each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in training
    try:
        made = {name: make_step(size, name) for name in ("softmax", *names)}
        times: dict[str, list[float]] = {name: [] for name in made}
        for turn in range(rounds + 2):
            for name, (step, _) in made.items():
                start = time.process_time()
                step()
                if turn >= 2:
                    times[name].append(time.process_time() - start)
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
    base, flops = times["softmax"], made["softmax"][1]
    found = {}
    for name in names:
        slower = statistics.median(own / theirs for own, theirs in zip(times[name], base, strict=True))
        found[name] = slower * flops / made[name][1]
    return found


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SIZES:
        for mechanism, figure in step_ratios(chosen, list(GOALS[chosen]), 7).items():
            print(f"{chosen:8} {mechanism:12} {figure:5.2f}  (goal {GOALS[chosen][mechanism]})")
