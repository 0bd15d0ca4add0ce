"""The sequence backbone keeps the laws at model level, for every mechanism in the catalog."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from oscbench import catalog
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.models.matching import MatchingError, match, num_parameters
from oscbench.ops.dispatch import UnsupportedError
from oscbench.tasks import SequenceInputs

INPUTS = SequenceInputs(vocabulary=11, length=12, num_outputs=11, is_causal=True, padding=0)


def builder(name: str, inputs: SequenceInputs = INPUTS, **model: Any) -> Any:
    found = catalog.load("mechanisms", name)
    config = SequenceConfig(**{"width": 16, "heads": 2, "layers": 2, **model})
    return lambda hidden: Sequence(config, inputs, found, found.Config(), hidden=hidden, seed=0)


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(1, 11, (2, 12), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_a_changed_token_changes_no_earlier_prediction(name: str) -> None:
    model = builder(name)(None).double()
    ids = tokens()
    before = model(ids).prediction
    other = ids.clone()
    other[:, 7:] = tokens(seed=1)[:, 7:]
    after = model(other).prediction
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-10)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-4)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_padding_on_the_right_changes_nothing(name: str, is_causal: bool) -> None:
    inputs = SequenceInputs(11, 12, 11, is_causal, padding=0)
    model = builder(name, inputs)(None).double()
    ids = tokens()
    padded = ids.clone()
    padded[:, 8:] = 0
    assert torch.allclose(model(padded).prediction[:, :8], model(ids[:, :8]).prediction, atol=1e-10)


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("by", ["params", "flops"])
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_matching_reaches_every_mechanism(name: str, by: Any, activation: Any) -> None:
    if by == "flops" and name == "akorn":  # its steps alone cost more than the whole reference
        with pytest.raises(MatchingError, match="at 1 hidden units"):
            match(by, builder(name, width=64), builder("rope", width=64))
        return
    matched = match(
        by,
        builder(name, width=64, activation=activation),
        builder("rope", width=64, activation=activation),
    )
    assert matched.residual is not None
    assert abs(matched.residual) <= 0.01


def test_tied_head_shares_its_parameters_and_is_refused_where_it_does_not_fit() -> None:
    tied, untied = builder("softmax", tied=True)(None), builder("softmax")(None)
    assert num_parameters(untied) - num_parameters(tied) == 11 * 16
    assert tied.head.weight is tied.embedding.weight
    with pytest.raises(ValueError, match="tied: the embedding is"):
        builder("torus", tied=True)(None)


@pytest.mark.parametrize("name", ["softmax", "fixed_query"])
def test_beyond_its_positions_or_anchors_a_model_is_unsupported(name: str) -> None:
    long = torch.randint(1, 11, (1, 13))
    with pytest.raises(UnsupportedError, match="12"):
        builder(name)(None)(long)


@pytest.mark.parametrize("name", ["rope", "kope", "torus", "ssa"])
def test_others_run_at_any_length(name: str) -> None:
    model = builder(name, position="none")(None)
    assert model(torch.randint(1, 11, (1, 48))).prediction.shape == (1, 48, 11)
