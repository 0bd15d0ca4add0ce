"""Records to one tidy table, statistics, figures and a page (no torch, and no mechanism known by name).

What it offers is found at first use, so that an export does not wait for what only a report needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oscbench.errors import ReportError
    from oscbench.reporting.render.export import export_frame
    from oscbench.reporting.report import build_report

_PLACES = {
    "ReportError": "oscbench.errors",
    "build_report": "oscbench.reporting.report",
    "export_frame": "oscbench.reporting.render.export",
}
__all__ = ["ReportError", "build_report", "export_frame"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
