"""Starts differ by seed and by name, a CLS model reads its CLS token, a loop is given the input again."""

from __future__ import annotations

import pytest
import torch

from oscbench import catalog
from oscbench.models.backbones.grid import Grid, GridConfig
from oscbench.models.backbones.vision import Vision, VisionConfig
from oscbench.models.positions import image_positions, sequence_positions, sinusoidal
from oscbench.models.trunk import MultilayerPerceptron
from oscbench.tasks import GridInputs, ImageInputs


def vision(seed: int = 0, name: str = "softmax", **model) -> Vision:
    found = catalog.load("mechanisms", name)
    config = VisionConfig(**{"width": 16, "heads": 2, "layers": 2, "patch": 2, **model})
    return Vision(config, ImageInputs(1, 8, 8, 10), found, found.Config(), hidden=24, seed=seed)


def test_every_map_has_a_start_of_its_own_and_every_seed_another() -> None:
    one, other = vision(), vision(seed=1)
    first = one.trunk.mechanism.layers
    assert not torch.equal(first[0].q.weight, first[0].k.weight), "another name"
    assert not torch.equal(first[0].q.weight, first[1].q.weight), "another layer"
    for key, start in other.named_parameters():
        if start.dim() == 2:  # biases are 0 and norms 1
            assert not torch.equal(start, dict(one.named_parameters())[key]), key


@pytest.mark.parametrize("name", ["kope", "fixed_query"])
def test_a_mechanisms_own_draws_differ_by_seed(name: str) -> None:
    key = {"kope": "mixing", "fixed_query": "anchors"}[name]
    one, other = (getattr(vision(seed, name).trunk.mechanism, key) for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("pool", "read"), [("cls", [0]), ("mean", list(range(16)))])
def test_the_head_reads_the_cls_token_or_all_patches_alike(pool, read) -> None:
    model = vision(pool=pool)
    features = torch.randn(
        1, model.num_tokens, 16, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    model.read_out(features)[0, 3].backward()
    heard = features.grad[0].norm(dim=-1)
    assert heard.nonzero().flatten().tolist() == read
    assert torch.allclose(heard[read], heard[read[0]])


def test_every_loop_is_given_the_input_again() -> None:
    found = catalog.load("mechanisms", "softmax")
    inputs = GridInputs(rows=2, columns=3, vocabulary=5, num_outputs=4)
    model = Grid(
        GridConfig(width=16, heads=2, layers=1, loops=3), inputs, found, found.Config(), hidden=8, seed=0
    )
    model = model.double().eval()
    ids = torch.tensor([[0, 1, 2, 3, 4, 0]])
    context, embedded = model.context(ids), model.embed(ids)
    tokens, outputs = embedded, []
    for _ in range(3):
        done = model.trunk.run(tokens, context)
        outputs.append(model.head(done.tokens))
        tokens = embedded + done.tokens
    assert torch.allclose(model(ids).prediction, torch.stack(outputs, dim=1), atol=1e-12)


def test_an_mlp_is_its_equation() -> None:
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    plain, gated = (MultilayerPerceptron(6, 8, 5, 0.0, kind) for kind in ("gelu", "swiglu"))
    up = plain.up(x)
    assert torch.allclose(plain(x), plain.down(0.5 * up * (1 + torch.erf(up / 2**0.5))), atol=1e-6)
    gate = gated.gate(x)
    assert torch.allclose(gated(x), gated.down(gate * gate.sigmoid() * gated.up(x)), atol=1e-6)


def test_sinusoidal_positions_are_the_published_waves() -> None:
    line = sinusoidal(sequence_positions(5), 8)
    for place in range(5):
        for pair in range(4):
            angle = torch.tensor(place / 10_000.0 ** (2 * pair / 8), dtype=torch.float64)
            assert torch.allclose(
                line[place, 2 * pair : 2 * pair + 2], torch.stack((angle.sin(), angle.cos()))
            )
    image = sinusoidal(image_positions(2, 3, 1), 8)
    assert image[0].eq(0).all(), "CLS stands nowhere"
    assert torch.allclose(
        image[1 + 1 * 3 + 2],
        torch.cat((sinusoidal(sequence_positions(2), 4)[1], sinusoidal(sequence_positions(3), 4)[2])),
    )


@pytest.mark.parametrize("name", ["kope", "akorn", "rope"])
def test_the_state_rides_on_and_is_moved_by_what_a_block_gives(name: str) -> None:
    """Oscillators go from each layer's mixing to the next layer, and phases are pulled by the block's output, not by what it read."""
    model = vision(name=name, layers=3)
    mechanism, seen = model.trunk.mechanism, []
    mix, advance = mechanism.mix, mechanism.advance

    def mixing(layer, tokens, state, context):
        made = mix(layer, tokens, state, context)
        seen.append([state, made.state])
        return made

    def moving(layer, tokens, state, context):
        new = advance(layer, tokens, state, context)
        seen[layer] += [tokens, state, new]
        return new

    mechanism.mix, mechanism.advance = mixing, moving
    entered = []
    for norm in model.trunk.mixing_norms:
        norm.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    model.trunk.final_norm.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    model(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    for layer, (state, mixed, output, handed, new) in enumerate(seen):
        assert handed is (state if mixed is None else mixed), "what mixing moved is what is handed on"
        assert output is entered[layer + 1], "the block's own output"
        if layer + 1 < len(seen):
            assert seen[layer + 1][0] is new
