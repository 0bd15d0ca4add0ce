"""A results folder made of synthetic records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oscbench.records import Record, Store


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports leave all figures out, which take nine tenths of their time: for tests of what pages say."""
    from oscbench.reporting import report

    monkeypatch.setattr(report, "MAX_FIGURES", 0)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write records to a results folder and return it."""

    def write(records: list[Record], name: str = "results") -> Path:
        store = Store(tmp_path / name)
        for record in records:
            store.write(record)
        return tmp_path / name

    return write
