"""Variants of torus attention that are ours: values, gate scale, step and delay, each against its equation written literally."""

from __future__ import annotations

import pytest
import torch
from draws import generator
from pydantic import ValidationError

from oscbench.mechanisms import Context, Shape
from oscbench.mechanisms.torus import Torus, TorusConfig
from oscbench.models.positions import image_positions, sequence_positions
from oscbench.models.trunk import Trunk, initialise
from oscbench.ops import torus_attention
from oscbench.ops.decode import Cache
from oscbench.ops.masking import allowed
from oscbench.ops.torus.heard import heard
from oscbench.ops.torus.reference import run as literal

B, H, N, ANGLES, WIDTH = 2, 2, 9, 4, 8


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def literal_weights(theta, gate, drift, lag, include_self, is_causal, mask):
    """A of the equation, over N² · n cosines."""
    turned = theta if drift is None else theta + drift
    sent = turned
    received = turned if lag is None else turned + lag
    scores = (gate[..., :, None, :] * (received[..., :, None, :] - sent[..., None, :, :]).cos()).sum(-1)
    hears = allowed(
        theta.shape[-2],
        theta.device,
        is_causal=is_causal,
        key_padding_mask=mask,
        include_self=include_self,
    )
    weights = torch.softmax(scores.masked_fill(~hears, -torch.inf), dim=-1)
    return torch.nan_to_num(weights, nan=0.0)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("padded", [0, 3, N])
def test_what_is_heard_is_the_weighted_mean(is_causal, include_self, padded):
    theta, gate = 2 * draw(B, H, N, ANGLES), draw(B, H, N, ANGLES, seed=1)
    values = draw(B, H, N, 5, seed=2)
    drift, lag = 0.3 * torch.arange(N, dtype=torch.float64)[:, None].expand(N, ANGLES), draw(H, 1, ANGLES)
    mask = torch.zeros(B, N, dtype=torch.bool)
    mask[0, N - padded :] = True
    options = {"include_self": include_self, "is_causal": is_causal, "key_padding_mask": mask}
    found = heard(theta, gate, values, drift=drift, lag=lag, **options)
    weights = literal_weights(theta, gate, drift, lag, include_self, is_causal, mask)
    real = ~mask[:, None, :, None]
    assert torch.allclose(found * real, (weights @ values) * real, atol=1e-12)


def torus(axes=1, layers=2, **settings):
    shape = Shape(WIDTH, H, layers, 2 * N, axes, generator(3))
    trunk = Trunk(Torus(TorusConfig(**settings), shape), hidden=12)
    initialise(trunk, 1)
    return trunk.double()


def started(trunk, seed=5):
    """Give the delay a pull: β starts at 0."""
    torch.nn.init.normal_(trunk.mechanism.delay, generator=generator(seed))
    return trunk


def hearing(trunk, tokens, context):
    mechanism = trunk.mechanism
    state = mechanism.start(context.positions, tokens)
    return mechanism.mix(0, tokens, state, context).update


