"""The Triton kernels without a GPU: numbers in the interpreter, and machine code compiled for GPUs not here."""

from __future__ import annotations

import pytest
import torch
from triton_script import run_script

from oscbench.ops import selective_synchronization, triton_tools

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")

NUMBERS = """
import itertools, json
import draws
import torch
from ops_cases import gradient_floor, relative_error
from oscbench.ops import selective_synchronization

torch.set_num_threads(1)
generator = draws.generator(0)
worst = {}
cases = itertools.chain(
    itertools.product([1, 70, 131], [False, True], [False, True], [torch.float32], [24]),
    itertools.product([150], [False, True], [False, True], [torch.bfloat16, torch.float16], [16]),
    [(40, False, False, torch.float32, 72)],  # too wide for one pass over a pair's both sides
)
for tokens, causal, padded, dtype, width in cases:
    normal = lambda n: torch.randn(1, 2, tokens, n, generator=generator)
    omega, theta, v = (x.to(dtype) for x in (normal(width) * 0.1, normal(8) * 0.5, normal(16)))
    coupling, alpha = torch.tensor([0.8, 1.3]), torch.tensor([0.0, 1.3])
    mask = torch.rand(1, tokens, generator=generator) < 0.3 if padded else None
    if padded:
        mask[:, 0] = True  # causal, it hears nobody
        omega, v = (x.masked_fill(mask[:, None, :, None], torch.nan) for x in (omega, v))
    results = []
    weights = normal(16).to(dtype)
    for backend in ("reference", "triton"):
        wide = torch.float64 if backend == "reference" else None
        leaves = [x.to(wide or x.dtype).requires_grad_() for x in (omega, theta, v, coupling, alpha)]
        out = selective_synchronization(
            *leaves[:3], coupling=leaves[3], alpha=leaves[4], edge=0.1, is_causal=causal,
            key_padding_mask=mask, backend=backend,
        )
        results.append((out, *torch.autograd.grad((out * weights.to(out.dtype)).sum(), leaves)))
    given, expected = (omega, theta, v, coupling, alpha), results[0][0].detach()
    floors = [0.0, *(gradient_floor(expected.nan_to_num(), weights, x.nan_to_num(), 1e-4) for x in given)]
    for index, (expected, found, floor) in enumerate(zip(*results, floors)):
        error = relative_error(found.detach(), expected.detach(), floor)
        key = f"{dtype} {'gradient' if index else 'out'}"
        worst[key] = max(worst.get(key, 0.0), error) if error == error else error
# NaN is seen, nothing in reach leaves oneself.
omega, theta, v = (torch.randn(1, 1, 20, 16, generator=generator) for _ in range(3))
run = lambda coupling: selective_synchronization(omega, theta, v, coupling=coupling, alpha=1.0, backend="triton")
alone = float((run(0.0) - v).norm())
omega[0, 0, 3] = torch.nan
nan = bool(run(1.0).isnan().all())
# One number for all heads, as the mechanism gives it.
heads = [torch.randn(1, 4, 20, n, generator=generator) * 0.5 for n in (8, 4, 16)]
numbers = []
for backend in ("reference", "triton"):
    leaves = [x.double() if backend == "reference" else x.clone() for x in (*heads, torch.tensor(1.3), torch.tensor(0.7))]
    leaves = [x.requires_grad_() for x in leaves]
    out = selective_synchronization(*leaves[:3], coupling=leaves[3], alpha=leaves[4], edge=0.1, backend=backend)
    numbers.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
shared = max(relative_error(found.detach(), expected.detach(), 0.0) for expected, found in zip(*numbers))
print(json.dumps({"worst": worst, "alone": alone, "nan": nan, "shared": shared}))
"""

