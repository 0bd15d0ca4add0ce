"""How much the tests of this folder try, little beside all others and much under `tox -e fuzz`, and what it may cost."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, settings

TOLD_AFTER = 500
EXAMPLES = int(os.environ.get("OSCBENCH_FUZZ", "100"))
KILLS = int(os.environ.get("OSCBENCH_KILLS", "10"))
SECONDS, BYTES = 10.0, 1_000_000_000


def examples(share=1.0, most=10**9):
    """Settings for a share of the examples; few of them are the same every time, so that a failure is nobody's bad luck."""
    return settings(
        max_examples=min(most, max(1, round(share * EXAMPLES))),
        derandomize=EXAMPLES <= 100,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Watch:
    """What all examples of a file cost: how each ended, the longest in processor time [s], and the growth of the peak of memory."""

    def __init__(self):
        self.ended = Counter()
        self.longest = 0.0
        self.before = peak()

    @contextlib.contextmanager
    def one(self, figures=0):
        """An example, which may not take longer than the bound, and half a second more for each figure that it may draw."""
        started = time.process_time()
        yield
        spent = time.process_time() - started
        self.longest = max(self.longest, spent)
        assert spent < SECONDS + figures / 2

    def end(self, how, count=1):
        """So many examples have ended so; figures are told now and then."""
        before = self.ended.total() // TOLD_AFTER
        self.ended[how] += count
        if self.ended.total() // TOLD_AFTER > before:
            self.tell()

    def tell(self):
        """Print the figures, which `pytest -s` shows."""
        grown = (peak() - self.before) / 1e6
        print(f"\n{dict(self.ended)}; longest {self.longest:.2f} s, peak grew by {grown:.0f} MB", flush=True)

    def close(self):
        """What one example filled would show in the peak."""
        self.tell()
        assert peak() - self.before < BYTES


def peak():
    """The most memory that this process ever held [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
