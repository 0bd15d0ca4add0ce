"""Ctrl-C and SIGTERM while cells run: noted at once, and raised where nothing is half done."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """Ctrl-C or SIGTERM noted and raised where nothing is half done; a second one is raised at once.

    SIGTERM ends the process at the end, as it would have without.
    """

    def __init__(self) -> None:
        self.noted = False
        self._terminated = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *problem: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._terminated:
            signal.raise_signal(signal.SIGTERM)

    def check(self) -> None:
        """Raise what was noted."""
        if self.noted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._terminated |= number == signal.SIGTERM
        if self.noted:
            raise KeyboardInterrupt
        self.noted = True
