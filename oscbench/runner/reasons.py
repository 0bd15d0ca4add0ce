"""Why a cell broke, in a line for its record: what happened, and where in somebody's file."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path

from oscbench import catalog
from oscbench.errors import PartError, first_line, kind_and_line

_LIBRARIES = ("torch", "pydantic", "pydantic_core", "numpy", "contextlib")
"""Packages in whose depths an error begins that is none of theirs."""


def reason_of(error: BaseException, named: Iterable[tuple[str, str]]) -> str:
    """`RuntimeError: shapes differ (my_file.py:61)`: the innermost line of a file that the cell names, else of one that is no library's.

    Args:
        error: as it was caught.
        named: kind and name of what the catalog loads for the cell.
    """
    if isinstance(error, PartError):  # it says itself whose mistake it is
        return first_line(error)
    place = _place(error, [catalog.module(kind, name) for kind, name in named])
    return kind_and_line(error) + (f" ({place})" if place else "")


def _place(error: BaseException, modules: list[str]) -> str | None:
    """File and line."""
    packages = {_package(module) for module in modules} - {"oscbench"}
    frames = [
        (frame.f_globals.get("__name__") or "", f"{Path(frame.f_code.co_filename).name}:{line}")
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    theirs = [place for name, place in frames if name in modules or _package(name) in packages]
    others = [place for name, place in frames if _package(name) not in _LIBRARIES]
    return next(iter([*theirs[-1:], *others[-1:]]), None)


def _package(module: str) -> str:
    return module.partition(".")[0]
