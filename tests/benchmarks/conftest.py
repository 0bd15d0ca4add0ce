"""Options of the gates, the table after a run, exit code 3, and the one way to update the baseline."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from tabulate import tabulate

from oscbench import catalog
from oscbench.analysis.costs import regression
from oscbench.machine.environment import environment
from oscbench.mechanisms import Mechanism

BASELINE = Path(__file__).parent / "baseline.json"
UNTIMED = ("test_gates.py", "test_regression.py", "test_gpu_session.py", "test_kernel_table.py")
GATES = pytest.StashKey[dict[str, dict]]()


def pytest_addoption(parser):
    group = parser.getgroup("gates")
    group.addoption("--update-baseline", action="store_true", help="write baseline.json and show the diff")
    group.addoption("--make-slower", metavar="MECHANISM", help="proof: its mix runs four times")
    group.addoption("--make-costlier", metavar="MECHANISM", help="proof: its closed form grows by 2 FLOPs")


def pytest_configure(config):
    config.stash[GATES] = {}
    slower, costlier = (_option(config, f"--make-{how}") for how in ("slower", "costlier"))
    if slower:
        _slow_down(catalog.load("mechanisms", slower))
    if costlier:
        found = catalog.load("mechanisms", costlier)
        flops = found.flops
        found.flops = lambda self, tokens: flops(self, tokens) + 2


def _option(config, name):
    """An option of ours; where this file was loaded too late for options, as by a plain `pytest`, None."""
    return config.getoption(name, None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All that stands in this folder takes times, but for the hard gates and the comparison."""
    for item in items:
        if item.path.parent == BASELINE.parent and item.path.name not in UNTIMED:
            item.add_marker(pytest.mark.timed)


def _slow_down(found: type[Mechanism]) -> None:
    mix = found.mix

    def slow(self, layer, tokens, state, context):
        for _ in range(3):
            mix(self, layer, tokens, state, context)
        return mix(self, layer, tokens, state, context)

    found.mix = slow


@pytest.fixture(scope="session")
def baseline() -> dict[str, regression.Reading]:
    return regression.read(BASELINE) if BASELINE.is_file() else {}


@pytest.fixture
def gates(request) -> dict[str, dict]:
    """Where a timed test leaves what it found: name -> entry of the baseline."""
    return request.config.stash[GATES]


@pytest.fixture
def updating(request) -> bool:
    return bool(_option(request.config, "--update-baseline"))


def _readings(config) -> dict[str, regression.Reading]:
    found = config.stash.get(GATES, {})
    return {name: regression.Reading(**entry["extra_info"]["gate"]) for name, entry in found.items()}


def _changes(config) -> list[regression.Change]:
    new = _readings(config)
    old = regression.read(BASELINE) if BASELINE.is_file() else {}
    # With -k only some were run; the others are not gone.
    return regression.compare({name: old[name] for name in new if name in old}, new)


def pytest_terminal_summary(terminalreporter, config):
    if not config.stash.get(GATES, {}):
        return
    changes = _changes(config)
    terminalreporter.section("regression gates")
    rows = regression.table(changes, everything=True)
    shown = [row for row in rows if row["verdict"] != "same" or "operations" not in row["quantity"]]
    terminalreporter.write_line(tabulate(shown, headers="keys", tablefmt="simple", disable_numparse=True))
    terminalreporter.write_line(regression.summary(changes))
    if _option(config, "--update-baseline"):
        terminalreporter.write_line(f"{BASELINE}: written; `git diff` shows the same")


def pytest_sessionfinish(session):
    config = session.config
    if not config.stash.get(GATES, {}):
        return
    if _option(config, "--update-baseline"):
        return
    if regression.regressions(_changes(config)):
        session.exitstatus = regression.REGRESSION_EXIT_CODE


def pytest_unconfigure(config):
    """After the summary has shown the difference: the new baseline, in pytest-benchmark's own form."""
    if not config.stash.get(GATES, {}) or not _option(config, "--update-baseline"):
        return
    import torch

    old = json.loads(BASELINE.read_text(encoding="utf-8"))["benchmarks"] if BASELINE.is_file() else []
    merged = {entry["name"]: entry for entry in old} | config.stash[GATES]
    known = environment(torch.device("cpu"))
    machine = {key: known[key] for key in ("processor", "cores", "packages", "python")}
    data = {"machine_info": machine | {"node": platform.system()}, "benchmarks": list(merged.values())}
    BASELINE.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
