"""Our kernels as PyTorch sees them: opcheck passes, and torch.compile traces every public function whole."""

from __future__ import annotations

import draws
import pytest
import torch
from ops_cases import CASES, Size, grid

from oscbench import ops


def leaf(*shape):
    generator = draws.generator(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("function", ["softplus", "relu", "elu", "power2", "power4"])
def test_pairwise(function, causal):
    from oscbench.ops.fixed_query.pairwise import pairwise

    torch.library.opcheck(pairwise, (leaf(2, 1, 5, 4), leaf(2, 1, 5, 4), leaf(2, 1, 5, 3), function, causal))


@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention(causal):
    from oscbench.ops.fixed_query.linear import linear_attention

    torch.library.opcheck(linear_attention, (leaf(2, 1, 5, 4), leaf(2, 1, 5, 4), leaf(2, 1, 5, 3), causal))


@pytest.mark.parametrize(("case", "backend", "variant", "causal"), grid(ways=(True,)))
def test_compiles_in_one_graph(case, backend, variant, causal):
    """Value checks are off inside a compiled function; forward and backward agree with eager."""
    options = variant.options | {"is_causal": causal}
    inputs = case.inputs(Size(batch=1, tokens=9, width=8), variant, torch.float32)
    case.skip_unless_runs(backend, inputs, **options)
    torch.compiler.reset()
    compiled = torch.compile(
        lambda **given: case.run(given, backend, **options), fullgraph=True, backend="aot_eager"
    )
    results = []
    for function in (lambda **given: case.run(given, backend, **options), compiled):
        leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
        out = function(**leaves)
        results.append((out, *torch.autograd.grad(out.square().sum(), list(leaves.values()))))
    for eager, traced in zip(*results, strict=True):
        torch.testing.assert_close(traced, eager, rtol=1e-4, atol=1e-5)


def test_compiles_with_padding():
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[:, 7:] = True
    for case in CASES.values():
        variant = case.variants[0]
        inputs = case.inputs(Size(batch=1, tokens=9, width=8), variant, torch.float32)
        compiled = torch.compile(getattr(ops, case.op), fullgraph=True, backend="aot_eager")
        compiled(**inputs, **variant.options, is_causal=True, key_padding_mask=mask)
