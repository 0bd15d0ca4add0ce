"""How much the tests of this folder try: little beside all others, much under `tox -e fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("OSCBENCH_FUZZ", "100"))
KILLS = int(os.environ.get("OSCBENCH_KILLS", "10"))


def examples(share=1.0):
    """Settings for a share of the examples; few of them are the same every time, so that a failure is nobody's bad luck."""
    return settings(
        max_examples=max(1, round(share * EXAMPLES)),
        derandomize=EXAMPLES <= 100,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
