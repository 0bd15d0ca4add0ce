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

_QUICK_S = 0.002
"""A scan that takes no longer may come as often as it likes; the others may take a fiftieth of the time."""


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
        self._not_before = 0.0

    def names(self, identity: str, expected: str | None = None) -> list[str]:
        """Names of the files that are said to hold this cell, in a stable order.

        Args:
            identity: of the cell.
            expected: a name that is looked for by itself, and not only in the last scan.
        """
        self._refresh()
        found = set(self._by_identity.get(identity, ()))
        if expected is not None and expected not in found and (self.folder / expected).exists():
            self.add(expected)
            found.add(expected)
        return sorted(found)

    def add(self, name: str) -> None:
        """Take in a file that has just been written."""
        if name not in self._names and (match := _NAME.search(name)):
            self._by_identity.setdefault(match[1], []).append(name)
            self._names.add(name)

    def drop(self, name: str) -> None:
        """Let go of a file that is no longer there."""
        if name in self._names and (match := _NAME.search(name)):
            self._by_identity[match[1]].remove(name)
            self._names.discard(name)

    def _refresh(self) -> None:
        """Scan the folder where it has changed, though not again and again where it is large and somebody is writing."""
        began = time.monotonic()
        if began < self._not_before:
            return
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed == self._changed_ns:
                return
            now = time.time_ns()
            names = {entry.name for entry in os.scandir(self.folder)}
        except OSError:  # no such folder: nothing is there
            changed, now, names = 0, _COARSE_NS + 1, set()
        for name in self._names - names:
            self.drop(name)
        for name in names - self._names:
            self.add(name)
        tick = _JUST_NOW_NS if changed % 1_000_000_000 else _COARSE_NS
        self._changed_ns = changed if now - changed > tick else None
        took = time.monotonic() - began
        self._not_before = 0.0 if took < _QUICK_S else began + 50 * took
