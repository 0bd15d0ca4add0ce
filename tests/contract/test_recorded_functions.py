"""What every mechanism computes and learns from, as numbers that are kept beside this.

Laws do not see another base, another start, or a setting that no longer reaches the op; the numbers of the suites do. Where one of these
changes on purpose, the mechanism's `version` is raised with it: `python tests/contract/test_recorded_functions.py` writes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from oscbench import catalog
from oscbench.mechanisms import Context, Positions, Shape
from oscbench.models.laws import positions
from oscbench.models.trunk import Trunk, initialise

KEPT = Path(__file__).with_name("recorded_functions.json")
WIDTH, HEADS, LAYERS, TOKENS = 16, 2, 3, 9
BESIDE: dict[str, list[dict[str, Any]]] = {
    "kope": [
        {"base": 5.0},
        {"mix_gain": 1.0},
        {"learn_gamma": True, "gamma": 0.3},
        {"dynamics": "averaged", "gamma": 0.1},
        {"dynamics": "random_walk", "coupling": "per_block"},
        {"rotate_values": False},
    ],
    "rope": [{"base": 5.0, "rotate_values": True}],
    "torus": [
        {"base": 5.0},
        {"gate": "token"},
        {"gate": "token", "gate_scale": 0.5, "lag": False},
        {"step": 0.5},
    ],
    "ssa": [{"edge": 0.9, "init_locked": 0.5}, {"edge": 0.0, "top_k": 2}],
    "akorn": [
        {"rotation": "identity", "steps": 2},
        {"rotation": "off", "steps": 2},
        {"project": False, "steps": 2},
        {"condition": "token", "steps": 2},
        {"condition": "none", "steps": 2},
        {"omega": 1.5, "steps": 2},
        {"rotary": True, "steps": 2},
        {"start": "embedding", "steps": 2, "gamma": 0.3},
    ],
    "fixed_query": [
        {"mask_readout": False},
        {"anchors": "free", "mask_readout": False, "d_osc": 2},
        {"coupling": "relu"},
        {"dynamics": "ode", "solver": "euler", "num_steps": 7, "horizon": 2.0},
        {"dynamics": "ode", "solver": "rk4", "num_steps": 7, "horizon": 2.0},
    ],
}


def cases() -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, settings)
        for name in catalog.names("mechanisms")
        for settings in ({}, *catalog.load("mechanisms", name).examples, *BESIDE.get(name, []))
    ]


def name_of(name: str, settings: dict[str, Any], axes: int) -> str:
    return f"{name} {json.dumps(settings)} {axes}"


def numbers(name: str, settings: dict[str, Any], axes: int) -> list[float]:
    """Two projections of the output, and two of the gradient to the input, with some tokens at the end padded."""

    def drawn(seed: int, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    found = catalog.load("mechanisms", name)
    shape = Shape(WIDTH, HEADS, LAYERS, TOKENS, axes, torch.Generator().manual_seed(5))
    trunk = Trunk(found(found.Config.model_validate(settings), shape), hidden=24)
    initialise(trunk, seed=3)
    trunk = trunk.double()
    with torch.no_grad():  # what starts at 0 would tell nothing
        for at, parameter in enumerate(trunk.parameters()):
            if parameter.numel() and not parameter.any():
                parameter += 0.1 * drawn(100 + at, *parameter.shape)
    places = positions(axes, TOKENS).coordinates
    special = torch.arange(TOKENS) < axes - 1
    padding = torch.zeros(2, TOKENS, dtype=torch.bool)
    padding[1, 7:] = True
    context = Context(Positions(places, special), is_causal=axes == 1, key_padding_mask=padding)
    x = (0.3 * drawn(0, 2, TOKENS, WIDTH)).requires_grad_()
    trunk.calibrate(x, context)
    out = trunk(x, context)[0]
    real = ~padding[..., None]
    (gradient,) = torch.autograd.grad((out * drawn(1, *out.shape) * real).sum(), x)
    out = out.detach()
    return [float((out * drawn(seed, *out.shape) * real).sum()) for seed in (1, 2)] + [
        float((gradient * drawn(seed, *gradient.shape)).sum()) for seed in (3, 4)
    ]


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(("name", "settings"), cases())
def test_a_mechanism_computes_what_it_did(name: str, settings: dict[str, Any], axes: int) -> None:
    if axes == 2 and settings.get("delay"):
        pytest.skip("needs tokens in an order")
    rough = settings.get("dynamics") == "ode" and settings.get("solver", "dopri5") == "dopri5"
    kept = json.loads(KEPT.read_text())
    if not any(case.partition(" ")[0] == name for case in kept):
        pytest.skip("a mechanism that is new has no numbers yet")
    case = name_of(name, settings, axes)
    assert case in kept, "an example of a mechanism with numbers needs its own: run this file"
    # At the edge of locking SSA's slope has no bound, and another processor's last digits decide on which side a pair stands.
    sure = slice(2) if name == "ssa" else slice(4)
    found = numbers(name, settings, axes)[sure]
    assert found == pytest.approx(kept[case][sure], rel=1e-2 if rough else 1e-4, abs=1e-3)


if __name__ == "__main__":
    made = {name_of(n, s, axes): numbers(n, s, axes) for n, s in cases() for axes in (1, 2)}
    KEPT.write_text(json.dumps(made, indent=1) + "\n")