READY = """
import itertools, json, math
import draws
import torch
from torch.nn.functional import pad
from oscbench.ops.synchronization import triton

torch.set_num_threads(1)
generator = draws.generator(1)
normal = lambda *size: torch.randn(*size, generator=generator)

def shift(omega, mask, causal):
    \"\"\"Of one head (N, d), whose padding is out.\"\"\"
    real = omega[~mask]
    half = omega.dtype != torch.float32
    if not len(real) or (causal and half):
        return torch.zeros(omega.shape[-1])
    if causal:
        return real[0]
    least, largest = real.amin(0), real.amax(0)
    middle = least / 2 + largest / 2
    exact = (largest - least).float() < middle.abs().float() if half else True
    return torch.where(torch.as_tensor(exact) & middle.isfinite(), middle, 0.0).float()

worst = {}
cases = itertools.product(
    [1, 131], [False, True], ["none", "some", "all"], [torch.float32, torch.bfloat16, torch.float16], [0.0, 8.0]
)
for tokens, causal, padded, dtype, offset in cases:
    omega = (normal(2, tokens, 2, 24) + offset).to(dtype).transpose(1, 2)  # not contiguous
    order = normal(2, 2, 1 if causal else tokens)
    order[0, 0] = 0.0  # nothing in reach
    coupling, alpha, v = torch.tensor([0.8, 1.3]), torch.tensor([0.0, 1.3]), normal(2, 2, tokens, 16)
    mask = torch.zeros(2, tokens, dtype=torch.bool)
    if padded != "none":
        mask = torch.rand(2, tokens, generator=generator) < (0.4 if padded == "some" else 2.0)
    omega = omega.masked_fill(mask[:, None, :, None], torch.nan)
    found = triton.prepare(omega, order, v, coupling, alpha, None if padded == "none" else mask, causal)
    for head in range(4):
        batch, h = divmod(head, 2)
        own, out = omega[batch, h], mask[batch]
        taken = shift(own, out, causal)
        if dtype != torch.float32 and not out.all():
            # The interpreter cuts bfloat16 off where a GPU rounds it: any middle will do, if it is taken off exactly.
            near_it, taken = taken, (own.float() - found.omega[head].float())[~out][0]
            assert torch.allclose(near_it, taken, rtol=1e-2), (near_it, taken)
        moved = (own.masked_fill(out[:, None], 0.0).float() - taken).to(dtype)
        plain = moved.double().square().sum(-1)
        reach = (coupling[h] * order[batch, h].expand(tokens)).double() ** 2
        near = torch.where(reach <= 1e-30, 0.0, 1 / reach.clamp(1e-30, 1e20))
        rate = -2 * float(alpha[h]) * math.log2(math.e)
        fill = lambda x, value: pad(x, (0, -tokens % 128), value=value)
        expected = {
            "omega": moved, "plain": fill(plain, 0.0), "norms": fill(plain.masked_fill(out, 1e30), 1e30), "near": fill(near, 0.0),
            "spent": fill(near * plain + torch.where(reach <= 1e-30, 2.0, 0.0), 2.0), "fade": fill(rate * plain, 0.0),
            "rate": torch.tensor(rate),
        }
        for name, value in expected.items():
            got = getattr(found, name)[head].double()
            error = float(((got - value).abs() / (1e-3 + value.abs())).max())
            worst[name] = max(worst.get(name, 0.0), error if error == error else math.inf)
print(json.dumps(worst))
"""

COMPILES = """
import json
import triton.language as tl
from oscbench.ops.synchronization.triton_kernels import backward_kernel, forward_kernel
from compiled_kernels import bare, compile_for

token_numbers = ("norm", "plain", "near", "spent", "fade", "push", "rate", "d_value", "d_omega", "gap", "faded", "total")
def signature(kind):
    pointers = {f"{name}_pointer": f"*{kind}" for name in ("omega", "value", "grad", "out")}
    return pointers | {f"{name}_pointer": "*fp32" for name in token_numbers} | {
        "slope_bound": "fp32", "N": "i32", "S": "i32"
    }
def report(kernel, capability, **constants):
    kind, dot = constants.pop("kind")
    size = {"D": 24, "V": 16, "BLOCK_D": 32, "BLOCK_V": 16, "BLOCK_M": 64, "BLOCK_N": 64, "DOT": dot}
    own = {name: kind_of for name, kind_of in signature(kind).items() if name in bare(kernel).arg_names}
    precision = {"PRODUCT": "tf32x3" if kind == "fp32" else "ieee"}
    return compile_for(kernel, own, size | precision | constants, capability, num_warps=4)
BF16, FP32 = ("bf16", tl.bfloat16), ("fp32", tl.float32)
print(json.dumps([
    report(forward_kernel, 90, CAUSAL=False, kind=BF16),
    report(forward_kernel, 80, CAUSAL=False, kind=FP32),
    report(backward_kernel, 90, CAUSAL=False, ROLE=0, kind=BF16),
    report(backward_kernel, 80, CAUSAL=True, ROLE=1, kind=BF16),
    report(backward_kernel, 90, CAUSAL=True, ROLE=2, kind=BF16),
]))
"""


def test_numbers_in_the_interpreter(tmp_path):
    (found,) = run_script(tmp_path, NUMBERS, TRITON_INTERPRET="1")
    bounds = {"float32 out": 2e-5, "float32 gradient": 1e-4, "float16 out": 2e-3, "float16 gradient": 5e-3}
    bounds |= {"bfloat16 out": 2e-2, "bfloat16 gradient": 4e-2}
    for name, bound in bounds.items():
        assert found["worst"][f"torch.{name}"] < bound, found
    assert found["alone"] < 1e-5
    assert found["nan"]
    assert found["shared"] < 1e-5, "one number for all heads is read for each of them"


def test_what_the_kernels_read_is_ready_in_the_interpreter(tmp_path):
    (found,) = run_script(tmp_path, READY, TRITON_INTERPRET="1")
    assert found["omega"] == 0.0, "a shift is taken off exactly as it is said"
    assert max(found.values()) < 1e-5, found


def test_compiles_for_gpus_that_are_not_here(tmp_path):
    (reports,) = run_script(tmp_path, COMPILES)
    for report in reports:
        assert report["tensor_core"] > 0
        assert report["special"] > 0
        assert report["shared_bytes"] < 160_000


def test_reasons_not_to_run():
    x = torch.zeros(1, 1, 4, 8)
    with pytest.raises(ValueError, match="CUDA device"):
        selective_synchronization(x, x, x, coupling=1.0, alpha=1.0, backend="triton")
    with pytest.raises(ValueError, match="got 5"):
        selective_synchronization(x, x, x[..., :5], coupling=1.0, alpha=1.0, backend="triton")
