"""Which data were asked for while something ran, so that its record can say what they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from oscbench.errors import UserError

if TYPE_CHECKING:
    from oscbench.data.store import Located

_asked: ContextVar[dict[str, Located] | None] = ContextVar("asked", default=None)
DIGITS = 16
"""Of a content's SHA-256, as a record keeps it."""


@contextlib.contextmanager
def observe_data() -> Iterator[dict[str, Located]]:
    """What is located within, by the setting that asked for it."""
    asked: dict[str, Located] = {}
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


def note(found: Located) -> Located:
    """Tell whoever observes."""
    asked = _asked.get()
    if asked is not None:
        asked[found.where] = found
    return found


def contents(asked: dict[str, Located]) -> dict[str, str]:
    """Beginning of the SHA-256 of what each setting named; what can no longer be read is left out."""
    found = {}
    for where, one in asked.items():
        with contextlib.suppress(UserError):
            found[where] = one.sha256()[:DIGITS]
    return found
