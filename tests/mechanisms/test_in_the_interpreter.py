"""What mechanisms hand to Triton's kernels is what these were tested with: whole layers in the interpreter against the literal equations.

The kernels' own tests choose their inputs; a mechanism has its own (one K for all heads, a gate of each token's, angles (N, d), a batch
with unlike padding, heads of 12 or 24 channels that lie apart in memory).
"""

from __future__ import annotations

import json

import pytest
from triton_script import run_script

from oscbench.ops import triton_tools

pytestmark = pytest.mark.skipif(not triton_tools.installed(), reason="triton is not installed")

LAYERS = """
import json, sys
import torch
from oscbench import catalog
from oscbench.mechanisms import Context, Positions, Shape
from oscbench.models.trunk import initialise

torch.set_num_threads(1)
TOKENS, HEADS = 19, 2
WIDTH = 24 if CASES.startswith('[["torus"') else 48  # heads of 12 channels, or of 24: no power of two

def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

def layer(name, settings, dtype):
    found = catalog.load("mechanisms", name)
    shape = Shape(WIDTH, HEADS, 2, TOKENS, 2, torch.Generator().manual_seed(5))
    made = found(found.Config.model_validate(settings), shape)
    initialise(made, 3)
    with torch.no_grad():
        for at, parameter in enumerate(made.parameters()):
            if parameter.numel() and not parameter.any():
                parameter += 0.3 * drawn(100 + at, *parameter.shape)
    return made.to(dtype)

places = torch.stack((torch.arange(TOKENS) // 5, torch.arange(TOKENS) % 5), dim=-1).double()
where = Positions(places, torch.arange(TOKENS) == 0)
mask = torch.arange(TOKENS) >= torch.tensor([[TOKENS], [13]])
worst = {}
for name, settings in json.loads(CASES):
    for causal in (False, True):
        results = []
        for backend, dtype in (("reference", torch.float64), ("triton", torch.float32)):
            made, x = layer(name, settings, dtype), (0.2 * drawn(0, 2, TOKENS, WIDTH)).to(dtype).requires_grad_()
            context = Context(where, causal, mask, backend=backend)
            state = made.start(where, x)
            out = made.mix(0, x, state, context).update
            moved = made.advance(0, x, state, context)
            parts = [out] + ([*moved] if name == "kope" else [])
            loss = sum((part * drawn(7 + at, *part.shape).to(dtype)).masked_fill(
                (mask[..., None] if part.dim() == 3 else mask[:, None, :, None]), 0.0).sum() for at, part in enumerate(parts))
            named = {n: p for n, p in made.named_parameters()}
            slopes = torch.autograd.grad(loss, [x, *named.values()], allow_unused=True)
            real = [out.masked_fill(mask[..., None], 0.0)]
            results.append([p.detach().double() for p in real] + [None if s is None else s.double() for s in slopes])
        names = ["out", "x", *named]
        size = max(float(r.norm()) for r in results[0][1:] if r is not None)
        for at, (expected, found) in enumerate(zip(*results)):
            if expected is None:
                continue
            scale = float(expected.norm()) if at == 0 else max(float(expected.norm()), 1e-3 * size)
            error = float((found - expected).norm()) / max(scale, 1e-12)
            worst[f"{name} {json.dumps(settings)} {causal} {names[at]}"] = error if error == error else 1e9
print(json.dumps(worst))
"""

CASES = [
    ("torus", {}),
    ("torus", {"gate": "token", "include_self": True}),
    ("torus", {"gate": "static", "drift": False}),
    ("fixed_query", {}),
    ("fixed_query", {"exponent": 4, "coupling": "elu"}),
    ("ssa", {"init_locked": 0.5}),
    ("kope", {}),
    ("kope", {"learn_gamma": True, "mix": False, "rotate_values": False}),
    ("rope", {"rotate_values": True}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_layer_through_kernels_is_its_equations(tmp_path, name, settings):
    script = f"CASES = {json.dumps([(name, settings)])!r}\n" + LAYERS
    (found,) = run_script(tmp_path, script, TRITON_INTERPRET="1")
    assert {key: error for key, error in found.items() if error > 2e-4} == {}
