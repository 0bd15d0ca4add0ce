"""How many of the cells that a suite asks for are there: a run that was stopped half-way must not look complete."""

from __future__ import annotations

from dataclasses import dataclass

from oscbench.analysis.study import Study
from oscbench.suite.cells import expand
from oscbench.suite.errors import SuiteError
from oscbench.suite.load import load_points
from oscbench.suite.schema import Suite


@dataclass(frozen=True)
class Share:
    """Cells of a suite that have a record, and how many it asks for."""

    suite: str
    done: int
    asked: int


def unfinished(study: Study) -> list[Share]:
    """Suites with fewer records than their files ask for; suites whose file is not here cannot be counted."""
    found = (_share(study, suite) for suite in study.suites)
    return [share for share in found if share is not None and share.done < share.asked]


def _share(study: Study, suite: str) -> Share | None:
    try:
        points = load_points(suite)
        asked = {
            (point.label, cell.mechanism, cell.variant, cell.seed)
            for point in points
            if isinstance(point.suite, Suite)
            for cell in expand(point.suite, point.source)
        }
    except SuiteError:
        return None
    have = {(r.suite, r.mechanism, r.variant, r.seed) for r in study.loaded.records}
    done = len(asked & have)
    # Records of changed settings alone, as of `--set`, are no part of what the file asks for.
    return Share(suite, done, len(asked)) if done else None
