"""The torus kernels without a GPU: numbers in Triton's interpreter, and machine code for two architectures."""

from __future__ import annotations

import pytest
import torch
from triton_script import run_script

from oscbench.ops import torus_attention, triton_tools
from oscbench.ops.dispatch import Call

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")

NUMBERS = """
import json
import draws
import torch
from ops_cases import gradient_floor, relative_error
from oscbench.ops import backends, torus_attention
from oscbench.ops.torus.heard import heard
from oscbench.ops.torus.triton import sink_attention_triton
from oscbench.ops.torus.triton_waves import tangent, waves

torch.set_num_threads(1)
generator = draws.generator(0)
worst = {}

def judge(name, dtype, results, weights, given, floor):
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    floors = [gradient_floor(results[0][0].detach(), weights, x, bound) for x in given]
    for index, (expected, found, small) in enumerate(zip(*results, [0.0, *floors])):
        assert expected.shape == found.shape, (name, index)
        least = max(small, floor * expected.numel() ** 0.5)
        error = relative_error(found.detach(), expected.detach(), least)
        key = f"{dtype} {'gradient' if index else 'out'}"
        worst[key] = max(worst.get(key, 0.0), error) if error == error else error
        assert worst[key] < bound, (name, index, error)

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
for tokens, width, dtype, own, causal, padded, positions, sharp in [
    (1, 8, F32, True, False, False, False, 1.0),
    (1, 8, F32, False, True, False, False, 1.0),
    (70, 12, F32, False, False, True, False, 1.0),
    (131, 5, F32, True, False, False, True, 1.0),
    (131, 8, F32, True, True, True, False, 1.0),
    (67, 16, F32, False, True, False, True, 1.0),
    (33, 64, F32, False, False, False, False, 1.0),
    (150, 16, F32, True, False, True, False, 40.0),
    (150, 16, BF16, False, False, True, False, 1.0),
    (67, 32, BF16, True, True, False, True, 1.0),
    (67, 16, F16, True, False, False, False, 1.0),
]:
    theta = (2 * torch.randn(2, 2, tokens, width, generator=generator)).to(dtype)
    gate = (0.5 * sharp * torch.rand(2, 1, width, generator=generator)).to(dtype)
    extra = [torch.rand(width, generator=generator), torch.randn(2, 1, width, generator=generator)] if positions else []
    given = [theta, gate, *extra]
    mask = None
    if padded:
        mask = torch.rand(2, tokens, generator=generator) < 0.3
        mask[:, 0] = True  # causal, it hears nobody
        mask[1] = True  # nor does anybody here
    weights = torch.randn(theta.shape, generator=generator).to(dtype)
    results = []
    for backend in ("reference", "triton"):
        wide = torch.float64 if backend == "reference" else None
        leaves = [x.to(wide or x.dtype).requires_grad_() for x in given]
        named = dict(zip(("drift", "lag"), leaves[2:]))
        options = {"include_self": own, "is_causal": causal, "key_padding_mask": mask}
        out = torus_attention(*leaves[:2], **named, **options, backend=backend)
        if mask is not None:
            out = out.masked_fill(mask[:, None, :, None], 0.0)
            broken = leaves[0].detach().masked_fill(mask[:, None, :, None], torch.nan)
            again = torus_attention(broken, *leaves[1:2], **named, **options, backend=backend)
            assert torch.equal(again.masked_fill(mask[:, None, :, None], 0.0), out)
        grads = torch.autograd.grad((out * weights.to(out.dtype)).sum(), leaves)
        results.append((out, *grads))
    judge((tokens, width, dtype, own, causal, padded), dtype, results, weights, given, 1e-4)

def leaf(*shape):
    return torch.randn(shape, generator=generator).requires_grad_()

padding = torch.tensor([[False, False, True], [False, False, False]])
# The log-sum-exp of who hears nobody is -inf, which opcheck's comparison of gradients takes as it is.
torch.library.opcheck(sink_attention_triton, (leaf(2, 1, 3, 8), leaf(2, 1, 3, 8), leaf(2, 1, 3, 4), leaf(2, 1, 3), padding, True))
for gate, turns in ((leaf(1, 1, 4), [leaf(3, 4), leaf(3, 4), leaf(1, 1, 4), leaf(1, 1, 4)]), (leaf(2, 1, 3, 1), [None] * 4)):
    torch.library.opcheck(waves, (leaf(2, 1, 3, 4), leaf(2, 1, 3, 4), gate, *turns))
torch.library.opcheck(tangent, (leaf(2, 1, 3, 8), leaf(2, 1, 3, 8)))
# What is heard of other values: float64 takes plain PyTorch, float32 these kernels.
mask = torch.arange(21) >= torch.tensor([[16], [21]])
given = [leaf(2, 2, 21, 6), leaf(2, 1, 6), leaf(2, 2, 21, 10)]
weights, results = torch.randn(2, 2, 21, 10, generator=generator), []
for wide in (torch.float64, torch.float32):
    leaves = [x.detach().to(wide).requires_grad_() for x in given]
    out = heard(*leaves, include_self=False, is_causal=False, key_padding_mask=mask)
    results.append((out, *torch.autograd.grad((out * weights.to(wide)).sum(), leaves)))
judge("heard", torch.float32, results, weights, given, 0.0)
# A broken token is seen by all others, and by none that cannot hear it.
theta = torch.randn(1, 1, 20, 8, generator=generator)
theta[0, 0, 3] = torch.nan
out = torus_attention(theta, torch.ones(1, 1, 8), include_self=False, is_causal=False, backend="triton")
# One gate for everything may have no axes.
theta = torch.randn(1, 1, 8, 8, generator=generator)
one, other = (torus_attention(theta, torch.tensor(0.7), backend=name) for name in ("triton", "reference"))
torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
print(json.dumps({"worst": worst, "nan": bool(out.isnan().all()), "listed": "triton" in backends("torus_attention", "cpu")}))
"""

