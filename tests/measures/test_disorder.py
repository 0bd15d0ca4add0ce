"""Disorder and settling: noise where the mechanism has such a part, null where it has none, and the closed form's own path."""

from __future__ import annotations

import math

import pytest
import torch
from measure_subjects import make_subject
from torch import Tensor
from torch.nn.functional import normalize
from torchdiffeq import odeint

from oscbench.measures.disorder import DisorderConfig, DisorderMeasure
from oscbench.measures.settling import Settling, SettlingConfig, distances_over_time
from oscbench.ops import softmax_attention
from oscbench.ops.disorder import KINDS, Disorder, turned


def noise(kind: str, strength: float, seed: int = 0) -> Disorder:
    return Disorder(kind, strength, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_no_strength_changes_nothing(kind: str) -> None:
    subject = make_subject("fixed_query")
    model = subject.model.eval().double()
    inputs = subject.probe.inputs.double()
    with torch.no_grad():
        plain = model(inputs).prediction
        model.trunk.mechanism.disorder = noise(kind, 0.0)
        disturbed = model(inputs).prediction
        model.trunk.mechanism.disorder = noise(kind, 0.5)
        strongly = model(inputs).prediction
    torch.testing.assert_close(disturbed, plain, rtol=1e-5, atol=1e-7)
    assert (strongly - plain).abs().max() > 1e-3


def test_softmax_s_couplings_are_the_exponentials_of_its_scores() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, dtype=torch.float64) for _ in range(3))
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 3:] = True
    asked = {"is_causal": False, "key_padding_mask": padding}
    torch.testing.assert_close(
        noise("coupling", 0.0).softmax_attention(q, k, v, **asked),
        softmax_attention(q, k, v, **asked),
        rtol=1e-6,
        atol=1e-8,
    )
    found = noise("coupling", 0.3).softmax_attention(q, k, v, **asked)
    factors = (0.3 * torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))).double().exp()
    couplings = (q @ k.mT / 2).exp() * factors * ~padding[:, None, None, :]
    torch.testing.assert_close(found, couplings / couplings.sum(-1, keepdim=True) @ v)
    with pytest.raises(ValueError, match="couplings only"):
        noise("state", 0.1).softmax_attention(q, k, v, **asked)


def test_a_turning_oscillator_lags_behind_its_fixed_point_by_the_arcsine_of_its_rate() -> None:
    """On the circle φ̇ = ω − ‖h‖ sin φ rests at sin φ = ω/‖h‖ (Adler)."""
    pull = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    pull[..., 0] = 2.0
    disorder = noise("frequency", 0.5, seed=3)
    drawn = 0.5 * torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(3)).double()
    omega = float(drawn[0, 0, 1, 0] - drawn[0, 0, 0, 1]) / 2
    rest = disorder.states(torch.nn.functional.normalize(pull, dim=-1), pull)[0, 0, 0]
    assert math.atan2(float(rest[1]), float(rest[0])) == pytest.approx(math.asin(omega / 2.0), abs=1e-5)


@pytest.mark.parametrize(("size", "strength"), [(2, 0.3), (2, 3.0), (3, 5.0), (8, 0.5), (8, 2.0), (32, 1.0)])
def test_turning_oscillators_are_where_a_solver_brings_them(size: int, strength: float) -> None:
    """Locked ones and, where turning is the stronger, those that never rest."""
    generator = torch.Generator().manual_seed(size)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, size, generator=generator, dtype=torch.float64)

    start, pull, own = normalize(drawn(2, 3, 4), dim=-1), drawn(2, 3, 4), strength * drawn(3, 4, size)
    turning = (own - own.mT) / 2

    def right_hand_side(_: Tensor, z: Tensor) -> Tensor:
        return (turning @ z[..., None])[..., 0] + pull - (pull * z).sum(-1, keepdim=True) * z

    for horizon in (0.01, 3.0):
        times = torch.tensor([0.0, horizon], dtype=torch.float64)
        path = odeint(right_hand_side, start, times, method="dopri5", rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(turned(start, pull, turning, horizon), path[-1], rtol=1e-7, atol=1e-7)


def test_a_long_time_and_a_strong_pull_overflow_nothing() -> None:
    pull = torch.tensor([[3e4, 4e4], [0.0, 0.0], [1e-30, 0.0]])
    start = normalize(torch.tensor([[-1.0, 0.3]]).expand(3, 2), dim=-1)
    found = turned(start, pull, torch.zeros(2, 2), 1e3)
    torch.testing.assert_close(found[0], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(found[1:], start[1:])


def test_the_metric_under_disorder_is_measured_where_there_is_such_a_part() -> None:
    config = DisorderConfig(strengths=[0.1, 1.0], draws=2, examples=100)
    subject = make_subject("softmax")
    found = DisorderMeasure(config).after(subject).measures
    assert found["accuracy_disorder_none"].value is not None
    assert found["accuracy_disorder_coupling_0.1"].details["by_draw"]
    for kind in ("state", "frequency"):
        assert found[f"accuracy_disorder_{kind}_1"].value is None
        assert "knows no disorder" in str(found[f"accuracy_disorder_{kind}_1"].reason)
    everything = DisorderMeasure(config).after(make_subject("fixed_query")).measures
    assert all(one.value is not None for one in everything.values())
    assert subject.model.trunk.mechanism.disorder is None
    assert subject.model.training
    again = DisorderMeasure(config).after(make_subject("fixed_query")).measures
    assert {name: one.value for name, one in again.items()} == {n: o.value for n, o in everything.items()}


def test_distances_follow_the_closed_form() -> None:
    """tan(φ(t)/2) = tan(φ(0)/2) e^(−‖h‖t), and the chord of an angle φ is 2 sin(φ/2)."""
    torch.manual_seed(1)
    pulls = torch.randn(7, 3, dtype=torch.float64)
    start = torch.nn.functional.normalize(torch.randn(2, 7, 3, dtype=torch.float64), dim=-1)
    found = distances_over_time(pulls, start, [0.5, 2.0], 1e-9)
    strength = pulls.norm(dim=-1)
    angle = torch.acos((start * pulls / strength[:, None]).sum(-1))
    for index, time in enumerate((0.5, 2.0)):
        later = 2 * torch.atan((angle / 2).tan() * (-strength * time).exp())
        torch.testing.assert_close(found[index], 2 * (later / 2).sin(), rtol=1e-6, atol=1e-8)


def test_shares_settled_grow_with_the_horizon_and_are_null_without_a_pull() -> None:
    config = SettlingConfig(horizons=[0.1, 5.0, 50.0], starts=2, examples=4)
    found = Settling(config).after(make_subject("fixed_query")).measures
    shares = [float(found[f"settled_share_{t}"].value or 0.0) for t in ("0.1", "5", "50")]
    assert shares == sorted(shares)
    assert shares[-1] > 0.8
    assert float(found["apparent_antipodal_share"].value or 0.0) <= 1 - shares[-1] + 1e-9
    # 4 images of 17 tokens, 2 heads, 2 starts
    assert found["settled_share_5"].n == 4 * 17 * 2 * 2
    nothing = Settling(config).after(make_subject("softmax")).measures
    assert all(one.value is None and one.reason for one in nothing.values())
