"""What records say against an entry of themselves: a column, a row, and what it means."""

from __future__ import annotations

from collections.abc import Sequence

from oscbench.analysis.experiment import Standing

_MEANING = {"phases only": "no Kuramoto step is ever taken, so that phases are rotations alone"}
"""Of flags that do not say it themselves."""


def flags(standing: Standing) -> str:
    """Each flag, and how many of the entry's seeds carry it."""
    return "; ".join(standing.flags)


def flags_row(standings: Sequence[Standing]) -> list[list[str]]:
    """A row for above measures, a column an entry; none where nobody has a flag."""
    return [["Flags", *map(flags, standings)]] if any(map(flags, standings)) else []


def flags_told(standings: Sequence[Standing]) -> str:
    """What the flags of a table mean, as a paragraph after it; empty where there are none that need it."""
    seen = {flag for standing in standings for record in standing.cells for flag in record.flags}
    told = [f"*{flag}*: {meaning}" for flag, meaning in _MEANING.items() if flag in seen]
    return f"\n\nFlags, with the seeds that carry them: {'; '.join(told)}." if told else ""
