"""Argument checks of the one-token forms."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops import checks


def check(op: str, receiver: dict[str, Tensor], senders: dict[str, Tensor]) -> None:
    """Receivers are (B, H, 1, ·), senders (B, H, M, ·) with one M ≥ 1, of one floating type and on one device.

    Raises:
        ValueError: naming the shapes that do not fit.
    """
    op = f"decode.{op}"
    checks.same_kind(op, **receiver, **senders)
    checks.heads_tokens(op, **receiver)
    checks.heads_tokens(op, **senders)
    (name, one), *_ = receiver.items()
    (of_senders, all_of_them), *_ = senders.items()
    if one.shape[-2] != 1 or one.shape[:2] != all_of_them.shape[:2]:
        raise ValueError(
            f"{op}: {name} must be one token (B, H, 1, d) beside its senders (B, H, M, ·); "
            f"got {name} {checks.shape_of(one)} and {of_senders} {checks.shape_of(all_of_them)}"
        )
