"""One-token forms: what one new token hears of senders that were kept, for generation token by token.

Pure functions: a receiver (B, H, 1, ·) against senders (B, H, M, ·), of which the receiver itself is the last. They give
what the square op of the same name gives in its last row when it is causal, without padding. `Cache` keeps the senders.
"""

from __future__ import annotations

from oscbench.ops.decode.cache import Cache
from oscbench.ops.decode.fixed_query import anchor_sums, fixed_point, linear_read_out, pull, read_out
from oscbench.ops.decode.kope import kope_attention, kuramoto_step
from oscbench.ops.decode.softmax import softmax_attention
from oscbench.ops.decode.synchronization import order_sums, selective_synchronization
from oscbench.ops.decode.torus import torus_attention, torus_weights

__all__ = [
    "Cache",
    "anchor_sums",
    "fixed_point",
    "kope_attention",
    "kuramoto_step",
    "linear_read_out",
    "order_sums",
    "pull",
    "read_out",
    "selective_synchronization",
    "softmax_attention",
    "torus_attention",
    "torus_weights",
]
