"""Numbers that the papers report, with their sources, to stand beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from oscbench.errors import UserError

FILE = Path("results") / "published" / "published.json"


class PublishedError(UserError):
    """The published numbers cannot be read."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Frozen):
    """Where a number stands."""

    paper: str
    table_or_file: str


class Published(_Frozen):
    """One number of one paper, in the paper's own words for task, data set and metric.

    `config` is the setting in which it was measured, `baseline` what the paper compares it with.
    """

    mechanism: str
    task: str
    dataset: str
    metric: str
    value: float | int
    config: dict[str, Any]
    source: Source
    std: float | None = None
    seeds: Any = None
    per_seed: Any = None
    per_draw: Any = None
    baseline: dict[str, Any] | None = None
    note: str | None = None


def find_published() -> Path:
    """The file: the working folder's, the checkout's, or the one installed with the wheel.

    Raises:
        PublishedError: there is none.
    """
    package = Path(__file__).resolve().parent.parent.parent
    installed = package / "_installed" / "published" / FILE.name
    for path in (Path.cwd() / FILE, package.parent / FILE, installed):
        if path.is_file():
            return path
    raise PublishedError(f"{FILE}: no published numbers here")


def read_published(path: Path | None = None, **wanted: str) -> list[Published]:
    """Every entry, or those with the given `mechanism`, `task`, `dataset` or `metric`.

    Raises:
        PublishedError: the file cannot be read or holds something else.
    """
    path = path or find_published()
    try:
        entries = [Published.model_validate(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise PublishedError(f"{path}: not readable as published numbers: {first}") from error
    return [entry for entry in entries if all(getattr(entry, key) == value for key, value in wanted.items())]
