"""What it took to get somewhere: steps and joules until a curve first reaches a target (no torch)."""

from __future__ import annotations

from oscbench.records.schema import Curve, Measurement, Record

ENERGY = "step_energy_j"


def steps_to_target(curve: Curve, target: float) -> float | None:
    """The first x at which the curve is as good as the target; None where it never is: the run is censored there."""
    for x, y in zip(curve.x, curve.y, strict=True):
        if y <= target if curve.direction == "lower" else y >= target:
            return x
    return None


def joules_to_target(record: Record, curve_name: str, target: float) -> Measurement:
    """Steps until the target times the measured joules of a step, or null with the reason.

    The joules of a step were measured on a batch of their own, so the product is an estimate and says so.
    """
    label = f"energy until {curve_name} is {target:g}"
    curve, energy = record.curves.get(curve_name), record.measures.get(ENERGY)
    reason = None
    steps: float | None = None
    censored: dict[str, float] = {}
    if curve is None:
        reason = f"the record has no curve {curve_name}"
    elif energy is None or energy.value is None:
        reason = energy.reason if energy else f"{ENERGY} was not measured"
    elif energy.details.get("batch_size") != record.spec["train"]["batch_size"]:
        reason = f"{ENERGY} was measured on another batch size than the training's"
    else:
        steps = steps_to_target(curve, target)
        if steps is None:
            last = curve.x[-1] if curve.x else 0.0
            reason, censored = f"never reached in {last:g} steps", {"censored_at": last * energy.value}
    if reason or steps is None or energy is None or energy.value is None:
        return Measurement(
            value=None,
            unit="J",
            label=label,
            direction="lower",
            method="unavailable",
            n=0,
            reason=reason,
            details=dict(censored),
        )
    details = {"steps": steps, "joules_a_step": energy.value}
    return Measurement(
        value=steps * energy.value,
        unit="J",
        label=label,
        direction="lower",
        method="estimated",
        details=details,
    )
