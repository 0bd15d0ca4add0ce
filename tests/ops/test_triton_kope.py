"""KoPE's rotation kernels without a GPU: numbers in Triton's interpreter, and machine code for two architectures."""

from __future__ import annotations

import pytest
import torch
from triton_script import run_script

from oscbench.ops import kope_attention, triton_tools

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")

NUMBERS = """
import json
import draws
import torch
from ops_cases import gradient_floor, relative_error
from oscbench.ops import backends, kope_attention
from oscbench.ops.kope import mixed_kope_attention
from oscbench.ops.kope.triton import turn

torch.set_num_threads(1)
generator = draws.generator(0)
worst = {}

def judge(name, dtype, results, weights, given):
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    floors = [0.0, *(gradient_floor(results[0][0].detach(), weights, x, bound) for x in given)]
    for index, (expected, found, floor) in enumerate(zip(*results, floors)):
        assert expected.shape == found.shape, (name, index)
        error = relative_error(found.detach(), expected.detach(), floor)
        key = f"{name} {dtype} {'gradient' if index else 'out'}"
        worst[key] = max(worst.get(key, 0.0), error) if error == error else error

def draw(tokens, width, dtype, phase_dtype, phase_shape):
    # The layout that a projection of the tokens leaves: heads after tokens.
    q, k, v = (torch.randn(2, tokens, 2, width, generator=generator).transpose(1, 2).to(dtype) for _ in range(3))
    angle = torch.randn(*phase_shape, tokens, width // 2, generator=generator) * 2
    # Phases off the unit circle as well: the gradient must not rest on it.
    return q, k, v, (1.1 * angle.cos()).to(phase_dtype), (0.9 * angle.sin()).to(phase_dtype)

def attend(given, dtype, mask, **options):
    results = []
    weights = torch.randn(given[2].shape, generator=generator).to(dtype)
    for backend in ("reference", "triton"):
        wide = torch.float64 if backend == "reference" else None
        leaves = [x.to(wide or x.dtype).requires_grad_() for x in given]
        out = kope_attention(*leaves, key_padding_mask=mask, backend=backend, **options)
        if mask is not None:
            out = out.masked_fill(mask[:, None, :, None], 0.0)
        results.append((out, *torch.autograd.grad((out * weights.to(out.dtype)).sum(), leaves)))
    judge("attention", dtype, results, weights, given)

def mixed(given, mix, dtype):
    results = []
    weights = torch.randn(given[2].shape, generator=generator).to(dtype)
    for backend in ("reference", "triton"):
        wide = torch.float64 if backend == "reference" else None
        *leaves, matrix = [x.to(wide or x.dtype).requires_grad_() for x in (*given, mix)]
        out, cos, sin = mixed_kope_attention(*leaves, matrix, backend=backend)
        loss = (out * weights.to(out.dtype)).sum() + (cos * cos * sin).sum()
        results.append((out, *torch.autograd.grad(loss, [*leaves, matrix])))
    judge("mixing", dtype, results, weights, (*given, mix))

for tokens, width, causal, values, padded, dtype, phase_dtype, phase_shape in [
    (1, 8, True, True, False, torch.float32, torch.float32, (2, 2)),
    (37, 24, True, True, True, torch.float32, torch.float32, (2, 2)),
    (67, 16, False, False, False, torch.float32, torch.float32, ()),
    (19, 128, False, True, False, torch.float32, torch.float32, (2, 1)),
    (37, 40, True, True, False, torch.bfloat16, torch.bfloat16, (2, 2)),
    (37, 40, False, True, True, torch.float16, torch.float32, (1, 2)),
]:
    given = draw(tokens, width, dtype, phase_dtype, phase_shape)
    mask = torch.arange(tokens) >= torch.tensor([[tokens], [tokens - 5]]) if padded else None
    attend(given, dtype, mask, is_causal=causal, rotate_values=values)
for tokens, width, dtype, phase_dtype in [
    (37, 24, torch.float32, torch.float32),
    (5, 128, torch.float32, torch.float32),
    (19, 16, torch.bfloat16, torch.float32),
    (19, 64, torch.float16, torch.float16),
]:
    given = draw(tokens, width, dtype, phase_dtype, (2, 2))
    given[3][0, 0, 0], given[4][0, 0, 0] = 0.0, 0.0  # no phase at all: its length is at the floor
    pairs = width // 2
    matrix = torch.eye(pairs) + 0.1 * torch.randn(2, pairs, pairs, generator=generator)
    mixed(given, matrix.to(phase_dtype), dtype)

q, k, v, cos, sin = draw(20, 16, torch.float32, torch.float32, (2, 2))
cos[0, 0, 3, 0] = torch.nan
turned = turn(q, k, v, cos, sin, torch.eye(8).expand(2, 8, 8), False)
nan = [bool(x[0, 0, 3].isnan().all()) and not x[0, 0, 4].isnan().any() for x in turned[3:]]
nan += [bool(x[0, 0, 3].isnan().all()) for x in turned[:3]]
leaves = [x.detach()[:1, :, :3].requires_grad_() for x in (q, k, v, sin, sin)]
torch.library.opcheck(turn, (*leaves, torch.eye(8).expand(2, 8, 8).contiguous().requires_grad_(), False))
torch.library.opcheck(turn, (leaves[0], None, None, *(x.detach() for x in leaves[3:]), None, True))
print(json.dumps({"worst": worst, "nan": nan, "listed": "triton" in backends("kope_attention", "cpu")}))
"""

