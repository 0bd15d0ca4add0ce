"""The Kuramoto step's kernels without a GPU: numbers in Triton's interpreter, and machine code for two architectures."""

from __future__ import annotations

import pytest
import torch
from triton_script import run_script

from oscbench.ops import kuramoto_step, triton_tools

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")

NUMBERS = """
import json
import draws
import torch
from ops_cases import gradient_floor, relative_error
from oscbench.ops import backends, kuramoto_step
from oscbench.ops.kuramoto.triton import update

torch.set_num_threads(1)
generator = draws.generator(0)
worst = {}

def normal(*shape):
    return torch.randn(shape, generator=generator)

for tokens, width, dtype, phase_dtype, phase_shape, causal, padded, gamma in [
    (1, 8, torch.float32, torch.float32, (2, 2), True, False, torch.tensor(0.5)),
    (37, 24, torch.float32, torch.float32, (2, 2), False, True, torch.tensor([0.3])),
    (70, 16, torch.float32, torch.float32, (), True, True, torch.tensor(0.5)),
    (37, 40, torch.bfloat16, torch.float32, (1, 2), True, False, torch.tensor(0.5)),
    (19, 16, torch.bfloat16, torch.bfloat16, (2, 2), False, True, torch.tensor(0.5, dtype=torch.bfloat16)),
    (19, 128, torch.float16, torch.float16, (2, 1), False, False, torch.tensor(0.05)),
]:
    # The layout that a projection of the tokens leaves, and phases off the unit circle as well.
    q, k = (normal(2, tokens, 2, width).transpose(1, 2).to(dtype) for _ in range(2))
    angle = 2 * normal(*phase_shape, tokens, width // 2)
    cos, sin = (1.1 * angle.cos()).to(phase_dtype), (0.9 * angle.sin()).to(phase_dtype)
    mask = torch.arange(tokens) >= torch.tensor([[tokens - 5], [0]]) if padded else None
    weights = normal(2, 2, tokens, width).to(phase_dtype)
    given, results = (q, k, cos, sin, gamma), []
    for backend in ("reference", "triton"):
        wide = torch.float64 if backend == "reference" else None
        leaves = [x.to(wide or x.dtype).requires_grad_() for x in given]
        options = {"is_causal": causal, "key_padding_mask": mask, "backend": backend}
        out = torch.cat(kuramoto_step(*leaves[:4], gamma=leaves[4], **options), dim=-1)
        if mask is not None:
            out = out.masked_fill(mask[:, None, :, None], 0.0)
        results.append((out, *torch.autograd.grad((out * weights.to(out.dtype)).sum(), leaves)))
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    floors = [0.0, *(gradient_floor(results[0][0].detach(), weights, x, bound) for x in given)]
    for index, (expected, found, floor) in enumerate(zip(*results, floors)):
        assert expected.shape == found.shape, (tokens, index)
        error = relative_error(found.detach(), expected.detach(), floor)
        key = f"{dtype} {'gradient' if index else 'out'}"
        worst[key] = max(worst.get(key, 0.0), error) if error == error else error
        assert worst[key] < bound, (tokens, width, dtype, index, error)

# Where the step cancels the phase its length is at the floor: 0 stays 0, and the gradient is that of the division by the floor.
zero = torch.zeros(1, 1, 3, 4)
leaves = [x.requires_grad_() for x in (torch.zeros(1, 1, 3, 8), zero.clone(), zero.clone())]
out = torch.cat(update(*leaves, torch.tensor(0.5)), dim=-1)
slopes = torch.autograd.grad(out.sum(), leaves)
floor = [bool((out == 0).all()), bool(torch.allclose(slopes[1], torch.full_like(zero, 1e5)))]
means, angle = normal(1, 2, 5, 8), normal(1, 2, 5, 4)
leaves = [x.requires_grad_() for x in (means, angle.cos(), angle.sin(), torch.tensor(0.5))]
torch.library.opcheck(update, tuple(leaves))
broken = angle.cos()
broken[0, 0, 3, 1] = torch.nan
new = update(means.detach(), broken, angle.sin(), torch.tensor(0.5))[0]
nan = bool(new[0, 0, 3, 1].isnan()) and int(new.isnan().sum()) == 1
print(json.dumps({"worst": worst, "floor": floor, "nan": nan, "listed": "triton" in backends("kuramoto_step", "cpu")}))
"""

COMPILES = """
import json
from oscbench.ops.kuramoto.triton_kernels import step_gradient_kernel, step_kernel
from compiled_kernels import bare, compile_for
from oscbench.ops.triton_tools import fixed_tile

def report(kernel, capability, kind, phase_kind, pairs):
    names = bare(kernel).arg_names
    types = {"H": "i32", "N": "i32"} | {name: "i32:16" for name in names if name.endswith("stride")}
    for name in names:
        if name.endswith("_pointer"):
            types[name] = f"*{kind}" if "mean" in name else f"*{phase_kind}"
    types["gamma_pointer"] = "*fp32"
    if "d_gamma_pointer" in names:
        types["d_gamma_pointer"] = "*fp32"
    tile, warps, stages = fixed_tile(kernel, {})
    constants = {"PAIRS": pairs, "BLOCK_P": pairs} | tile
    made = compile_for(kernel, types, constants, capability, num_warps=warps, num_stages=stages)
    print(json.dumps(made | {"kernel": bare(kernel).__name__}))
for kernel in (step_kernel, step_gradient_kernel):
    report(kernel, 80, "bf16", "fp32", 32)
    report(kernel, 90, "bf16", "bf16", 32)
    report(kernel, 90, "fp32", "fp32", 64)
"""


def test_numbers_in_the_interpreter(tmp_path):
    (found,) = run_script(tmp_path, NUMBERS, TRITON_INTERPRET="1")
    for dtype, bound in (("float32", 1e-5), ("bfloat16", 2e-2), ("float16", 2e-2)):
        for part in ("out", "gradient"):
            assert found["worst"][f"torch.{dtype} {part}"] < bound, found
    assert all(found["floor"]), found
    assert found["nan"], found
    assert found["listed"]


def test_machine_code_for_ampere_and_hopper(tmp_path):
    reports = run_script(tmp_path, COMPILES)
    assert {report["capability"] for report in reports} == {80, 90}
    for report in reports:
        if report["counted_in"] == "sass":
            assert report["stack_bytes"] == 0, report


def test_reasons_not_to_run():
    x, phase = torch.zeros(1, 1, 4, 8), torch.zeros(4, 4)
    with pytest.raises(ValueError, match="CUDA device"):
        kuramoto_step(x, x, phase, phase, gamma=0.5, backend="triton")
