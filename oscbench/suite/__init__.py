"""YAML to a typed suite to a list of cells (no torch)."""

from oscbench.suite.cells import CellRequest, check_compared, expand, left_out, paired_seeds, select
from oscbench.suite.errors import SuiteError, explain
from oscbench.suite.load import LoadedSuite, find_suite, load_points, load_suite, suite_names
from oscbench.suite.schema import Suite
from oscbench.suite.timing import TimingSuite

__all__ = [
    "CellRequest",
    "LoadedSuite",
    "Suite",
    "SuiteError",
    "TimingSuite",
    "check_compared",
    "expand",
    "explain",
    "find_suite",
    "left_out",
    "load_points",
    "load_suite",
    "paired_seeds",
    "select",
    "suite_names",
]
