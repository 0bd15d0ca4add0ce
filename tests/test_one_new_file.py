"""A section, a measure with a cost and an op are one new file each, and no edit elsewhere: page, costs, FLOPs, timing and laws have them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PATIENCE_S, SUPPORT, TINY, copied_package, environment
from throwaway_files import MEASURE, OP, SECTION

TESTS = Path(__file__).parent
TIMING = """
kind: timing
family: ops
contenders: [{name: softmax_attention, backends: [sdpa]}, mean_of_all]
settings: {cpu: [{tokens: [8, 16], width: 16, heads: 2, memory: false}]}
effort: {seconds: 0.01, min_rounds: 2}
device: cpu
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with one file more of each kind."""
    folder = copied_package(tmp_path_factory.mktemp("copy"))
    for place, text in (
        ("reporting/sections/motto.py", SECTION),
        ("measures/footprint.py", MEASURE),
        ("ops/mean_of_all.py", OP),
    ):
        (folder / "oscbench" / place).write_text(text.lstrip("\n"), encoding="utf-8")
    return folder


def python(package, folder, *arguments):
    """Run Python on the copy."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": f"{package}:{SUPPORT}", "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def oscbench(package, folder, *arguments):
    """Run the command of the copy."""
    return python(package, folder, "-c", "from oscbench.cli import main; main()", *arguments)


def test_section_and_cost_are_on_the_page(package, tmp_path):
    suite = TINY | {"measures": "[params, flops, training_time, footprint]", "seeds": 2}
    (tmp_path / "mine.yaml").write_text("\n".join(f"{key}: {value}" for key, value in suite.items()))
    oscbench(package, tmp_path, "run", "mine.yaml", "--results", "results")
    oscbench(package, tmp_path, "report", "--results", "results", "--output", "page")
    page = (tmp_path / "page" / "suite-mine.html").read_text(encoding="utf-8")
    assert "Motto of a stranger" in page
    assert "One file told of 1 experiment." in page
    assert "Footprint of a stranger" in page
    (table,) = (tmp_path / "page" / "tables").glob("*fronts.csv")
    with table.open(encoding="utf-8", newline="") as file:
        costs = [row["cost"] for row in csv.DictReader(file)]
    ranked = ["Parameters", "Footprint of a stranger", "Forward FLOPs a sample", "Training time"]
    assert [cost for cost in dict.fromkeys(costs) if cost in ranked] == ranked


def test_op_is_timed_with_its_flops(package, tmp_path):
    (tmp_path / "times.yaml").write_text(TIMING)
    oscbench(package, tmp_path, "run", "times.yaml", "--results", "results")
    found = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("*.json")]
    assert {record["mechanism"] for record in found} == {"softmax_attention+mean_of_all"}
    for record in found:
        time = record["measures"]["forward_s/mean_of_all:reference"]
        tokens = record["spec"]["tokens"]
        assert time["value"] > 0
        assert time["details"]["flops"] == 2 * 2 * tokens**2 * 8
        assert record["measures"]["forward_ratio/mean_of_all:reference"]["value"] > 0
    code = "from oscbench.ops.flops import attention_flops; print(attention_flops('mean_of_all', 3, 2, 8, 4))"
    assert python(package, tmp_path, "-c", code).strip() == str(2 * 3 * 2 * 8 * 8 * 4)


def laws(package, folder):
    """Outcome of the law tests of the op."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "mean_of_all", str(TESTS / "ops" / "test_laws.py")],
        cwd=folder,
        env=environment() | {"PYTHONPATH": f"{package}:{SUPPORT}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_op_is_held_to_the_laws(package, tmp_path):
    kept = laws(package, tmp_path)
    assert kept.returncode == 0, kept.stdout  # it would be 5 if no law were about the op
    path = package / "oscbench" / "ops" / "mean_of_all.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("is_causal=is_causal, key_padding_mask=key_padding_mask).to(", "is_causal=False).to(")
    )
    try:
        broken = laws(package, tmp_path)
    finally:
        path.write_text(text)
    assert broken.returncode == 1
    for law in ("test_causality", "test_right_padding_is_the_same_as_cutting_off"):
        assert f"{law}[mean_of_all" in broken.stdout
