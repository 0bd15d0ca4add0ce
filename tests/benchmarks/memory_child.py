"""Run alone in a fresh process: the peak memory of one op's forward and backward above its level before the call.

Usage: memory_child.py OP BACKEND TOKENS [HEADS WIDTH]; prints "MiB seconds".
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import torch

from oscbench import ops


def peak_mib() -> float:
    """VmHWM, this process's own high-water mark (`ru_maxrss` would be inherited)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 1024


def call(op: str, backend: str, tokens: int, heads: int, width: int) -> None:
    def draw(last: int = width) -> torch.Tensor:
        return torch.randn(1, heads, tokens, last, requires_grad=True)

    if op == "torus_attention":
        out = ops.torus_attention(draw(width // 2), torch.ones(1), backend=backend)
    elif op == "fixed_query_attention":
        anchors = torch.nn.functional.normalize(torch.randn(heads, tokens, 8), dim=-1).requires_grad_()
        out = ops.fixed_query_attention(draw(), draw(), draw(), anchors, is_causal=True, backend=backend)
    elif op == "selective_synchronization":
        omega = (torch.randn(1, heads, tokens, width) * 0.08).requires_grad_()
        theta = draw()
        out = ops.selective_synchronization(
            omega, theta, draw(), coupling=1.3, alpha=1.3, is_causal=True, backend=backend
        )
    else:
        out = ops.softmax_attention(draw(), draw(), draw(), is_causal=True, backend=backend)
    out.sum().backward()


def main() -> None:
    op, backend, tokens, *rest = sys.argv[1:]
    heads, width = (int(x) for x in rest) if rest else (4, 32)
    torch.set_num_threads(2)
    call(op, backend, 256, heads, width)
    # The mark never falls, so it is set back to the present level before the call.
    Path("/proc/self/clear_refs").write_text("5")
    before, start = peak_mib(), time.perf_counter()
    call(op, backend, int(tokens), heads, width)
    print(peak_mib() - before, time.perf_counter() - start)


if __name__ == "__main__":
    main()
