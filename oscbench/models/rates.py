"""How fast each parameter learns and decays: by its depth in the model, and from step to step."""

from __future__ import annotations

import math

import torch

from oscbench.models.backbones import Backbone


def cosine(step: float, total: float, start: float, final: float) -> float:
    """From `start` at step 0 to `final` at step `total`: final + (start - final) (1 + cos(π step/total)) / 2.

    What learning rates follow after their warm-up, and, as in DINOv2, weight decay and a slow teacher's momentum over all steps.
    """
    return final + (start - final) * 0.5 * (1.0 + math.cos(math.pi * step / total))


def set_weight_decay(optimizer: torch.optim.Optimizer, value: float) -> None:
    """For all groups of matrices, which are those that `make_optimizer` marks as `decayed`."""
    for group in optimizer.param_groups:
        if group["decayed"]:
            group["weight_decay"] = value


def depth_factors(model: torch.nn.Module, decay: float) -> dict[int, float]:
    """Factor on the learning rate of each parameter, by its `id`: decay^(L + 1 - l), layer by layer as in BEiT (arXiv 2106.08254) and DINOv2.

    l is 0 for what is built before the trunk (patches, embeddings, positions), 1 to L for what is the first to the last block's own, and
    L + 1 for the last norm, all that is built after the trunk (heads), and what a mechanism has for all blocks together or between two
    of them: one tensor over all layers, as KoPE's mixing matrices or the anchors of fixed query, has one rate, and that is the full one.
    """
    if decay == 1.0 or not isinstance(model, Backbone):
        return {}
    layers = model.trunk.mechanism.shape.layers
    parts = [name for name, _ in model.named_children()]
    before = parts[: parts.index("trunk")]
    return {
        id(parameter): decay ** (layers + 1 - _depth(model, name, before, layers))
        for name, parameter in model.named_parameters()
    }


def _depth(model: Backbone, name: str, before: list[str], layers: int) -> int:
    parts = name.split(".")
    if parts[0] in before:
        return 0
    for place, part in enumerate(parts):
        if part.isdecimal() and parts[0] == "trunk":
            owner = model.get_submodule(".".join(parts[:place]))
            is_per_block = isinstance(owner, torch.nn.ModuleList) and len(owner) == layers
            return int(part) + 1 if is_per_block else layers + 1
    return layers + 1
