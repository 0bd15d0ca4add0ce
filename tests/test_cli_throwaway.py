"""A mechanism is one new file and no edit elsewhere: it is listed, run, exported and reported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PATIENCE_S, TINY, environment

import oscbench

MECHANISM = '''
"""Mean attention: the simplest mixing that there is.

Idea:
    Every token hears the mean of all.

Equation:
    out = mean_j v_j, eq. 0 of Nobody 2026, arXiv 2601.00000.

Symbols:
    v_j -> values (B, N, D).

Deviations:
    None.

Cost:
    4 N D² FLOPs a layer.
"""

from __future__ import annotations

import torch
from torch import nn

from oscbench.mechanisms import Mechanism, MechanismConfig, Mixed, Traits, linear_flops
from oscbench.ops.operations import linear_operations


class MeanConfig(MechanismConfig):
    """Settings."""

    gain: float = 1.0


class Mean(Mechanism):
    """Mean attention."""

    Config = MeanConfig
    label = "mean of all"
    traits = Traits(causal=False, needs_position=True, cacheable=False)

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.values = nn.ModuleList(nn.Linear(shape.width, shape.width) for _ in range(shape.layers))

    def mix(self, layer, tokens, state, context):
        values = self.values[layer](tokens)
        update = self.config.gain * values.mean(1, keepdim=True).expand_as(values)
        if not context.diagnostics:
            return Mixed(update)
        batch, count, _ = tokens.shape
        return Mixed(update, {"attention": torch.full((batch, self.shape.heads, count, count), 1 / count)})

    def flops(self, tokens):
        return self.shape.layers * linear_flops(tokens, self.shape.width, self.shape.width)

    def operations(self, tokens, evaluations=0.0):
        return self.shape.layers * linear_operations(tokens, self.shape.width, self.shape.width)


mechanism = Mean
'''
COMMANDS = [
    ["list", "mechanisms"],
    ["run", "mine.yaml", "--results", "results"],
    ["export", "--results", "results", "--format", "json", "--output", "cells.json"],
    ["report", "--compare", "mean:gain=2.0,softmax", "--results", "results", "--output", "page"],
]
SCRIPT = """
import sys
from oscbench.cli import main
for arguments in {commands!r}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{{arguments}} ended with {{ended.code}}")
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the installed package."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(oscbench.__file__).parent, folder / "oscbench", ignore=ignored)
    return folder


def test_one_new_file_is_listed_run_exported_and_reported(package, tmp_path):
    (package / "oscbench" / "mechanisms" / "mean.py").write_text(MECHANISM.strip() + "\n")
    entries = "[softmax, {name: mean, grid: {gain: [1.0, 2.0]}}]"
    suite = TINY | {"mechanisms": entries, "seeds": "2"}
    (tmp_path / "mine.yaml").write_text("\n".join(f"{key}: {value}" for key, value in suite.items()))
    variables = environment()
    variables["PYTHONPATH"] = str(package)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(commands=COMMANDS)],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Every token hears the mean of all." in done.stdout
    rows = json.loads((tmp_path / "cells.json").read_text())
    assert {(row["mechanism"], row["variant"], row["seed"], row["status"]) for row in rows} == {
        (mechanism, variant, seed, "ok")
        for mechanism, variant in (("softmax", "default"), ("mean", "gain=1.0"), ("mean", "gain=2.0"))
        for seed in (0, 1)
    }
    assert len({row["value"] for row in rows}) > 1
    page = (tmp_path / "page" / "report.md").read_text()
    assert "mean:gain=2.0" in page
    assert (tmp_path / "page" / "index.html").is_file()
