"""The order of PyTorch's attention kernels; which one ran is in tests/runner/test_cells.py."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from oscbench.ops import fused


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(fused, "_held", [])
    with sdpa_kernel(order(), set_priority=True):
        yield
        for held in fused._held:
            held.__exit__(None, None, None)


def order() -> list[SDPBackend]:
    named = {int(kernel): kernel for kernel in SDPBackend.__members__.values()}
    return [named[index] for index in torch._C._get_sdp_priority_order()]


def test_the_order_is_ours_and_what_is_off_stays_off():
    before = order()
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        fused.put_kernels_in_order()
        assert torch.backends.cuda.cudnn_sdp_enabled()
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()
    assert tuple(order()[: len(fused.KERNELS)]) == fused.KERNELS
    assert tuple(before[: len(fused.KERNELS)]) != fused.KERNELS, (
        "PyTorch's own order: this test would see no change"
    )


def test_a_compiler_puts_them_in_order_without_a_graph_break():
    @torch.compile(fullgraph=True, backend="eager")
    def attention(q):
        fused.put_kernels_in_order()
        return fused.attention(q, q, q, scale=1.0, is_causal=True, key_padding_mask=None)

    q = torch.randn(1, 2, 5, 8)
    out = attention(q)
    assert tuple(order()[: len(fused.KERNELS)]) == fused.KERNELS
    assert torch.equal(out, fused.attention(q, q, q, scale=1.0, is_causal=True, key_padding_mask=None))
