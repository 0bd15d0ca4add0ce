"""Thousands of cells: what a plan costs grows with the entries, and a seed more costs next to nothing."""

from __future__ import annotations

import tracemalloc

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