COMPILES = """
import json
from oscbench.ops.kope.triton_kernels import turn_gradient_kernel, turn_kernel
from compiled_kernels import bare, compile_for

PHASE = ("cos", "sin", "mix", "cos_out", "sin_out", "cos_grad", "sin_grad", "d_cos", "d_sin")
def report(kernel, capability, kind, pairs, **constants):
    names = bare(kernel).arg_names
    types = {"H": "i32", "N": "i32"}
    types |= {name: "i32" if pairs % 16 else "i32:16" for name in names if name.endswith("stride")}
    for name in names:
        if name.endswith("_pointer"):
            types[name] = "*fp32" if name.removesuffix("_pointer") in PHASE else f"*{kind}"
    block = {8: 16, 20: 32, 32: 32, 64: 64}[pairs]
    constants |= {"PAIRS": pairs, "BLOCK_P": block, "BLOCK": 16}
    kept = {name: value for name, value in constants.items() if name in names}
    made = compile_for(kernel, types, kept, capability, num_stages=1)
    return made | {"kernel": bare(kernel).__name__, "kind": kind, "pairs": pairs, "mix": constants["MIX"]}
for kernel in (turn_kernel, turn_gradient_kernel):
    full = {"TENSORS": 3, "BACK": False, "MIX": True, "PHASES": True}
    print(json.dumps([
        report(kernel, 80, "bf16", 32, **full),
        report(kernel, 90, "bf16", 32, **full),
        report(kernel, 90, "fp32", 64, **full),
        report(kernel, 80, "fp16", 20, **full),
        report(kernel, 90, "bf16", 32, **full | {"TENSORS": 1, "BACK": True, "MIX": False}),
    ]))
"""


def test_numbers_in_the_interpreter(tmp_path):
    (found,) = run_script(tmp_path, NUMBERS, TRITON_INTERPRET="1")
    for op in ("attention", "mixing"):
        for dtype, bound in (("float32", 1e-5), ("bfloat16", 2e-2), ("float16", 2e-2)):
            for part in ("out", "gradient"):
                assert found["worst"][f"{op} torch.{dtype} {part}"] < bound, found
    assert all(found["nan"]), found
    assert found["listed"]


def test_machine_code_for_ampere_and_hopper(tmp_path):
    reports = [report for line in run_script(tmp_path, COMPILES) for report in line]
    assert {report["capability"] for report in reports} == {80, 90}
    for report in reports:
        assert report["shared_bytes"] <= 160 * 1024, report
        assert bool(report["tensor_core"]) == report["mix"], report
        if report["counted_in"] == "sass":
            assert report["stack_bytes"] == 0, report


def test_reasons_not_to_run():
    x, phase = torch.zeros(1, 1, 4, 8), torch.zeros(4, 4)
    with pytest.raises(ValueError, match="CUDA device"):
        kope_attention(x, x, x, phase, phase, backend="triton")
