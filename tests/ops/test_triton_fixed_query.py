"""The fixed-query kernels without a GPU: numbers in Triton's interpreter, and machine code for two architectures."""

from __future__ import annotations

import pytest
from triton_script import run_script

from oscbench.ops import triton_tools

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")


def test_numbers_in_the_interpreter(tmp_path):
    run_script(tmp_path, "import triton_child; triton_child.numbers()", TRITON_INTERPRET="1")


def test_machine_code_for_ampere_and_hopper(tmp_path):
    reports = run_script(tmp_path, "import triton_child; triton_child.compiled()")
    assert {report["capability"] for report in reports} == {80, 90}
    for report in reports:
        assert report["shared_bytes"] <= 160 * 1024, report
        if report["counted_in"] == "sass" and report["dtype"] == "bf16":
            assert report["stack_bytes"] == 0, report
            if report["kernel"] in ("forward_kernel", "settle_kernel"):
                # log1p as a polynomial: the exponential is the only special function of a pair.
                assert report["special_a_pair"] <= 1.1, report
