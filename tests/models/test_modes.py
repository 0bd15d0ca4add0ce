"""Whoever asks a model in evaluation mode leaves it in the mode that it had, refusals and all."""

from __future__ import annotations

import pytest
import torch

from oscbench.modes import evaluating
from oscbench.ops.dispatch import UnsupportedError


@pytest.mark.parametrize("was_training", [True, False])
def test_the_mode_from_before_comes_back_whatever_happened(was_training):
    model = torch.nn.Dropout().train(was_training)
    with evaluating(model):
        assert not model.training
        model.train()
    assert model.training == was_training
    with pytest.raises(UnsupportedError), evaluating(model):
        raise UnsupportedError("not here")
    assert model.training == was_training
