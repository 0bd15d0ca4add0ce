"""Skipping tiles: Lambert's W, the locking radius, bounds that never lie, and how much each geometry allows."""

from __future__ import annotations

import draws
import pytest
import scipy.special
import torch
from skippable_blocks import skippable_share

from oscbench.ops import selective_synchronization
from oscbench.ops.synchronization import geometry, plan, sparse
from oscbench.ops.synchronization.order import order_parameter

WIDTH = 8


def on_a_line(tokens, generator):
    direction = torch.nn.functional.normalize(
        torch.randn(WIDTH, generator=generator, dtype=torch.float64), dim=0
    )
    return 24.0 * torch.rand(tokens, 1, generator=generator, dtype=torch.float64) * direction


def in_clusters(tokens, generator):
    centres = 2.0 * torch.randn(8, WIDTH, generator=generator, dtype=torch.float64)
    chosen = torch.randint(8, (tokens,), generator=generator)
    return centres[chosen] + 0.17 * torch.randn(tokens, WIDTH, generator=generator, dtype=torch.float64)


def in_a_cloud(tokens, generator):
    return 0.25 * torch.randn(tokens, WIDTH, generator=generator, dtype=torch.float64)


def inputs_with(shape, tokens, seed=0):
    generator = draws.generator(seed)
    omega = shape(tokens, generator)[None, None]
    theta = 0.5 * torch.randn(1, 1, tokens, WIDTH, generator=generator, dtype=torch.float64)
    v = torch.randn(1, 1, tokens, 4, generator=generator, dtype=torch.float64)
    return omega, theta, v, torch.tensor([1.3133]).double(), torch.tensor([1.3133]).double()


def test_lambert_w():
    z = torch.cat((torch.zeros(1, dtype=torch.float64), torch.logspace(-12, 12, 300, dtype=torch.float64)))
    expected = torch.from_numpy(scipy.special.lambertw(z.numpy()).real)
    torch.testing.assert_close(geometry.lambert_w(z), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("alpha", [0.0, 1e-9, 0.7, 1.3133, 40.0])
def test_radius_is_where_locking_ends(alpha):
    order = torch.tensor([[[0.9]]]).double()
    coupling, alpha = torch.tensor([1.3]).double(), torch.tensor([alpha]).double()
    radius = geometry.lock_radius(order, coupling, alpha)
    torch.testing.assert_close(radius, coupling * order * torch.exp(-alpha * radius**2), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("shape", [on_a_line, in_clusters, in_a_cloud])
@pytest.mark.parametrize("tokens", [1, 8, 63, 500])
def test_order_is_a_permutation_and_bounds_hold(shape, tokens):
    omega = inputs_with(shape, tokens)[0][0]
    places = geometry.frequency_order(omega, 16)
    assert torch.equal(places.sort(dim=-1).values[0], torch.arange(tokens))
    points = omega[0][places[0]]
    gaps = geometry.block_gaps(points[None], 16)[0]
    blocks = gaps.shape[0]
    padded = torch.full((blocks * 16, blocks * 16), torch.inf, dtype=torch.float64)
    padded[:tokens, :tokens] = torch.cdist(points, points)
    nearest = padded.view(blocks, 16, blocks, 16).amin(dim=(1, 3))
    assert not bool((gaps > nearest + 1e-9).any())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [on_a_line, in_clusters, in_a_cloud])
def test_skipping_is_exact(monkeypatch, shape, causal):
    monkeypatch.setattr(sparse, "LEAST_TOKENS", 1)
    monkeypatch.setattr(sparse, "BLOCK", 32)
    monkeypatch.setattr(plan, "CPU_TILE", 4096)
    omega, theta, v, coupling, alpha = inputs_with(shape, 250)
    mask = torch.zeros(1, 250, dtype=torch.bool)
    mask[:, 50:90] = True
    results = []
    for backend in ("reference", "sparse"):
        leaves = [x.clone().requires_grad_() for x in (omega, theta, v, coupling, alpha)]
        out = selective_synchronization(
            *leaves[:3], coupling=leaves[3], alpha=leaves[4], edge=0.1, is_causal=causal,
            key_padding_mask=mask, backend=backend,
        )  # fmt: skip
        results.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_shares_by_geometry():
    shares = {}
    for shape in (on_a_line, in_clusters, in_a_cloud):
        omega, theta, _, coupling, alpha = inputs_with(shape, 1024)
        shares[shape] = float(skippable_share(omega, theta, coupling=coupling, alpha=alpha, block=32))
    assert shares[on_a_line] > 0.8
    assert shares[in_clusters] > 0.7
    assert shares[in_a_cloud] < 0.2


def test_dense_where_nothing_can_be_skipped(monkeypatch):
    monkeypatch.setattr(sparse, "LEAST_TOKENS", 1)
    for shape, skips in ((in_a_cloud, False), (on_a_line, True)):
        omega, theta, _, coupling, alpha = inputs_with(shape, 2048)
        order = order_parameter(theta)
        law = sparse.Law(is_causal=False, top_k=None, edge=0.0)
        found = sparse.sorted_plan(omega, order, coupling, alpha, None, law)
        assert (found is not None) == skips
