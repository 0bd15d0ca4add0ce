"""The Triton workshop: reasons not to run, tuning in the interpreter, counts from compiled code."""

from __future__ import annotations

import subprocess
import sys

import compiled_kernels
import pytest
import torch
from triton_script import run_text

from oscbench.ops import triton_tools
from oscbench.ops.dispatch import Call

needs_triton = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")

KERNEL = """
import torch, triton, triton.language as tl
import compiled_kernels
from oscbench.ops import triton_tools

@triton_tools.tiled([({"BLOCK": 128}, 4, 2), ({"BLOCK": 256}, 4, 2)], key=["count"])
@triton.jit
def total(x, y, count, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    sums = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, count, BLOCK):
        sums += tl.exp2(tl.load(x + start + offsets, mask=start + offsets < count, other=0.0).to(tl.float32))
    tl.store(y + offsets, sums)
"""


def child(tmp_path, code, **environment):
    return run_text(tmp_path, KERNEL + code, **environment)


@needs_triton
def test_tiled_kernel_runs_in_the_interpreter(tmp_path):
    code = """
x, y = torch.ones(256, dtype=torch.float16), torch.zeros(256)
total[(1,)](x, y, 256)
print(float(y.sum()))
"""
    assert float(child(tmp_path, code, TRITON_INTERPRET="1")) == 512.0


@needs_triton
def test_more_heads_than_a_grid_s_side_holds(tmp_path):
    code = """
from oscbench import ops
triton_tools.MOST_IN_A_GRID = 2
theta = torch.randn(2, 2, 37, 4)
gate, options = torch.ones(2, 1, 4), {"include_self": False, "is_causal": True}
found, wanted = (ops.torus_attention(theta, gate, backend=name, **options) for name in ("triton", "reference"))
torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
try:
    ops.torus_attention(torch.randn(7, 1, 5, 4), torch.ones(1, 1, 4), backend="triton")
except ValueError as error:
    print(error)
"""
    assert "7 heads of a batch do not fit a grid" in child(tmp_path, code, TRITON_INTERPRET="1")


@needs_triton
def test_compiles_for_gpus_that_are_not_here(tmp_path):
    code = """
for capability in (80, 90):
    report = compiled_kernels.compile_for(
        total, {"x": "*bf16", "y": "*fp32", "count": "i32"}, {"BLOCK": 128}, capability
    )
    assert report["counted_in"] in ("sass", "ptx"), report
    assert report["special"] >= 1 and report["instructions"] > report["special"], report
    if report["counted_in"] == "sass":
        assert 0 < report["registers"] <= 255 and report["loop_special"] >= 1, report
"""
    child(tmp_path, code)


@needs_triton
def test_compiled_code_loads_in_wide_words_as_at_run_time(tmp_path):
    code = """
import re
copy = '''
import triton, triton.language as tl
@triton.jit
def copy(x, y, row, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * row + tl.arange(0, BLOCK)
    tl.store(y + offsets, tl.load(x + offsets))
'''
import pathlib, sys
pathlib.Path("PLACE/copied.py").write_text(copy)
sys.path.insert(0, "PLACE")
from copied import copy
counts = [
    compiled_kernels.compile_for(copy, {"x": "*bf16", "y": "*bf16", "row": row}, {"BLOCK": 1024}, 90)["instructions"]
    for row in ("i32:16", "i32")
]
assert counts[0] < counts[1], counts
"""
    child(tmp_path, code.replace("PLACE", str(tmp_path)))


def test_ops_do_not_import_triton():
    code = "import sys, oscbench.ops; sys.exit('triton' in sys.modules or 'xformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reasons_not_to_run(monkeypatch):
    monkeypatch.setattr(triton_tools, "installed", lambda: False)
    assert "not installed" in triton_tools.why_not(Call(torch.device("cpu")))
    monkeypatch.setattr(triton_tools, "installed", lambda: True)
    monkeypatch.setattr(triton_tools, "interpreting", lambda: False)
    assert "CUDA" in triton_tools.why_not(Call(torch.device("cpu")))
    monkeypatch.setattr(triton_tools, "interpreting", lambda: True)
    assert triton_tools.why_not(Call(torch.device("cpu"), torch.float32, 17, 40)) is None
    assert "float64" in triton_tools.why_not(Call(torch.device("cpu"), torch.float64, 17, 40))
    assert "got 20" in triton_tools.why_not(Call(torch.device("cpu"), torch.float32, 17, 20))
    assert "got 136" in triton_tools.why_not(Call(torch.device("cpu"), torch.float32, 17, 136))


def test_counts_the_innermost_loop():
    code = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   IMAD R2, R1, R1, RZ ;
        /*0020*/                   MUFU.EX2 R3, R2 ;
        /*0030*/                   HMMA.16816.F32 R4, R8, R10, R4 ;
        /*0040*/              @!P0 BRA 0x20 ;
        /*0050*/                   MUFU.LG2 R3, R2 ;
        /*0058*/                   HFMA2.MMA R9, -RZ, RZ, 0, 0 ;
        /*0060*/               @P1 BRA 0x10 ;
        /*0070*/                   EXIT ;
        /*0080*/                   BRA 0x80;
"""
    counts = compiled_kernels.count_sass(code)
    assert counts["special"] == 2
    assert counts["tensor_core"] == 1
    assert (counts["loop_instructions"], counts["loop_special"]) == (3, 1)
    assert counts["loops"] == [{"instructions": 3, "special": 1, "tensor_core": 1}]
