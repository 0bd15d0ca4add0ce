"""Thousands of cells: what a plan costs grows with the entries, and a seed more costs next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import pytest
from command_line import PATIENCE_S, environment

from oscbench import catalog
from oscbench.records import identity, protocol
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite


def test_a_seed_more_asks_no_catalog_and_holds_no_copy_of_its_entry(tiny, monkeypatch):
    load, asked = catalog.load, []
    monkeypatch.setattr(catalog, "load", lambda *wanted: asked.append(wanted) or load(*wanted))

    def planned(seeds):
        loaded = load_suite(str(tiny(seeds=seeds)))
        asked.clear()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            cells = make_plan(loaded, only=[], device=None)
            return cells, len(asked), tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()

    planned(2)  # what is imported once
    few, few_asked, few_bytes = planned(2)
    many, many_asked, many_bytes = planned(1000)
    assert (len(few), len(many)) == (4, 2000)
    assert many_asked == few_asked
    assert (many_bytes - few_bytes) / (2000 - 4) < 3000, "bytes a cell"
    assert len({cell.identity for cell in many}) == 2000
    for cell in (many[0], many[999], many[-1]):
        assert (cell.identity, cell.protocol) == (identity(cell.spec), protocol(cell.spec))


PLANNED = """
import json, re, sys, time
from pathlib import Path
import torch

def peak():  # of this process alone: `ru_maxrss` is inherited
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024

before, begun = peak(), time.process_time()
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite
cells = make_plan(load_suite(sys.argv[1]), only=[], device="cpu")
told = {"cells": len(cells), "seconds": time.process_time() - begun, "bytes": peak() - before}
print(json.dumps(told | {"loaded": [name for name in ("sklearn", "scipy", "pandas") if name in sys.modules]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_ten_thousand_cells_are_planned_within_twenty_seconds_and_500_megabytes(tiny):
    """Of processor time, which other work on the machine does not count in; PyTorch itself is 220 of the 500 MB."""
    ten = [f"{{name: kope, variant: v{i}, settings: {{coupling_rate: {i + 1}.0}}}}" for i in range(10)]
    suite = tiny(mechanisms=f"[{', '.join(ten)}]", seeds=1000)
    done = subprocess.run(
        [sys.executable, "-c", PLANNED, suite],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(told)
    assert told["cells"] == 10_000
    assert told["seconds"] < 20.0
    assert told["bytes"] < 280e6
    assert told["loaded"] == [], "what only data and floors need is loaded with them"
