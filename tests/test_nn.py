"""Mechanisms as modules of anybody's model: shapes, laws, seeds, and the state that an encoder carries."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import oscbench.nn
from oscbench import catalog
from oscbench.mechanisms import Mixed

NAMES = [name for name in dir(oscbench.nn) if name.endswith("Attention") and name != "Attention"]


def test_every_mechanism_has_a_class_and_only_those() -> None:
    assert len(NAMES) == len(catalog.names("mechanisms"))
    assert {getattr(oscbench.nn, name).mechanism for name in NAMES} == set(catalog.names("mechanisms"))
    with pytest.raises(AttributeError, match='did you mean "KoPEAttention"'):
        oscbench.nn.KopeAttention  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_shape_gradient_causality_and_padding(name: str) -> None:
    torch.manual_seed(0)
    attention = getattr(oscbench.nn, name)(32, 4, is_causal=True, max_length=20, seed=3).double()
    x = torch.randn(2, 11, 32, dtype=torch.float64, requires_grad=True)
    out = attention(x)
    assert out.shape == x.shape
    out.square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    changed = x.detach().clone()
    changed[:, 7:] += 1.0
    torch.testing.assert_close(attention(changed)[:, :7], out.detach()[:, :7])
    mask = torch.arange(11) >= torch.tensor([[11], [6]])
    torch.testing.assert_close(attention(x, mask)[1, :6], attention(x[1:, :6])[0])


@pytest.mark.parametrize("name", NAMES)
def test_start_values_follow_the_seed(name: str) -> None:
    x = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    made = [getattr(oscbench.nn, name)(16, 2, seed=seed)(x) for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    torch.manual_seed(5)
    first = getattr(oscbench.nn, name)(16, 2)(x)
    torch.manual_seed(5)
    assert torch.equal(getattr(oscbench.nn, name)(16, 2)(x), first)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("softmax", {}),
        ("akorn", {}),
        ("akorn", {"redraw": True}),
        ("kope", {"dynamics": "random_walk"}),
        ("fixed_query", {"dynamics": "ode"}),
    ],
)
def test_loaded_weights_are_the_same_function_whatever_the_seed(name: str, settings: dict[str, Any]) -> None:
    """What is drawn and never trained comes with them."""
    x = torch.randn(2, 10, 32)
    saved, other = (oscbench.nn.Encoder(name, 32, 4, 3, seed=seed, **settings).eval() for seed in (1, 2))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    other.load_state_dict({key: value.float() for key, value in saved.state_dict().items()})
    assert torch.equal(torch.rand(3), expected), "loading draws nothing of PyTorch's own"
    assert torch.equal(other(x), saved(x))
    assert other.seed == 1
    without = {key: value for key, value in saved.state_dict().items() if "_extra_state" not in key}
    other.load_state_dict(without)
    assert other.seed == 1


def test_a_grid_has_rows_columns_and_special_tokens() -> None:
    attention = oscbench.nn.KoPEAttention(16, 2, grid=(3, 4), num_special=1, seed=0)
    tokens = torch.randn(2, 13, 16)
    found = attention.diagnostics(tokens)
    assert found["attention"].shape == (2, 2, 13, 13)
    torch.testing.assert_close(found["attention"].sum(-1), torch.ones(2, 2, 13))
    assert float(found["phases"].detach()[:, :, 0].abs().max()) == 0.0, "CLS starts at phase 0"
    with pytest.raises(ValueError, match="3 × 4 and 1 special tokens has 13 tokens; got 12"):
        attention(tokens[:, :12])


def test_an_encoder_carries_phases_through_its_blocks() -> None:
    encoder = oscbench.nn.Encoder("kope", 16, 2, 3, seed=0, gamma=0.5)
    frozen = oscbench.nn.Encoder("kope", 16, 2, 3, seed=0, dynamics="frozen")
    x = torch.randn(2, 9, 16)
    layers = encoder.diagnostics(x)
    assert len(layers) == 3
    assert not torch.equal(layers[0]["phases"], layers[2]["phases"])
    assert encoder(x).shape == (2, 9, 16)
    assert not torch.allclose(encoder(x), frozen(x))
    assert oscbench.nn.Encoder("torus", 16, 2, 1).output_width == 32


def test_an_update_that_would_only_broadcast_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = oscbench.nn.Encoder("uniform", 16, 2, 1, seed=0)
    mix = type(encoder.built).mix
    monkeypatch.setattr(
        type(encoder.built), "mix", lambda self, *given: Mixed(mix(self, *given).update[:, :1])
    )
    with pytest.raises(ValueError, match=r"Uniform\.mix: layer 0: the update must be \(2, 9, 16\)"):
        encoder(torch.randn(2, 9, 16))


def test_calibration_sets_the_locked_share() -> None:
    attention = oscbench.nn.SSAAttention(64, 2, seed=0, init_locked=0.5)
    x = torch.randn(4, 33, 64, generator=torch.Generator().manual_seed(1))
    done = attention.calibrate(x)
    assert done is not None
    assert done["locked_share"] == pytest.approx([0.5, 0.5], abs=0.02), "one share a head"


def test_bad_settings_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="gama"):
        oscbench.nn.KoPEAttention(16, 2, gama=0.1)
    with pytest.raises(ValueError, match='did you mean "kope"'):
        oscbench.nn.Encoder("kop", 16, 2, 1)


def test_mistakes_are_one_line_that_says_what_is_meant() -> None:
    with pytest.raises(ValueError, match=r'^kope\.gama: unknown key "gama"; did you mean "gamma"\?$'):
        oscbench.nn.KoPEAttention(16, 2, gama=1)
    attention, encoder = oscbench.nn.KoPEAttention(16, 2), oscbench.nn.Encoder("torus", 16, 2, layers=1)
    with pytest.raises(ValueError, match=r"^KoPEAttention: tokens must be \(B, N, 16\), got \(5, 16\)$"):
        attention(torch.zeros(5, 16))
    with pytest.raises(ValueError, match=r"^Encoder: tokens must be \(B, N, 16\), got \(1, 5, 15\)$"):
        encoder(torch.zeros(1, 5, 15))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: oscbench.nn.KoPEAttention(width=-4, heads=0), "KoPEAttention: width must be a whole number of at least 1, got -4"),
        (lambda: oscbench.nn.KoPEAttention("8", 2), "KoPEAttention: width must be a whole number of at least 1, got '8'"),
        (lambda: oscbench.nn.KoPEAttention(16, 0), "KoPEAttention: heads must be a whole number of at least 1, got 0"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, -1), "Encoder: layers must be a whole number of at least 1, got -1"),
        (lambda: oscbench.nn.Encoder("kope", 16, 3, 1), "Encoder: width 16 does not divide into 3 heads"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, hidden=0), "Encoder: hidden must be a whole number of at least 1, got 0"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, dropout=2.0), "Encoder: dropout must be at least 0 and below 1, got 2.0"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, dropout="0.1"), "Encoder: dropout must be at least 0 and below 1, got '0.1'"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, activation="relu"), "Encoder: activation: got 'relu'; allowed: gelu, swiglu"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, seed=1.5), "Encoder: seed must be a whole number of 64 bits, got 1.5"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, seed=2**63), "Encoder: seed must be a whole number of 64 bits"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, grid=3), r"Encoder: grid must be \(rows, columns\), got 3"),
        (lambda: oscbench.nn.Encoder("kope", 16, 2, 1, grid=(0, 4)), "Encoder: rows of grid must be a whole number of at least 1"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_name_the_argument(make, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        make()
