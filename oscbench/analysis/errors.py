"""The one exception of this room, and the "did you mean" that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from oscbench.errors import UserError


class ReportError(UserError):
    """A report or export that cannot be made as asked; the message is one line for the user."""


def nearest(word: str, existing: Iterable[str]) -> str:
    """`; did you mean "this"?` where a name is near, then what exists.

    Args:
        word: The name that was not found.
        existing: Every name that would have been.
    """
    names = sorted(set(existing))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f'; did you mean "{close[0]}"?' if close else ";"
    return f"{hint} there is {', '.join(names) if names else 'none'}"
