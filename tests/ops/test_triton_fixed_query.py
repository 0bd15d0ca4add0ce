"""The fixed-query kernels without a GPU: numbers in Triton's interpreter, and machine code for two architectures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from command_line import SUPPORT
from command_line import environment as around

from oscbench.ops import triton_tools

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")


def child(task, **environment):
    kept = {name: value for name, value in around().items() if name != "TRITON_INTERPRET"}
    script = SUPPORT / "triton_child.py"
    result = subprocess.run(
        [sys.executable, script, task], capture_output=True, text=True, env=kept | environment, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_numbers_in_the_interpreter():
    child("numbers", TRITON_INTERPRET="1")


def test_machine_code_for_ampere_and_hopper():
    reports = [json.loads(line) for line in child("compile").splitlines()]
    assert {report["capability"] for report in reports} == {80, 90}
    for report in reports:
        assert report["shared_bytes"] <= 160 * 1024, report
        if report["counted_in"] == "sass" and report["dtype"] == "bf16":
            assert report["stack_bytes"] == 0, report
            if report["kernel"] in ("forward_kernel", "settle_kernel"):
                # log1p as a polynomial: the exponential is the only special function of a pair.
                assert report["special_a_pair"] <= 1.1, report
