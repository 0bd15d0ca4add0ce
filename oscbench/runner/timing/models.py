"""Blocks and whole models as contenders: the same trunk around every mechanism."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from oscbench import catalog
from oscbench.instruments.clock import Contender
from oscbench.instruments.passes import Pass, model_pass
from oscbench.mechanisms import Context, Shape
from oscbench.models.positions import sequence_positions
from oscbench.models.trunk import Output, Trunk, initialise, named_seed
from oscbench.runner.timing.ops import Cost
from oscbench.tasks import Batch, ImageInputs, SequenceInputs

CLASSES = 1000
VOCABULARY = 256
MLP_RATIO = 4


class Blocks(nn.Module):
    """A trunk alone: embeddings in, features out."""

    def __init__(self, mechanism: Any, config: Any, setting: dict[str, Any], tokens: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(named_seed(0, "mechanism"))
        shape = Shape(setting["width"], setting["heads"], setting["layers"], tokens, 1, generator)
        self.trunk = Trunk(mechanism(config, shape), MLP_RATIO * setting["width"])
        self.tokens, self.causal = tokens, setting["causal"]
        initialise(self, 0)

    def forward(self, embeddings: Tensor) -> Output:
        """(B, N, D) to features."""
        positions = sequence_positions(self.tokens).to(embeddings.device)
        features, _ = self.trunk(embeddings, Context(positions, is_causal=self.causal))
        return Output(features)

    def flops(self) -> int:
        """Forward, a sample."""
        return self.trunk.flops(self.tokens)


class Objective:
    """A loss for models that are timed and not trained."""

    def __init__(self, family: str) -> None:
        self.family = family

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean square of features, or cross-entropy against random targets."""
        if self.family == "blocks":
            return prediction.float().square().mean()
        return nn.functional.cross_entropy(prediction.float().flatten(0, -2), batch.targets.flatten())


def make_model(family: str, contender: dict[str, Any], setting: dict[str, Any], tokens: int) -> Any:
    """The model of a mechanism; equal width, heads and MLP for all, so not matched.

    Raises:
        ValueError: a size that the mechanism cannot have.
    """
    mechanism = catalog.load("mechanisms", contender["name"])
    config = mechanism.Config.model_validate(contender["settings"])
    if family == "blocks":
        return Blocks(mechanism, config, setting, tokens)
    sizes = {key: setting[key] for key in ("width", "heads", "layers")}
    if family == "decoder":
        sequence = catalog.load("backbones", "sequence")
        inputs = SequenceInputs(VOCABULARY, tokens, VOCABULARY, True, None)
        return sequence(sequence.Config(**sizes), inputs, mechanism, config, hidden=None, seed=0)
    vision = catalog.load("backbones", "vision")
    side = setting["side"]
    images = ImageInputs(3, side, side, CLASSES)
    sizes |= {"patch": setting["patch"]}
    return vision(vision.Config(**sizes), images, mechanism, config, hidden=None, seed=0)


def make_batch(family: str, setting: dict[str, Any], batch: int, tokens: int) -> Batch:
    """Random inputs and targets."""
    generator = torch.Generator().manual_seed(0)
    if family == "blocks":
        embeddings = torch.randn(batch, tokens, setting["width"], generator=generator)
        return Batch(embeddings, torch.zeros(batch, dtype=torch.int64))
    if family == "decoder":
        ids = torch.randint(VOCABULARY, (2, batch, tokens), generator=generator)
        return Batch(ids[0], ids[1])
    side = setting["side"]
    images = torch.randn(batch, 3, side, side, generator=generator)
    return Batch(images, torch.randint(CLASSES, (batch,), generator=generator))


def model_contender(
    name: Pass, family: str, model: nn.Module, batch: Batch, *, compiled: bool = False
) -> Contender:
    """A pass of a model over a batch."""
    model.train(name != "forward")
    return model_pass(name, model, Objective(family), batch, compiled=compiled)


def model_cost(name: Pass, model: Any, batch: int, tokens: int) -> Cost:
    """FLOPs and special functions of a pass; its bytes are at least its weights."""
    times = {"forward": 1, "backward": 2, "step": 3}[name]
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    mechanism = model.trunk.mechanism.counted(tokens)
    special = mechanism.exponentials + mechanism.trigonometric + mechanism.roots
    layers = model.trunk.mechanism.shape.layers
    gelus = layers * tokens * model.trunk.hidden
    return Cost(times * batch * model.flops(), times * weights, batch * (special + gelus))
