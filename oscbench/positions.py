"""Where a token's place comes from: one vocabulary for suites, mechanisms, backbones and reports.

A position is what is added to tokens (`none`, `learned`, `sinusoidal`), the mechanism's `own` (rotary angles, a drift, anchors), or
both, as in `learned+own`. Adding is the backbone's business, the own one the mechanism's.
"""

from __future__ import annotations

ADDED = ("none", "learned", "sinusoidal")
OWN = "own"
POSITIONS = (*ADDED, OWN, *(f"{added}+{OWN}" for added in ADDED[1:]))


def joined(added: str, own: bool) -> str:
    """`learned` and True -> `learned+own`; `none` and True -> `own`."""
    if not own:
        return added
    return OWN if added == "none" else f"{added}+{OWN}"


def parted(position: str) -> tuple[str, bool]:
    """What is added to tokens, and whether the mechanism has its own: the reverse of `joined`."""
    added, _, own = position.partition("+")
    return ("none", True) if position == OWN else (added, bool(own))
