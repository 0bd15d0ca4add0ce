"""What PyTorch's counter sees of every mechanism's layers on the CPU is its closed form, forward and backward.

A backend is asked for by its traits, not by name: an op whose only backend here is the literal `reference` does other
matrix products than the cheapest exact algorithm, and its count is then a different, known number.
"""

from __future__ import annotations

import pytest
import torch
from measure_subjects import make_subject

from oscbench import catalog
from oscbench.ops.dispatch import observe_choices
from oscbench.ops.flops import flop_counter


def settings_of(name):
    return [{}, *getattr(catalog.load("mechanisms", name), "examples", ())]


CASES = [
    pytest.param(name, settings, id=f"{name}-{index}")
    for name in catalog.names("mechanisms")
    for index, settings in enumerate(settings_of(name))
]


def free_state(mechanism):
    """Let the mechanism start from a state that wants a gradient, so that no backward product is left out."""
    start = mechanism.start

    def started(positions, tokens):
        state = start(positions, tokens)
        return state and tuple(part.detach().clone().requires_grad_() for part in state)

    mechanism.start = started


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_counter_sees_the_closed_form_of_every_layer(name, settings):
    subject = make_subject(name, settings)
    trunk, context = subject.model.trunk, subject.model.context(subject.probe.inputs)
    free_state(trunk.mechanism)
    batch, tokens = 2, subject.model.num_tokens
    embeddings = torch.randn(batch, tokens, trunk.mechanism.shape.width, requires_grad=True)
    with observe_choices() as ran, flop_counter() as counter:
        features, _ = trunk(embeddings, context)
    expected = batch * trunk.flops(tokens)
    if is_literal(name, settings, ran):
        if name != "fixed_query":
            pytest.skip(f"no backend here but the literal one: {ran}")
        literal = 2 * trunk.mechanism.implementations(tokens)["digital"].multiply_adds
        if settings.get("anchors") == "free":
            assert literal == trunk.mechanism.flops(tokens), "no other read-out is exact"
        expected += batch * (literal - trunk.mechanism.flops(tokens))
    assert counter.get_total_flops() == expected
    with flop_counter() as counter:
        features.square().sum().backward()
    assert counter.get_total_flops() == 2 * expected


def is_literal(name, settings, ran):
    """Whether N by N products ran: the `reference` backend, or the ODE, whose stages are the literal ones."""
    return any("reference" in names for names in ran.values()) or settings.get("dynamics") == "ode"
