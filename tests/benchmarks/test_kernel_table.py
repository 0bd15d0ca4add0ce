"""The committed table of what compilers make of our Triton kernels; `python tests/benchmarks/kernel_table.py` makes it anew."""

from __future__ import annotations

import json

import kernel_table
import pytest
from triton_script import run_script

from oscbench.ops import triton_tools

COMMITTED = json.loads(kernel_table.TABLE.read_text())
MOST_SPILLED = 1064
"""Bytes a thread, of torus' gradient in float32 on sm_80, the worst; in half precision 328, of SSA's."""
FAMILIES = ("ssa forward", "ssa backward", "fixed query", "KoPE", "torus", "Kuramoto")


def test_the_table_has_every_kernel_for_both_gpus_in_both_precisions():
    # One of a family in each at least: what is missing, the next run of the script adds.
    for family in FAMILIES:
        for dtype in kernel_table.DTYPES:
            for capability in kernel_table.CAPABILITIES:
                there = [
                    row
                    for row in COMMITTED["rows"]
                    if row.startswith(family) and row.endswith(f"{dtype}, sm_{capability}")
                ]
                assert there, (family, dtype, capability)


def test_no_kernel_wants_more_than_a_gpu_has():
    for name, row in COMMITTED["rows"].items():
        assert row["shared_bytes"] <= 163 * 1024, name
        # Beyond 255 registers a thread a compiler spills onto the stack, in slow memory: never forwards in half precision.
        forwards = "gradient" not in name and "backward" not in name
        assert row["stack_bytes"] <= (0 if forwards and "bf16" in name else MOST_SPILLED), name


@pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")
@pytest.mark.parametrize(
    "which", ["ssa forward", "fixed query", "fixed query gradient to k", "KoPE turn", "torus"]
)
def test_machine_code_is_that_of_the_table(which, tmp_path):
    import triton

    if triton.__version__ != COMMITTED["triton"]:
        pytest.skip(f"the table is of Triton {COMMITTED['triton']}, here is {triton.__version__}")
    code = (
        f"import json, sys; sys.path.insert(0, {str(kernel_table.TABLE.parent)!r})\n"
        "import kernel_table as t\n"
        f"(one,) = [s for s in t.subjects('bf16') if s.name == {which!r}]\n"
        "print(json.dumps(t.compiled(one, 'bf16', 90)))"
    )
    found = run_script(tmp_path, code)[-1]
    assert found == COMMITTED["rows"][f"{which}, bf16, sm_90"], "a change on purpose: run kernel_table.py"


@pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")
def test_rows_of_128_in_float32_fit_gpus_of_99_kb_of_shared_memory(tmp_path):
    """As capabilities 8.6 and 8.9 have; with the tiles that training takes."""
    code = (
        f"import json, sys; sys.path.insert(0, {str(kernel_table.TABLE.parent)!r})\n"
        "import kernel_table as t\n"
        "t.WIDTH = 128\n"
        "wanted = ('ssa forward', 'ssa backward, as receivers', 'ssa backward, as senders')\n"
        "some = [s for s in t.subjects('fp32') if s.name in wanted]\n"
        "print(json.dumps({s.name: t.compiled(s, 'fp32', 86)['shared_bytes'] for s in some}))"
    )
    found = run_script(tmp_path, code)[-1]
    assert len(found) == 3
    assert max(found.values()) <= 99 * 1024, found
