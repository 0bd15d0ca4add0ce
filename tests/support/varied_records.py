"""Records of a suite that varies over a number, with laws and noise of one's own."""

from __future__ import annotations

import math

from synthetic_records import make_record

from oscbench.records import protocol

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
NOISE = (0.004, -0.002, 0.003, -0.005, 0.001, -0.001, 0.002, -0.002)


def point(mechanism, share, seed, value, key="task.fraction", name="data", train=3, **changes):
    made = make_record(mechanism, seed, suite=f"{name}[{key}={share}]", value=value, epochs=train, **changes)
    top, low = key.split(".")
    spec = made.spec | {top: {**made.spec.get(top, {}), low: share}}
    return made.model_copy(update={"spec": spec, "protocol": protocol(spec)})


def error_law(exponent, scale=0.1):
    """Accuracy whose error falls as a power of the share, with the same noise in logarithms at every share."""
    return lambda share, seed: 1 - scale * share**-exponent * math.exp(20 * NOISE[seed])


def records(laws, shares=SHARES, seeds=8, **changes):
    return [
        point(mechanism, share, seed, law(share, seed), **changes)
        for mechanism, law in laws.items()
        for share in shares
        for seed in range(seeds)
    ]


LAWS = {"plain": error_law(0.3), "wave": error_law(0.3, 0.07)}
