"""RMS norm with a scale: the same as PyTorch's, and its gradient."""

from __future__ import annotations

import pytest
import torch

from oscbench.ops.norms import scaled_rms_norm


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scaled", [True, False])
def test_is_rms_norm_times_scale(dtype, scaled):
    x, scale = torch.randn(2, 5, 3, 8).transpose(1, 2).to(dtype), torch.randn(3, 1, 8).to(dtype)
    expected = torch.nn.functional.rms_norm(x, (8,)) * (scale if scaled else 1)
    found = scaled_rms_norm(x, scale if scaled else None)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_gradients():
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(3, 1, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scaled_rms_norm, (x, scale))
    assert torch.autograd.gradcheck(scaled_rms_norm, (x,))
