"""What the equations promise: circles stay circles, tangents are tangent, common rotations change nothing, solvers have their order."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from draws import generator
from torch import Tensor
from torch.nn.functional import normalize

from oscbench import catalog
from oscbench.mechanisms import Context, Mechanism, Positions, Shape
from oscbench.models.trunk import Trunk, initialise
from oscbench.ops import kope_attention, kuramoto_step, torus_attention
from oscbench.ops.fixed_query.ode import settle
from oscbench.ops.fixed_query.reference import fixed_point
from oscbench.ops.phases import wrap
from oscbench.ops.synchronization.order import order_parameter

TOKENS, WIDTH, HEADS = 10, 16, 2


def mechanism_of(name: str, layers: int = 3, **settings: Any) -> Mechanism:
    found = catalog.load("mechanisms", name)
    shape = Shape(WIDTH, HEADS, layers, TOKENS, 1, generator(0))
    made: Mechanism = found(found.Config.model_validate(settings), shape)
    initialise(made, 0)
    return made.double()


def line() -> Positions:
    return Positions(
        torch.arange(TOKENS, dtype=torch.float64)[:, None], torch.zeros(TOKENS, dtype=torch.bool)
    )


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_kope_phases_stay_on_the_circle_and_take_steps_no_longer_than_gamma() -> None:
    kope = mechanism_of("kope", gamma=0.05)
    tokens = random(2, TOKENS, WIDTH)
    state = kope.start(line(), tokens)
    for layer in range(2):
        new = kope.advance(layer, 5 * tokens, state, Context(line()))
        assert torch.allclose(new[0] ** 2 + new[1] ** 2, torch.ones(()).double(), atol=1e-12)
        step = torch.atan2(new[1] * state[0] - new[0] * state[1], new[0] * state[0] + new[1] * state[1])
        assert 0 < step.abs().max() <= math.atan(0.05) + 1e-12
        state = new


def test_kuramoto_step_is_the_arctangent_of_the_weighted_sines() -> None:
    q, k = random(1, HEADS, TOKENS, 8), random(1, HEADS, TOKENS, 8, seed=1)
    theta = random(1, HEADS, TOKENS, 4, seed=2)
    weights = torch.softmax(q @ k.mT / 8**0.5, dim=-1)
    pull = torch.einsum("bhij,bhijm->bhim", weights, (theta[..., None, :, :] - theta[..., :, None, :]).sin())
    cos, sin = kuramoto_step(q, k, theta.cos(), theta.sin(), gamma=0.3)
    expected = theta + torch.atan(0.3 * pull)
    assert torch.allclose(cos, expected.cos(), atol=1e-12)
    assert torch.allclose(sin, expected.sin(), atol=1e-12)


def test_equal_phases_are_at_rest() -> None:
    q, k = random(1, HEADS, TOKENS, 8), random(1, HEADS, TOKENS, 8, seed=1)
    one = torch.full((1, HEADS, TOKENS, 4), 0.7, dtype=torch.float64)
    cos, sin = kuramoto_step(q, k, one.cos(), one.sin(), gamma=1.0)
    assert torch.allclose(torch.atan2(sin, cos), one, atol=1e-12)
    assert torus_attention(one, torch.ones(()).double()).abs().max() < 1e-12


def test_repeated_steps_synchronise() -> None:
    q, k = 0.1 * random(1, 1, TOKENS, 8), 0.1 * random(1, 1, TOKENS, 8, seed=1)
    theta = random(1, 1, TOKENS, 4, seed=2)
    cos, sin = theta.cos(), theta.sin()
    before = order_parameter(theta)
    for _ in range(200):
        cos, sin = kuramoto_step(q, k, cos, sin, gamma=0.2)
    after = order_parameter(torch.atan2(sin, cos))
    assert after.item() > 0.99 > before.item()


def test_kope_attention_is_unchanged_when_all_phases_turn_together() -> None:
    q, k, v = (random(1, HEADS, TOKENS, 8, seed=s) for s in range(3))
    theta = random(1, HEADS, TOKENS, 4, seed=3)
    plain = kope_attention(q, k, v, theta.cos(), theta.sin())
    turned = theta + random(4, seed=4)
    assert torch.allclose(plain, kope_attention(q, k, v, turned.cos(), turned.sin()), atol=1e-12)


def test_zero_gamma_is_frozen_phases_on_shared_weights() -> None:
    stepping, frozen = mechanism_of("kope", gamma=0.0), mechanism_of("kope", dynamics="frozen")
    missing, unexpected = frozen.load_state_dict(stepping.state_dict(), strict=False)
    assert missing == []
    assert all(key.startswith("couplings") for key in unexpected)
    first, second = Trunk(stepping, 24).double(), Trunk(frozen, 24).double()
    initialise(first, 1), initialise(second, 1)
    x = random(2, TOKENS, WIDTH)
    assert torch.allclose(first(x, Context(line()))[0], second(x, Context(line()))[0], atol=1e-12)


@pytest.mark.parametrize("rotate_values", [True, False])
def test_kope_that_neither_steps_nor_mixes_is_rope(rotate_values: bool) -> None:
    kope = mechanism_of("kope", dynamics="frozen", mix=False, rotate_values=rotate_values)
    rope = mechanism_of("rope", rotate_values=rotate_values)
    rope.load_state_dict(kope.state_dict())
    first, second = Trunk(kope, 24).double(), Trunk(rope, 24).double()
    initialise(first, 1), initialise(second, 1)
    x = random(2, TOKENS, WIDTH)
    assert torch.allclose(first(x, Context(line()))[0], second(x, Context(line()))[0], atol=1e-12)
    assert kope.flops(TOKENS) == rope.flops(TOKENS)
    assert kope.operations(TOKENS) == rope.operations(TOKENS)


def test_one_layer_takes_no_step_and_says_so() -> None:
    kope = mechanism_of("kope", layers=1)
    assert len(kope.couplings) == 0
    assert kope.notes() == ["phases only"]
    assert mechanism_of("kope").notes() == []


def test_random_walk_steps_are_as_long_as_kuramoto_steps() -> None:
    walk, sync = mechanism_of("kope", dynamics="random_walk"), mechanism_of("kope")
    tokens = random(2, TOKENS, WIDTH)
    start = sync.start(line(), tokens)
    lengths = []
    for kope in (walk, sync):
        cos, sin = kope.advance(0, tokens, start, Context(line()))
        lengths.append(torch.atan2(sin * start[0] - cos * start[1], cos * start[0] + sin * start[1]))
    assert torch.allclose(lengths[0].abs(), lengths[1].abs(), atol=1e-12)
    agree = (lengths[0].sign() == lengths[1].sign()).double().mean()
    assert 0.2 < agree.item() < 0.8


@pytest.mark.parametrize("include_self", [True, False])
def test_static_gate_is_unchanged_when_all_angles_turn_together(include_self: bool) -> None:
    theta, gate = 3 * random(1, HEADS, TOKENS, 8), random(HEADS, 1, 8, seed=1).abs()
    plain = torus_attention(theta, gate, include_self=include_self)
    turned = torus_attention(theta + random(8, seed=2), gate, include_self=include_self)
    assert torch.allclose(plain, turned, atol=1e-12)


def test_torus_update_is_the_gradient_of_agreement() -> None:
    """With weights held fixed, Δ_t is the derivative of Σ_u A_tu cos(θ_u - θ_t) with respect to θ_t: it is tangent to the torus."""
    theta, gate = 3 * random(1, 1, TOKENS, 4), torch.ones(4).double()
    difference = theta[..., None, :, :] - theta[..., :, None, :]
    weights = torch.softmax(difference.cos().sum(-1), dim=-1)
    moving = theta.clone().requires_grad_()
    agreement = (weights[..., None] * (theta[..., None, :, :] - moving[..., :, None, :]).cos()).sum()
    (gradient,) = torch.autograd.grad(agreement, moving)
    assert torch.allclose(torus_attention(theta, gate, is_causal=False), gradient, atol=1e-12)


def test_torus_stream_stays_wrapped() -> None:
    trunk = Trunk(mechanism_of("torus"), 24).double()
    angles = trunk.mechanism.stream.enter(100 * random(2, TOKENS, WIDTH))
    assert angles.max() <= math.pi
    assert angles.min() > -math.pi
    assert torch.equal(wrap(angles), angles)


def test_order_parameter_is_one_for_equal_phases_and_small_for_spread_ones() -> None:
    spread = 2 * math.pi * torch.arange(TOKENS, dtype=torch.float64) / TOKENS
    assert order_parameter(spread[None, None, :, None]).item() < 1e-12
    assert order_parameter(torch.full((1, 1, TOKENS, 3), 2.0)).item() == pytest.approx(1.0)
    some = order_parameter(3 * random(2, HEADS, TOKENS, 5), is_causal=True)
    assert (some >= 0).all()
    assert (some <= 1 + 1e-12).all()
    assert torch.allclose(some[..., 0], torch.ones(()).double())


def test_init_locked_meets_its_share_in_every_head_and_layer() -> None:
    trunk = Trunk(mechanism_of("ssa", init_locked=0.4), 24).double()
    done = trunk.calibrate(random(16, TOKENS, WIDTH), Context(line()))
    assert [entry["layer"] for entry in done] == [0, 1, 2]
    for entry in done:
        assert entry["locked_share"] == pytest.approx([0.4] * HEADS, abs=0.01)


def test_locked_share_counts_what_locks_and_not_what_top_k_keeps() -> None:
    tokens = random(2, TOKENS, WIDTH)
    shares = []
    for top_k in (None, 3):
        ssa = mechanism_of("ssa", init_locked=None, top_k=top_k)
        found = ssa.mix(0, 0.1 * tokens, None, Context(line(), diagnostics=True)).diagnostics
        shares.append(found["locked_share"].item())
        assert top_k is None or ((found["attention"] > 0).sum(-1) <= top_k).all()
    assert shares[0] == shares[1] > 0.4


def test_published_start_of_ssa_is_the_identity_at_common_widths() -> None:
    """facts.md 2.3: with 16 or more channels a head no pair locks, so every token hears itself alone."""
    found = catalog.load("mechanisms", "ssa")
    shape = Shape(64, 2, 1, 32, 1, generator(0))
    ssa = found(found.Config(), shape)
    torch.manual_seed(0)
    for module in ssa.modules():
        if isinstance(module, torch.nn.Linear):
            module.reset_parameters()
    where = Positions(torch.arange(32, dtype=torch.float64)[:, None], torch.zeros(32, dtype=torch.bool))
    tokens = random(2, 32, 64).float()
    found_there = ssa.mix(0, tokens, None, Context(where, diagnostics=True)).diagnostics
    assert torch.allclose(found_there["attention"], torch.eye(32).expand(2, 2, -1, -1), atol=1e-6)
    assert found_there["locked_share"].item() == 0.0


@pytest.mark.parametrize("d_osc", [2, 3, 8])
def test_ode_settles_at_the_fixed_point(d_osc: int) -> None:
    h = random(2, HEADS, TOKENS, d_osc)
    start = normalize(random(TOKENS, d_osc, seed=1), dim=-1)
    settled = settle(h, start, solver="dopri5", rtol=1e-8, atol=1e-8)
    assert (settled.state - fixed_point(h)).norm(dim=-1).max() < 1e-5
    assert settled.unconverged.item() == 0.0
    assert settled.evaluations > 20


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_solver_has_its_order_against_the_closed_form_in_time(solver: str, order: int) -> None:
    """tan(φ(t)/2) = tan(φ(0)/2) e^(-‖h‖t), φ the angle to the fixed point; away from it, T‖h‖ = 1.5."""
    h = torch.tensor([[[[1.5, 0.0]]]], dtype=torch.float64)
    first = 2.0
    start = torch.tensor([math.cos(first), math.sin(first)], dtype=torch.float64)
    exact = 2 * math.atan(math.tan(first / 2) * math.exp(-1.5))
    errors = []
    for steps in (20, 40):
        end = settle(h, start, solver=solver, horizon=1.0, num_steps=steps, unit_speed=False).state
        errors.append(abs(math.atan2(end[..., 1].item(), end[..., 0].item()) - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_unit_speed_walks_the_same_path() -> None:
    h = 3.0 * normalize(random(1, 1, 1, 4), dim=-1)
    start = normalize(random(1, 4, seed=1), dim=-1)
    literal = settle(h, start, solver="rk4", horizon=0.5, num_steps=400, unit_speed=False)
    unit = settle(h, start, solver="rk4", horizon=1.5, num_steps=400)
    assert torch.allclose(literal.state, unit.state, atol=1e-9)


@pytest.mark.parametrize(("horizon", "steps"), [(7.3, 49), (7.3, 100), (7.3, 101), (30.0, 100)])
def test_fixed_steps_are_as_many_as_asked_for(horizon: float, steps: int) -> None:
    h = random(1, 1, 2, 3).float()
    assert settle(h, h, solver="rk4", horizon=horizon, num_steps=steps).evaluations == 4 * steps


def test_near_antipodal_starts_are_counted() -> None:
    h = random(1, 1, TOKENS, 3)
    away = -fixed_point(h)[0, 0]
    settled = settle(h, away, solver="rk4", horizon=1.0)
    assert settled.near_antipodal.item() == 1.0
    assert settled.unconverged.item() == 1.0


def test_integrated_mechanism_equals_the_analytic_one() -> None:
    analytic = mechanism_of("fixed_query")
    integrated = mechanism_of("fixed_query", dynamics="ode", tolerance=1e-8)
    integrated.load_state_dict(analytic.state_dict())
    tokens = random(2, TOKENS, WIDTH)
    context = Context(line(), is_causal=True, diagnostics=True)
    first, second = analytic.mix(0, tokens, None, context), integrated.mix(0, tokens, None, context)
    assert torch.allclose(first.update, second.update, atol=1e-5)
    assert second.diagnostics["evaluations"] > 20


def test_linear_read_out_has_low_rank() -> None:
    """facts.md 3.1: for p = 1 and no mask the attention matrix has rank at most d_osc + 1."""
    fixed = mechanism_of("fixed_query", d_osc=3)
    found = fixed.mix(0, random(1, TOKENS, WIDTH), None, Context(line(), diagnostics=True)).diagnostics
    assert torch.linalg.matrix_rank(found["attention"], rtol=1e-9).max() <= 4


def test_rotary_angles_of_special_tokens_are_zero() -> None:
    rope = mechanism_of("rope")
    where = Positions(line().coordinates + 5, torch.arange(TOKENS) < 2)
    cos, sin = rope.start(where, random(1, TOKENS, WIDTH))
    assert (cos[:2] == 1).all()
    assert (sin[:2] == 0).all()
    assert (sin[2:] != 0).any()


@pytest.mark.parametrize("dynamics", ["kuramoto", "random_walk", "averaged", "frozen"])
def test_phases_of_a_sequence_of_padding_stay(dynamics: str) -> None:
    kope = mechanism_of("kope", gamma=0.3, dynamics=dynamics)
    tokens = random(2, TOKENS, WIDTH)
    mask = torch.tensor([[True] * TOKENS, [False] * TOKENS])
    first = kope.start(line(), tokens)
    then = kope.advance(0, tokens, first, Context(line(), False, mask))
    for before, after in zip(first, then, strict=True):
        before = before.expand_as(after)
        assert torch.allclose(before[0], after[0], atol=1e-12)
        assert (dynamics == "frozen") == torch.allclose(before[1], after[1], atol=1e-3)


def test_phases_of_random_walk_do_not_depend_on_how_many_follow() -> None:
    long = catalog.load("mechanisms", "kope")
    config = long.Config(dynamics="random_walk")
    few, many = (long(config, Shape(WIDTH, HEADS, 2, n, 1, generator(9))).directions for n in (4, 9))
    assert torch.equal(few, many[:, :, :4])
