"""The one kind of error that a person at the command line is told in a line, with exit code 2, and its "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MANY = 20
"""Names that are listed whole; of more than that the nearest five are."""


class UserError(Exception):
    """Bad input: the text names the place, what was found, what is allowed and the nearest match."""


class ReportError(UserError):
    """A report or export that cannot be made as asked; the message is one line for the user."""


class PartError(ValueError):
    """A mechanism, task or measure gave what it may not: the text names it, what came and what is wanted, and says it all."""


def kind_of(found: object) -> str:
    """What something is, in a message: `None`, `the class Decay`, `a dict` or `an int`, without an address in memory."""
    if found is None:
        return "None"
    if isinstance(found, type):
        return f"the class {found.__name__}"
    kind = type(found).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its kind where it says nothing; of pydantic's the first mistake, which stands below."""
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        first = next(iter(error.errors()))
        place = ".".join(map(str, (getattr(error, "title", ""), *first["loc"])))
        plain = isinstance(first["input"], str | int | float | list | tuple | dict)
        got = repr(first["input"])[:60] if plain else kind_of(first["input"])
        return f"{place}: {first['msg']}, got {got}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def kind_and_line(error: BaseException) -> str:
    """An error in a line: its kind and the first line of its text, `KeyError: 'width'`, or its kind alone where it says nothing."""
    kind, line = type(error).__name__, first_line(error)
    return line if line == kind else f"{kind}: {line}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean "x"?` where a known name is near, otherwise what there is: all of it, or the nearest five of many.

    Args:
        name: what was asked for.
        known: every name that would have been found.
    """
    asked = name[:200]  # comparing takes a time that grows with the square of the length
    there = sorted(set(known))
    near = _near(asked, there)
    if near is not None:
        return f'did you mean "{near}"?'
    if len(there) > MANY:
        return f"the nearest of {len(there)} are: {', '.join(difflib.get_close_matches(asked, there, n=5, cutoff=0.0))}"
    return f"there are: {', '.join(there)}" if there else "there are none"


def allowed(name: str, known: Sequence[str]) -> str:
    """What is allowed, in the order given, and the nearest of it if one is near: `allowed: a, b; did you mean "a"?`."""
    near = _near(name[:200], known)
    return f"allowed: {', '.join(known)}" + (f'; did you mean "{near}"?' if near is not None else "")


def _near(asked: str, known: Sequence[str]) -> str | None:
    """The one that differs in capitals alone, else the most alike, if any is alike at all."""
    same = next((one for one in known if one.casefold() == asked.casefold()), None)
    return same or next(iter(difflib.get_close_matches(asked, known, n=1)), None)
