"""The dynamics behind fixed-query attention, integrated: the oracle of the closed form, and a mechanism of its own.

ẋ = (I - x xᵀ) ĥ with ĥ = h/‖h‖, from private starts to the horizon. Dividing by ‖h‖ is a change of each position's own clock: the
same path, walked at unit speed, so that one horizon serves all positions. Gradients flow through the solver's own steps (discretise, then
differentiate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from oscbench.ops.fixed_query.reference import fixed_point
from oscbench.ops.phases import at_least_float32

ADAPTIVE = ("dopri5",)
FIXED_STEP = ("euler", "midpoint", "rk4")


@dataclass(frozen=True)
class Settled:
    """Where the oscillators came to rest.

    Attributes:
        state: (B, H, N, d_osc), unit.
        evaluations: of the right-hand side, counted.
        near_antipodal: share of starts within 0.1 of -x*, from which the way is long.
        unconverged: share of states further than 0.1 from x* at the horizon.
    """

    state: Tensor
    evaluations: int
    near_antipodal: Tensor
    unconverged: Tensor


def unit(x: Tensor) -> Tensor:
    """x/‖x‖ over the last axis."""
    length: Tensor = x.norm(dim=-1, keepdim=True)
    return x / length.clamp_min(1e-12)


def flow(h: Tensor, x: Tensor) -> Tensor:
    """(I - x xᵀ) h, with x brought back to the sphere first. (…, d_osc)."""
    x = unit(x)
    return h - (h * x).sum(-1, keepdim=True) * x


def settle(
    h: Tensor,
    start: Tensor,
    *,
    solver: str = "dopri5",
    horizon: float = 30.0,
    num_steps: int = 100,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    unit_speed: bool = True,
) -> Settled:
    """Integrate every oscillator from `start` to the horizon. Source: arXiv 2606.12059, Lohe dynamics.

    Args:
        h: pull, (B, H, N, d_osc).
        start: unit vectors, broadcastable to h.
        solver: `dopri5` (adaptive; its step is shared by all positions, so the laws hold to its tolerance only), or `euler`,
            `midpoint`, `rk4` with fixed steps (which obey them exactly).
        horizon: T, in units of 1/‖h‖ when `unit_speed`, else of time.
        num_steps: of a fixed-step solver.
        rtol: relative tolerance of dopri5.
        atol: absolute tolerance of dopri5.
        unit_speed: integrate ĥ; False is the published literal h.

    Raises:
        ValueError: there is no such solver.
    """
    if solver not in (*ADAPTIVE, *FIXED_STEP):
        raise ValueError(f'solver must be one of {", ".join((*ADAPTIVE, *FIXED_STEP))}; got "{solver}"')
    h = at_least_float32(h)
    rest = fixed_point(h)
    drive = rest if unit_speed else h
    first = start.to(h.dtype).expand_as(h).clone()
    evaluations = 0

    def right_hand_side(time: Tensor, x: Tensor) -> Tensor:
        nonlocal evaluations
        del time
        evaluations += 1
        return flow(drive, x)

    times = torch.tensor([0.0, horizon], dtype=h.dtype, device=h.device)
    if solver in ADAPTIVE:
        path = odeint(right_hand_side, first, times, method=solver, rtol=rtol, atol=atol)
    else:

        def grid(*_: Any) -> Tensor:  # a step size would add a step of rounding's length at some horizons
            return torch.linspace(0.0, horizon, num_steps + 1, dtype=h.dtype, device=h.device)

        path = odeint(right_hand_side, first, times, method=solver, options={"grid_constructor": grid})
    end = unit(path[-1])
    with torch.no_grad():
        antipodal = ((first + rest).norm(dim=-1) < 0.1).float().mean()
        unconverged = ((end - rest).norm(dim=-1) > 0.1).float().mean()
    return Settled(end, evaluations, antipodal, unconverged)
