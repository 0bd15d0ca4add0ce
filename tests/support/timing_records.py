"""Records of a timing suite whose times are powers of the number of tokens."""

from __future__ import annotations

from synthetic_records import make_record

from oscbench.records import Measurement

SIZES = (128, 256, 512, 1024)
CONTENDERS = ("plain:fused", "plain:reference", "ring:blocked")
POWER = {"plain:fused": 1.0, "plain:reference": 2.0, "ring:blocked": 1.5}


def timing_record(tokens: int):
    """One size: every contender's time is N to a power of its own, one cannot run at the largest."""
    measures = {
        "ceiling_matmul": Measurement(value=1e11, unit="FLOP/s", label="best rate of a matrix product")
    }
    for contender in CONTENDERS:
        seconds = 1e-6 * tokens ** POWER[contender]
        base = 1e-6 * tokens ** POWER["plain:fused"]
        if contender == "plain:reference" and tokens == SIZES[-1]:
            seconds, reason = None, "its N × N tensors are left out"
        else:
            reason = None
        details = {"converged": True, "roofline_share": 0.42, "bound_by": "matmul"} if seconds else {}
        measures[f"forward_s/{contender}"] = Measurement(
            value=seconds, unit="s", label="forward pass", reason=reason, details=details
        )
        measures[f"forward_ratio/{contender}"] = Measurement(
            value=None if seconds is None else seconds / base, unit="1", label="forward over plain"
        )
        measures[f"backward_peak_memory_bytes/{contender}"] = Measurement(
            value=None if seconds is None else 1000 * tokens, unit="B", label="peak"
        )
    spec = {
        "kind": "timing",
        "family": "ops",
        "setting_label": "D64",
        "batch": 1,
        "tokens": tokens,
        "reference": "plain:fused",
        "contenders": [{"key": key} for key in CONTENDERS],
    }
    return make_record(
        suite="timing_toy",
        task="timing",
        variant=f"N{tokens}",
        spec=spec,
        measures=measures,
        metric="forward_s/plain:fused",
        curves={},
        health=(),
    )
