"""Start values and biases as the settings of a backbone say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from oscbench import catalog
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.settings import spelled
from oscbench.tasks import SequenceInputs

INPUTS = SequenceInputs(vocabulary=65, length=16, num_outputs=65, is_causal=True)


def model(name: str = "softmax", **settings: Any) -> Sequence:
    mechanism = catalog.load("mechanisms", name)
    config = SequenceConfig.model_validate({"width": 64, "heads": 2, "layers": 4, **settings})
    return Sequence(config, INPUTS, mechanism, mechanism.Config(), hidden=None, seed=0)


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_without_biases_no_vector_is_left_but_the_norms_and_the_mechanisms_own(name: str) -> None:
    plain, bare = model(name), model(name, bias=False)
    gone = {key for key, _ in plain.named_parameters()} - {key for key, _ in bare.named_parameters()}
    linear = {
        f"{key}.bias"
        for key, module in plain.named_modules()
        if isinstance(module, nn.Linear | nn.LayerNorm | nn.GroupNorm) and module.bias is not None
    }
    assert gone == linear
    ids = torch.randint(65, (2, 16), generator=torch.Generator().manual_seed(0))
    bare.calibrate(ids)
    out = bare(ids).prediction
    out.square().mean().backward()
    assert torch.isfinite(out).all()
    for key, parameter in bare.named_parameters():
        assert parameter.grad is not None, key


def test_normal_starts_have_their_spread_and_less_where_they_write() -> None:
    started = dict(model(weight_spread=0.02, embedding_spread=0.02).named_parameters())
    for key, parameter in ((key, p.detach()) for key, p in started.items()):
        if not key.endswith("weight") or parameter.dim() < 2:
            continue
        wanted = 0.02 / 8**0.5 if key.split(".")[-2] in ("out", "down") else 0.02
        assert float(parameter.std()) == pytest.approx(wanted, rel=0.1), key
        assert abs(float(parameter.mean())) < wanted / 10
    assert sum(".down." in key or ".out." in key for key in started if key.endswith("weight")) == 8


def test_settings_at_their_neutral_values_leave_starts_and_specs_alone() -> None:
    assert not {"bias", "weight_spread"} & set(spelled(SequenceConfig()))
    one, two = model(), model(bias=True, weight_spread=None)
    for (key, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), key
    bound = 64**-0.5
    assert float(one.head.weight.detach().abs().max()) <= bound
