"""Ctrl-C, SIGTERM and a terminal that closes while cells run: noted at once, and raised where nothing is half done."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


def ending_signals() -> tuple[signal.Signals, ...]:
    """What asks a process to end: Ctrl-C, SIGTERM, and SIGHUP unless it is ignored, as under `nohup`."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return asked if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*asked, signal.SIGHUP)


class Interrupt:
    """Ctrl-C, SIGTERM or SIGHUP noted and raised, as a Ctrl-C, where nothing is half done; a second one is raised at once."""

    def __init__(self) -> None:
        self.noted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in ending_signals()}
        return self

    def __exit__(self, *problem: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise what was noted."""
        if self.noted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.noted:
            raise KeyboardInterrupt
        self.noted = True
