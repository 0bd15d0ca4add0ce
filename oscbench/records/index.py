"""Which records a suite's folder holds, from the names of its files alone: one scan, and another where the folder changed."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_NAME = re.compile(r"-([0-9a-f]{16})(?:-[0-9a-f]{8})?\.json$")
_JUST_NOW_NS = 100_000_000
_COARSE_NS = 2_000_000_000
"""A folder's time moves in ticks (2 s on the coarsest file systems): a file may follow the scan within the same one."""


class FolderIndex:
    """File names of one folder by the identity in them.

    Args:
        folder: may come into being later.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()
        self._by_identity: dict[str, list[str]] = {}
        self._changed_ns: int | None = None

    def names(self, identity: str) -> list[str]:
        """Names of the files that are said to hold this cell, in a stable order."""
        self._refresh()
        return sorted(self._by_identity.get(identity, ()))

    def _refresh(self) -> None:
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed == self._changed_ns:
                return
            now = time.time_ns()
            names = {entry.name for entry in os.scandir(self.folder)}
        except OSError:  # no such folder: nothing is there
            changed, now, names = 0, _COARSE_NS + 1, set()
        for name in self._names - names:
            if match := _NAME.search(name):
                self._by_identity[match[1]].remove(name)
        for name in names - self._names:
            if match := _NAME.search(name):
                self._by_identity.setdefault(match[1], []).append(name)
        self._names = names
        tick = _JUST_NOW_NS if changed % 1_000_000_000 else _COARSE_NS
        self._changed_ns = changed if now - changed > tick else None
