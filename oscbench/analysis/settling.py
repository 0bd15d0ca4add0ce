"""How oscillators come to rest, in closed form: ẋ = (I - x xᵀ) x* takes a unit vector along a great circle to x*."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def path_to_rest(start: Array, rest: Array, times: Array) -> Array:
    """Where oscillators are at some times. Source: arXiv 2606.12059, Lohe dynamics under a constant pull, at unit speed.

    The angle θ between an oscillator and its fixed point obeys θ' = -sin θ, so tan(θ/2) falls by e^(-t) while the direction stays.

    Args:
        start: unit vectors at time 0, (…, d).
        rest: fixed points, unit vectors, (…, d).
        times: (T,), in units of one over the strength of the pull.

    Returns:
        (T, …, d), unit vectors.
    """
    cosine = np.clip((start * rest).sum(-1, keepdims=True), -1.0, 1.0)
    aside = start - cosine * rest
    length = np.linalg.norm(aside, axis=-1, keepdims=True)
    direction = np.divide(aside, length, out=np.zeros_like(aside), where=length > 1e-12)
    angle = 2.0 * np.arctan(
        np.tan(np.arctan2(length, cosine) / 2.0) * np.exp(-times).reshape(-1, *[1] * start.ndim)
    )
    path: Array = np.cos(angle) * rest + np.sin(angle) * direction
    return path


def angles_to_rest(path: Array, rest: Array) -> Array:
    """Angle of every oscillator to its fixed point [rad], (T, …)."""
    angles: Array = np.arccos(np.clip((path * rest).sum(-1), -1.0, 1.0))
    return angles
