"""The dense pull of few tokens is the tiled one, which itself is the literal sum."""

from __future__ import annotations

import draws
import pytest
import torch

from oscbench.ops.fixed_query import dense, pairwise
from oscbench.ops.fixed_query.reference import couple


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("function", ["softplus", "relu", "elu"])
@pytest.mark.parametrize("tokens", [1, 19, 300])
def test_dense_and_tiles_are_the_literal_sum(tokens, function, causal, monkeypatch):
    monkeypatch.setitem(pairwise._TILE_ELEMENTS, "cpu", 3 * 2 * 128 * 64)
    draw = draws.generator(tokens)
    q, k, c, weight = (torch.randn(3, 2, tokens, 6, generator=draw, dtype=torch.float64) for _ in range(4))
    results = []
    for way in ("dense", "tiles", "literal"):
        monkeypatch.setattr(dense, "MOST_PAIRS", 0 if way == "tiles" else 1 << 21)
        leaves = [x.clone().requires_grad_() for x in (q, k, c)]
        if way == "literal":
            weights = couple(leaves[0] @ leaves[1].mT, function)
            out = (weights.tril() if causal else weights) @ leaves[2]
        else:
            out = dense.sums_over_pairs(*leaves, function, causal)
        results.append((out, *torch.autograd.grad((out * weight).sum(), leaves)))
    for found in results[:2]:
        for ours, theirs in zip(found, results[2], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
