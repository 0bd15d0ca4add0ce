"""Running sums by doubling, as a GPU takes them where results must repeat: those of cumsum, with its gradients."""

from __future__ import annotations

import pytest
import torch

from oscbench.ops import running_sums


@pytest.mark.parametrize("length", [0, 1, 2, 3, 64, 77])
@pytest.mark.parametrize("dim", [-1, -2, 0])
def test_doubling_is_cumsum(length, dim, monkeypatch):
    shape = [3, 4, 5]
    shape[dim] = length
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(shape, dtype=torch.float64)
    expected = x.cumsum(dim)
    assert torch.equal(running_sums.running_sum(x, dim), expected)
    monkeypatch.setattr(running_sums, "_unrepeatable", lambda x: True)
    found = running_sums.running_sum(x, dim)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    slopes = (torch.autograd.grad((made * weights).sum(), x)[0] for made in (found, expected))
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-13)


def test_it_is_taken_on_a_gpu_where_results_must_repeat_and_nowhere_else():
    class OnGpu:
        is_cuda = True

    assert not running_sums._unrepeatable(torch.zeros(3))
    assert not running_sums._unrepeatable(OnGpu())
    torch.use_deterministic_algorithms(True)
    try:
        assert running_sums._unrepeatable(OnGpu())
        assert not running_sums._unrepeatable(torch.zeros(3))
    finally:
        torch.use_deterministic_algorithms(False)