@pytest.mark.parametrize("is_causal", [False, True])
def test_diagnostic_weights_are_the_equations_where_an_own_score_dominates(is_causal):
    """An own score of 128 leaves nothing of the others in float32 where it is in the softmax."""
    shape = Shape(128, 2, 1, 2 * N, 1, generator(3))
    torus = Torus(TorusConfig(gate="static", drift=False), shape)
    torus.gate.data.fill_(2.0)
    tokens = torch.rand(B, N, 128, generator=generator(4)) * 6.0
    context = Context(sequence_positions(N), is_causal, diagnostics=True)
    found = torus.mix(0, tokens, torus.start(context.positions, tokens), context).diagnostics["attention"]
    theta = torus.split_heads(tokens).double()
    gate = torch.nn.functional.softplus(torus.gate[0]).double().expand_as(theta)
    wanted = literal_weights(theta, gate, None, torus.lag[0].double(), False, is_causal, None)
    assert torch.allclose(found.double(), wanted, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = torus.mix(0, tokens, torus.start(context.positions, tokens), context)
    assert torch.allclose(narrow.diagnostics["attention"].double(), wanted, atol=1e-4)


def test_delay_is_its_equation():
    trunk = started(torus(delay=1, gate="static"))
    tokens, context = 2 * draw(B, N, WIDTH), Context(sequence_positions(N), is_causal=True)
    mechanism = trunk.mechanism
    theta = mechanism.split_heads(tokens)
    (drift,) = mechanism.start(context.positions, tokens)
    gate = torch.nn.functional.softplus(mechanism.gate[0]).expand(B, H, N, ANGLES)
    weights = literal_weights(theta, gate, drift, mechanism.lag[0], False, True, None)
    pull = torch.zeros_like(theta)
    for t in range(N):
        for u in range(t):
            own = (theta[..., u, :] - theta[..., t, :]).sin()
            next_one = (theta[..., u + 1, :] - theta[..., t, :]).sin()
            pull[..., t, :] += weights[..., t, u, None] * (own + mechanism.delay[0, :, 0] * next_one)
    expected = mechanism.merge_heads(mechanism.step[0] * pull)
    assert torch.allclose(hearing(trunk, tokens, context), expected, atol=1e-12)


def test_values_are_their_equation():
    trunk = torus(values="projected", drift=False, step=0.25)
    tokens, context = 2 * draw(B, N, WIDTH), Context(sequence_positions(N), is_causal=True)
    mechanism = trunk.mechanism
    theta, gate = mechanism.split_heads(tokens), mechanism._gate(0, tokens)
    weights = literal_weights(theta, gate, None, mechanism.lag[0], False, True, None)
    maps = mechanism.values[0]
    values = maps.v(torch.cat((tokens.cos(), tokens.sin()), dim=-1))
    extra = maps.out(mechanism.merge_heads(weights @ mechanism.split_heads(values)))
    tangent = literal(
        theta,
        gate,
        drift=None,
        lag=mechanism.lag[0],
        include_self=False,
        is_causal=True,
        key_padding_mask=None,
    )
    expected = 0.25 * mechanism.merge_heads(tangent) + extra
    assert torch.allclose(hearing(trunk, tokens, context), expected, atol=1e-12)


def test_gate_scale_scales_the_score():
    tokens, context = 2 * draw(B, N, WIDTH), Context(sequence_positions(N), is_causal=True)
    trunk = torus(gate_scale=0.5, gate="static", drift=False, lag=False)
    theta = trunk.mechanism.split_heads(tokens)
    half = 0.5 * torch.nn.functional.softplus(trunk.mechanism.gate[0])
    expected = trunk.mechanism.merge_heads(torus_attention(theta, half, include_self=False))
    assert torch.allclose(hearing(trunk, tokens, context), expected, atol=1e-12)


@pytest.mark.parametrize("settings", [{"delay": 1}, {"delay": 1, "values": "projected", "gate": "token"}])
def test_delay_keeps_the_laws(settings):
    trunk, x = started(torus(**settings)), draw(B, N, WIDTH)
    causal = Context(sequence_positions(N), is_causal=True)
    before, _ = trunk(x, causal)
    for changed in range(1, N):
        other = x.clone()
        other[:, changed] += 1.0
        after, _ = trunk(other, causal)
        assert torch.allclose(before[:, :changed], after[:, :changed], atol=1e-12)
        assert not torch.allclose(before[:, changed:], after[:, changed:], atol=1e-3)
    mask = torch.zeros(B, N, dtype=torch.bool)
    mask[:, N - 3 :] = True
    for is_causal in (False, True):
        padded, _ = trunk(x, Context(sequence_positions(N), is_causal, mask))
        cut, _ = trunk(x[:, : N - 3], Context(sequence_positions(N - 3), is_causal))
        assert torch.allclose(padded[:, : N - 3], cut, atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [{"delay": 1}, {"values": "projected", "include_self": True}, {"values": "projected", "delay": 1}],
)
@pytest.mark.parametrize("prompt", [1, 4])
def test_token_by_token_is_the_full_pass(settings, prompt):
    trunk, x = torus(**settings), draw(B, N, WIDTH)
    if settings.get("delay"):
        started(trunk)
    whole, _ = trunk(x, Context(sequence_positions(N), is_causal=True))
    cache, parts = Cache(N), []
    for first, last in [(0, prompt), *((t, t + 1) for t in range(prompt, N))]:
        context = Context(sequence_positions(last - first, first), is_causal=True, cache=cache)
        parts.append(trunk(x[:, first:last], context)[0])
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-12)


def test_delay_starts_as_nothing_and_learns():
    plain, delayed = torus(), torus(delay=1)
    x, context = draw(B, N, WIDTH), Context(sequence_positions(N), is_causal=True)
    assert torch.allclose(plain(x, context)[0], delayed(x, context)[0], atol=1e-12)
    (delayed(x, context)[0] * draw(B, N, 2 * WIDTH, seed=7)).sum().backward()
    assert delayed.mechanism.delay.grad.abs().max() > 0


def test_delay_is_refused_where_there_is_no_order_or_with_self():
    with pytest.raises(ValidationError, match="delay needs include_self: false"):
        TorusConfig(delay=1, include_self=True)
    with pytest.raises(ValueError, match="delay needs tokens in an order"):
        torus(axes=2, delay=1)
    assert torus(axes=2)(draw(B, 9, WIDTH), Context(image_positions(3, 3, 0)))[0].shape == (B, 9, 2 * WIDTH)
