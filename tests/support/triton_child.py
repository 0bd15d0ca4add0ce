"""What the fixed-query kernels are asked in a process of its own (`triton_script`)."""

from __future__ import annotations

import json

import draws
import torch
from ops_cases import CASES, Size, Variant, gradient_floor


def numbers() -> None:
    """Against float64 in the interpreter, in three dtypes."""
    case = CASES["fixed_query_attention"]
    calls = [
        (torch.float32, 1, "softplus", 1, True, False),
        (torch.float32, 67, "softplus", 1, True, False),
        (torch.float32, 150, "softplus", 1, False, True),
        (torch.float32, 150, "elu", 1, True, True),
        (torch.float32, 67, "relu", 4, True, True),
        (torch.bfloat16, 67, "softplus", 1, True, True),
        (torch.float16, 67, "elu", 2, False, False),
        (torch.float16, 67, "relu", 1, True, False),
        (torch.float16, 300, "softplus", 1, False, False),
    ]
    for dtype, tokens, coupling, exponent, causal, padded in calls:
        batch = 2 if padded and exponent == 1 else 1  # each its own padding
        mask = torch.rand(batch, tokens, generator=draws.generator(0)) < 0.3 if padded else None
        options = {"coupling": coupling, "exponent": exponent}
        options |= {"is_causal": causal, "key_padding_mask": mask}
        given = case.inputs(Size(batch=batch, tokens=tokens, width=24), Variant("triton"), dtype)
        results = []
        for backend, cast in (("triton", dtype), ("reference", torch.float64)):
            leaves = {name: x.to(cast).requires_grad_() for name, x in given.items()}
            checks = {"validate": False} if backend == "reference" else {}
            out = case.run(leaves, backend, **options, **checks)
            weight = torch.randn(out.shape, generator=draws.generator(1)).to(out.dtype)
            weight = weight * (
                1e-4 if dtype == torch.float16 else 1.0
            )  # as a mean over many tokens leaves it
            if mask is not None:
                out = out.masked_fill(mask[:, None, :, None], 0.0)
            results.append((out.detach(), *torch.autograd.grad((out * weight).sum(), list(leaves.values()))))
        allowed = 1e-5 if dtype == torch.float32 else 2e-2
        floors = [0.0, *(gradient_floor(results[1][0], weight, x, allowed) for x in given.values())]
        errors = [case.error(*each) for each in zip(*results, floors, strict=True)]
        assert max(errors) < allowed, (dtype, tokens, options, errors)
    opcheck()


def opcheck() -> None:
    from oscbench.ops.fixed_query.triton import settle_triton

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draws.generator(sum(shape))).requires_grad_()

    tensors = (leaf(2, 1, 5, 8), leaf(2, 1, 5, 8), leaf(2, 1, 5, 3), leaf(2, 1, 5, 4), leaf(1, 5, 3))
    torch.library.opcheck(settle_triton, (*tensors, torch.ones(2, 5), 0.3, "softplus", True))


def compiled() -> None:
    """Every kernel compiled for sm_80 and sm_90; a line of JSON each."""
    from compiled_kernels import compile_for

    from oscbench.ops.fixed_query import triton_fused_kernel, triton_pairwise
    from oscbench.ops.fixed_query import triton_kernels as kernels

    arguments = {
        triton_fused_kernel.settle_kernel: ("q", "k", "c", "v", "out"),
        kernels.forward_kernel: ("q", "k", "c", "out"),
        kernels.row_gradient_kernel: ("q", "k", "c", "grad", "grad_q"),
        kernels.column_gradient_kernel: ("q", "k", "c", "grad", "grad_k", "grad_c"),
    }
    for dtype, name in ((torch.bfloat16, "bf16"), (torch.float32, "fp32")):
        for capability in (80, 90):
            for kernel, tensors in arguments.items():
                fused = kernel is triton_fused_kernel.settle_kernel
                wide = ("anchor", "heard", "state", "h", "total") if fused else ("out",)
                types = {f"{x}_pointer": "*fp32" if x in wide else f"*{name}" for x in (*tensors, *wide)}
                sizes = {"N": "i32", "H": "i32", "STATES": "i32", "scale": "fp32"}
                more = {"V": 40, "BLOCK_V": 64, "STEP": triton_fused_kernel.CHUNK} if fused else {}
                tile = {"BLOCK_M": 64, "BLOCK_N": 32}
                report = compile_for(
                    kernel,
                    types | (sizes if fused else {"N": "i32", "scale": "fp32"}),
                    triton_pairwise.settings(dtype, 40, 6, "softplus", True, 40**-0.5) | tile | more,
                    capability,
                )
                # One program forms 64 x 32 pairs a turn of the loop with 128 threads.
                pairs = 64 * 32 / (32 * report["num_warps"])
                if report["loop_special"] is not None:
                    report["special_a_pair"] = report["loop_special"] / pairs
                    report["instructions_a_pair"] = report["loop_instructions"] / pairs
                print(json.dumps({"kernel": kernel.fn.__name__, "dtype": name} | report))
