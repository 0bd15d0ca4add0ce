"""The mathematics: pure functions of tensors, each with a literal `reference` and exact fast backends.

All ops take (B, H, N, d) tensors in float64, float32, bfloat16 or float16 and return the input dtype. Three laws hold in
every backend: causality, padding, exactness (see README.md beside this file).
"""

from __future__ import annotations

import difflib

import torch

from oscbench.ops import fixed_query, kope, kuramoto, softmax, synchronization, torus
from oscbench.ops.dispatch import BackendName, Op
from oscbench.ops.fixed_query import fixed_query_attention
from oscbench.ops.kope import kope_attention
from oscbench.ops.kuramoto import kuramoto_step
from oscbench.ops.phases import mix_phases, rotate
from oscbench.ops.softmax import softmax_attention
from oscbench.ops.synchronization import selective_synchronization
from oscbench.ops.torus import torus_attention

_OPS: dict[str, Op] = {
    module.OP.name: module.OP for module in (softmax, kope, kuramoto, torus, synchronization, fixed_query)
}
_SINGLE = ("rotate", "mix_phases")


def op_names() -> list[str]:
    """Names of the ops that have more than one backend."""
    return list(_OPS)


def backends(op_name: str, device: str | torch.device = "cpu") -> list[BackendName]:
    """Backends of an op that can run on a device; each is a `str` for `backend=`, with a `.note` on what it really runs.

    Raises:
        ValueError: there is no such op.
    """
    if op_name in _SINGLE:
        return [BackendName("reference", "the only form; it takes no backend argument")]
    return _op(op_name).available(torch.device(device))


def why_not(op_name: str, device: str | torch.device = "cpu") -> dict[str, str | None]:
    """For each backend of an op the reason it cannot run on a device, or None where it can.

    Raises:
        ValueError: there is no such op.
    """
    from oscbench.ops.dispatch import Call

    call = Call(torch.device(device))
    return {b.name: b.why_not(call) for b in _op(op_name).backends.values()}


def _op(op_name: str) -> Op:
    if op_name not in _OPS:
        known = [*_OPS, *_SINGLE]
        near = difflib.get_close_matches(op_name, known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'no op "{op_name}"{hint} (there are: {", ".join(known)})')
    return _OPS[op_name]


__all__ = [
    "BackendName",
    "backends",
    "fixed_query_attention",
    "kope_attention",
    "kuramoto_step",
    "mix_phases",
    "op_names",
    "rotate",
    "selective_synchronization",
    "softmax_attention",
    "torus_attention",
    "why_not",
]
