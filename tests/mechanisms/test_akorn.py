"""AKOrN: equal to the paper's equations written out, on its spheres, downhill where its energy is one, and stochastic only on request."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oscbench import catalog
from oscbench.mechanisms import Context, Mechanism, Positions, Shape
from oscbench.models.trunk import initialise
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.spheres import tangent, turned, unit

TOKENS, WIDTH, HEADS = 7, 24, 2


def akorn(layers: int = 2, max_length: int = TOKENS, axes: int = 1, **settings: Any) -> Mechanism:
    found = catalog.load("mechanisms", "akorn")
    shape = Shape(WIDTH, HEADS, layers, max_length, axes, torch.Generator().manual_seed(0))
    made: Mechanism = found(found.Config.model_validate(settings), shape)
    initialise(made, 0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in made.named_parameters():  # no start that hides a term: norms of c, biases
        if parameter.dim() == 1 and "gamma" not in name and "rates" not in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made.double()


def where(tokens: int = TOKENS, unknown: Tensor | None = None) -> Positions:
    coordinates = torch.arange(tokens, dtype=torch.float64)[:, None]
    return Positions(coordinates, torch.zeros(tokens, dtype=torch.bool), unknown)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def literal_layer(mechanism: Mechanism, layer: int, c: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The layer of arXiv 2410.13821, one sample, head, token and oscillator at a time; c (B, N, D), x (B, N, D).

    Returns:
        Read-out (B, N, D), oscillators at the end (B, N, D), and the energy of each step (B, T).
    """
    config, maps, own = mechanism.config, mechanism.layers[layer], mechanism.oscillators[layer]
    n, width, d = config.dimension, WIDTH, WIDTH // HEADS
    out, ends, energies = [], [], []
    for sample in range(len(c)):
        condition = torch.empty_like(c[sample])
        for group in range(width // n):  # GroupNorm: an oscillator's channels over all positions
            part = slice(group * n, (group + 1) * n)
            values = c[sample, :, part]
            normed = (values - values.mean()) / (values.var(correction=0) + 1e-5).sqrt()
            condition[:, part] = normed * own.norm.weight[part] + own.norm.bias[part]
        state = x[sample].clone()
        for token in range(TOKENS):
            for o in range(0, width, n):
                state[token, o : o + n] /= state[token, o : o + n].norm()
        found = []
        for _ in range(config.steps):
            heard = torch.zeros_like(state)
            for head in range(HEADS):
                part = slice(head * d, (head + 1) * d)
                q = [(maps.q.weight @ state[i] + maps.q.bias)[part] for i in range(TOKENS)]
                k = [(maps.k.weight @ state[i] + maps.k.bias)[part] for i in range(TOKENS)]
                v = [(maps.v.weight @ state[i] + maps.v.bias)[part] for i in range(TOKENS)]
                for i in range(TOKENS):
                    scores = torch.stack([q[i] @ k[j] for j in range(TOKENS)]) / d**0.5
                    weights = scores.exp() / scores.exp().sum()
                    heard[i, part] = sum(weights[j] * v[j] for j in range(TOKENS))
            new = torch.empty_like(state)
            energy = torch.zeros((), dtype=torch.float64)
            for i in range(TOKENS):
                y = maps.out.weight @ heard[i] + maps.out.bias + condition[i]
                energy -= state[i] @ y
                for o in range(0, width, n):
                    part = slice(o, o + n)
                    along = y[part] - (y[part] @ state[i, part]) * state[i, part]
                    spin = torch.zeros(n, dtype=torch.float64)
                    for pair in range(0, n, 2):
                        omega = own.rates[0 if len(own.rates) == 1 else (o + pair) // 2]
                        spin[pair] = omega * state[i, o + pair + 1]
                        spin[pair + 1] = -omega * state[i, o + pair]
                    gamma = own.gamma if config.learn_gamma else config.gamma
                    moved = state[i, part] + gamma * (spin + along)
                    new[i, part] = moved / moved.norm()
            state = new
            found.append(energy)
        numbers = [own.read_out.weight @ state[i] + own.read_out.bias for i in range(TOKENS)]
        read = [
            torch.stack([numbers[i][o * n : (o + 1) * n].norm() for o in range(width)]) + own.bias
            for i in range(TOKENS)
        ]
        out.append(torch.stack(read))
        ends.append(state)
        energies.append(torch.stack(found))
    return torch.stack(out), torch.stack(ends), torch.stack(energies)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dimension": 2, "rotation": "per_pair", "steps": 3},
        {"dimension": 6, "gamma": 0.4, "learn_gamma": True, "steps": 2, "omega": 1.0},
    ],
    ids=str,
)
@torch.no_grad()
def test_a_layer_is_the_published_one(settings: dict[str, Any]) -> None:
    mechanism = akorn(**settings)
    if settings.get("rotation") == "per_pair":
        mechanism.oscillators[1].rates += random(WIDTH // 2, seed=5)
    c, x = 2 * random(2, TOKENS, WIDTH) + 0.5, random(2, TOKENS, WIDTH, seed=1)
    state = (unit(x, mechanism.config.dimension),)
    mixed = mechanism.mix(1, c, state, Context(where(), diagnostics=True))
    update, end, energies = literal_layer(mechanism, 1, c, x)
    assert mixed.state is not None
    for ours, literal in (
        (mixed.update, update),
        (mixed.state[0], end),
        (mixed.diagnostics["energies"], energies),
    ):
        assert ((ours - literal).norm() / literal.norm()).item() < 1e-9


@pytest.mark.parametrize("dimension", [2, 4])
def test_oscillators_stay_on_their_spheres(dimension: int) -> None:
    mechanism = akorn(dimension=dimension)
    tokens = random(2, TOKENS, WIDTH)
    state = mechanism.start(where(), tokens)
    for layer in range(2):
        assert state is not None
        lengths = state[0].unflatten(-1, (-1, dimension)).norm(dim=-1)
        assert torch.allclose(lengths, torch.ones(()).double(), rtol=0, atol=1e-12)
        state = mechanism.mix(layer, 10 * tokens, state, Context(where())).state


@pytest.mark.parametrize("dimension", [2, 4])
def test_pull_and_turn_lie_along_the_sphere(dimension: int) -> None:
    x, pull = unit(random(3, WIDTH), dimension), random(3, WIDTH, seed=1)

    def towards_x(move: Tensor) -> Tensor:
        return (move * x).unflatten(-1, (-1, dimension)).sum(-1).abs().max()

    assert towards_x(tangent(x, pull, dimension)) < 1e-12
    assert towards_x(turned(x, random(WIDTH // 2, seed=2))) < 1e-12
    assert towards_x(pull) > 0.1


def test_the_turn_alone_turns_at_its_rate() -> None:
    x, rate = unit(random(1, 4), 2), 0.3
    for _ in range(1000):
        x = unit(x + 1e-3 * turned(x, torch.tensor([rate]).double()), 2)
    start = unit(random(1, 4), 2)
    assert torch.allclose(
        (x * start).unflatten(-1, (-1, 2)).sum(-1), torch.tensor(rate).double().cos(), atol=1e-4
    )


def test_energy_falls_where_connections_are_symmetric_and_nothing_turns() -> None:
    """For y = J x + c with J = Jᵀ small steps go down -(½ xᵀJx + cᵀx) (arXiv 2410.13821, Lyapunov function without Ω)."""
    size, n = TOKENS * WIDTH, 4
    matrix = random(size, size) / size**0.5
    symmetric, condition = matrix + matrix.T, random(size, seed=1)

    def energies(connections: Tensor, rate: float) -> Tensor:
        x, found = unit(random(size, seed=2), n), []
        for _ in range(300):
            found.append(-(0.5 * x @ connections @ x + condition @ x))
            move = tangent(x, connections @ x + condition, n) + turned(x, torch.tensor([rate]).double())
            x = unit(x + 0.02 * move, n)
        return torch.stack(found)

    assert (energies(symmetric, 0.0).diff() < 1e-9).all()
    assert (energies(symmetric, 3.0).diff() > 1e-6).any()
    assert (energies(symmetric + 3 * (matrix - matrix.T), 0.0).diff() > 1e-6).any()


def test_diagnostics_show_the_energy_of_every_step() -> None:
    mechanism = akorn(steps=5)
    tokens = random(3, TOKENS, WIDTH)
    mixed = mechanism.mix(0, tokens, mechanism.start(where(), tokens), Context(where(), diagnostics=True))
    energies = mixed.diagnostics["energies"]
    assert energies.shape == (3, 5)
    assert mixed.diagnostics["energy_last"].item() == pytest.approx(energies[:, -1].mean().item())
    assert mixed.diagnostics["evaluations"].item() == 5


def test_energy_is_that_of_real_tokens() -> None:
    mechanism = akorn(steps=3)
    tokens, real = random(2, TOKENS, WIDTH), TOKENS - 3
    mask = (torch.arange(TOKENS) >= real).expand(2, -1)

    def energies(x: Tensor, **options: Any) -> Tensor:
        context = Context(where(x.shape[1]), diagnostics=True, **options)
        found: Tensor = mechanism.mix(0, x, mechanism.start(context.positions, x), context).diagnostics[
            "energies"
        ]
        return found

    alone = energies(tokens[:, :real])
    assert torch.allclose(energies(tokens, key_padding_mask=mask), alone, atol=1e-10)


def test_condition_forgets_padding_and_the_future() -> None:
    mechanism = akorn()
    tokens, real = random(2, TOKENS, WIDTH), TOKENS - 3
    mask = (torch.arange(TOKENS) >= real).expand(2, -1)

    def condition(x: Tensor, **options: Any) -> Tensor:
        found: Tensor = mechanism._condition(
            mechanism.oscillators[0], x, Context(where(x.shape[1]), **options)
        )
        return found

    masked = condition(tokens, key_padding_mask=mask)[:, :real]
    assert torch.allclose(masked, condition(tokens[:, :real]), atol=1e-12)
    nobody = condition(tokens, key_padding_mask=torch.zeros_like(mask))
    assert torch.allclose(nobody, condition(tokens), atol=1e-12)
    causal = condition(tokens, is_causal=True)
    assert torch.allclose(causal[:, :2], condition(tokens[:, :2], is_causal=True), atol=1e-12)
    assert not torch.allclose(causal, condition(tokens))


def test_known_tokens_start_from_their_embedding_and_unknown_ones_from_noise() -> None:
    tokens = random(2, TOKENS, WIDTH)
    unknown = torch.arange(TOKENS).expand(2, -1) % 2 == 0
    mechanism = akorn()
    (all_noise,), (mixed,) = (mechanism.start(where(unknown=u), tokens) for u in (None, unknown))
    assert torch.equal(mixed[unknown], all_noise[unknown])
    assert torch.equal(mixed[~unknown], unit(tokens, 4)[~unknown])
    assert torch.equal(all_noise[0], all_noise[1])
    (embedded,) = akorn(start="embedding").start(where(unknown=unknown), tokens)
    assert torch.equal(embedded, unit(tokens, 4))


def test_noise_of_a_position_does_not_depend_on_how_many_follow() -> None:
    few, many = akorn(max_length=4), akorn(max_length=9)
    assert torch.equal(few.noise, many.noise[:4])
    with pytest.raises(UnsupportedError, match="start for 4 tokens, got 7"):
        few.start(where(), random(1, TOKENS, WIDTH))


def test_redrawn_noise_is_new_in_every_step_of_training_and_fixed_in_evaluation() -> None:
    first, second = akorn(redraw=True), akorn(redraw=True)
    tokens = random(2, TOKENS, WIDTH)

    def draws(mechanism: Mechanism) -> list[Tensor]:
        return [mechanism.start(where(), tokens)[0] for _ in range(2)]

    one, two = draws(first)
    assert not torch.allclose(one, two)
    assert not torch.allclose(one[0], one[1])
    assert all(torch.equal(a, b) for a, b in zip((one, two), draws(second), strict=True))
    one, two = draws(first.eval())
    assert torch.equal(one, two)
    again = akorn(redraw=True)
    again.load_state_dict(first.state_dict())
    assert torch.equal(draws(again)[0], draws(first.train())[0])


def test_width_must_divide_into_oscillators() -> None:
    with pytest.raises(ValueError, match="does not divide into oscillators of dimension 10"):
        akorn(dimension=10)


def test_cost_is_steps_times_attention() -> None:
    one, eight = akorn(steps=1), akorn(steps=8)
    softmax = catalog.load("mechanisms", "softmax")
    plain = softmax(softmax.Config(), one.shape)
    read_out = 2 * 2 * TOKENS * WIDTH * WIDTH * 4
    assert one.flops(TOKENS) == plain.flops(TOKENS) + read_out
    assert eight.flops(TOKENS) == 8 * plain.flops(TOKENS) + read_out
