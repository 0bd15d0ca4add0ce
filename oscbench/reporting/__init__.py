"""Records to one tidy table, statistics, figures and a page (no torch, and no mechanism known by name)."""

from oscbench.analysis.errors import ReportError
from oscbench.reporting.render.export import export_frame
from oscbench.reporting.report import build_report

__all__ = ["ReportError", "build_report", "export_frame"]
