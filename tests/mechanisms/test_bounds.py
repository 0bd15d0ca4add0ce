"""Settings that bound a parameter, or leave it unbounded, do so away from where training starts."""

from __future__ import annotations

import torch
from draws import generator

from oscbench import catalog
from oscbench.mechanisms import Context, Mechanism, Shape
from oscbench.models.positions import sequence_positions
from oscbench.models.trunk import initialise


def made(name: str, **settings: object) -> Mechanism:
    found = catalog.load("mechanisms", name)
    mechanism: Mechanism = found(found.Config.model_validate(settings), Shape(8, 2, 2, 5, 1, generator(0)))
    initialise(mechanism, 0)
    return mechanism.double()


def test_free_anchors_count_by_their_length_and_unit_ones_by_their_direction():
    x = torch.randn(1, 5, 8, generator=generator(1), dtype=torch.float64)
    for anchors, same in (("free", False), ("unit", True)):
        mechanism = made("fixed_query", anchors=anchors)
        context = Context(sequence_positions(5))
        before = mechanism.mix(0, x, None, context).update
        with torch.no_grad():
            mechanism.anchors *= 1.5
        after = mechanism.mix(0, x, None, context).update
        assert torch.allclose(before, after, atol=1e-12) is same, anchors


def test_a_learned_step_stays_between_0_and_1():
    mechanism = made("kope", learn_gamma=True)
    for raw in (-5.0, 0.0, 0.5, 3.0, 50.0):
        with torch.no_grad():
            mechanism.raw_gamma.fill_(raw)
        expected = min(1.0, torch.nn.functional.softplus(torch.tensor(raw, dtype=torch.float64)).item())
        assert abs(mechanism.gamma().item() - expected) < 1e-15
