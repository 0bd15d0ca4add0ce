"""A results folder made of synthetic records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oscbench.records import Record, Store


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write records to a results folder and return it."""

    def write(records: list[Record], name: str = "results") -> Path:
        store = Store(tmp_path / name)
        for record in records:
            store.write(record)
        return tmp_path / name

    return write