COMPILES = """
import json
import triton.language as tl
from oscbench.ops.torus import triton_kernels as kernels
from oscbench.ops.torus import triton_wave_kernels as around
from compiled_kernels import bare, compile_for
from oscbench.ops.triton_tools import fixed_tile

WIDE = ("sink", "along", "lse")
def report(kernel, capability, kind, width, causal, padded):
    names = bare(kernel).arg_names
    types = {name: "*fp32" if name.removesuffix("_pointer") in WIDE else f"*{kind}" for name in names if name.endswith("_pointer")}
    types |= {"padding_pointer": "*u8", "N": "i32", "H": "i32"}
    dot, product = {"bf16": (tl.bfloat16, "ieee"), "fp32": (tl.float32, "tf32x3")}[kind]
    constants = {"D": width, "V": width, "BLOCK_D": width, "BLOCK_V": width, "CAUSAL": causal, "PADDED": padded}
    constants |= {"DOT": dot, "PRODUCT": product}
    tile, warps, stages = fixed_tile(kernel, constants)
    made = compile_for(kernel, types, constants | tile, capability, num_warps=warps, num_stages=stages)
    return made | {"kernel": bare(kernel).__name__, "kind": kind, "width": width}
for kernel in (kernels.forward_kernel, kernels.row_gradient_kernel, kernels.column_gradient_kernel):
    for capability in (80, 90):
        print(json.dumps(report(kernel, capability, "bf16", 64, False, True)))
    print(json.dumps(report(kernel, 80, "fp32", 128, True, False)))
    print(json.dumps(report(kernel, 90, "bf16", 128, False, False)))
for kernel in (around.wave_kernel, around.wave_gradient_kernel, around.tangent_kernel, around.tangent_gradient_kernel):
    for capability in (80, 90):
        names = bare(kernel).arg_names
        types = {name: "*fp32" if name.endswith("_pointer") else "i32:16" for name in names} | {"H": "i32", "N": "i32"}
        constants = {"WIDTH": 32, "BLOCK_W": 32, "DRIFT": True, "LAG": True}
        types, constants = ({name: one for name, one in given.items() if name in names} for given in (types, constants))
        tile, warps, stages = fixed_tile(kernel, constants)
        types = {name: kind for name, kind in types.items() if name not in constants | tile}
        made = compile_for(kernel, types, constants | tile, capability, num_warps=warps, num_stages=stages)
        print(json.dumps(made | {"kernel": bare(kernel).__name__, "kind": "fp32", "width": 32}))
"""


def test_numbers_in_the_interpreter(tmp_path):
    (found,) = run_script(tmp_path, NUMBERS, TRITON_INTERPRET="1")
    for dtype, bound in (("float32", 1e-5), ("bfloat16", 2e-2), ("float16", 2e-2)):
        for part in ("out", "gradient"):
            assert found["worst"][f"torch.{dtype} {part}"] < bound, found
    assert found["nan"]
    assert found["listed"]


def test_machine_code_for_ampere_and_hopper(tmp_path):
    reports = run_script(tmp_path, COMPILES)
    assert {report["capability"] for report in reports} == {80, 90}
    for report in reports:
        assert report["shared_bytes"] <= 163 * 1024, report
        if report["kernel"] in ("forward_kernel", "row_gradient_kernel", "column_gradient_kernel"):
            assert report["tensor_core"] > 0, report
        else:
            assert report["stack_bytes"] == 0, report
        if (
            report["counted_in"] == "sass"
            and report["kernel"] == "forward_kernel"
            and report["kind"] == "bf16"
        ):
            assert report["stack_bytes"] == 0, report


def test_reasons_not_to_run(monkeypatch):
    theta, gate = torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 8)
    with pytest.raises(ValueError, match="CUDA device"):
        torus_attention(theta, gate, backend="triton")
    monkeypatch.setattr(triton_tools, "interpreting", lambda: True)
    backend = torus_attention.__globals__["OP"].backends["triton"]
    assert backend.why_not(Call(torch.device("cpu"), torch.bfloat16, 17, 128)) is None
    assert backend.why_not(Call(torch.device("cpu"), torch.float32, 17, 5)) is None
    assert "wider than 512 bytes" in backend.why_not(Call(torch.device("cpu"), torch.float32, 17, 72))
    assert "float64" in backend.why_not(Call(torch.device("cpu"), torch.float64, 17, 8))
