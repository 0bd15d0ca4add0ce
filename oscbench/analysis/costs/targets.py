"""What it took to get somewhere: steps until a curve first reaches a target, and what was spent on them (no torch)."""

from __future__ import annotations

from oscbench.records.schema import Curve, Measurement, Record


def steps_to_target(curve: Curve, target: float) -> float | None:
    """The first x at which the curve is as good as the target; None where it never is: the run is censored there."""
    for x, y in zip(curve.x, curve.y, strict=True):
        if y <= target if curve.direction == "lower" else y >= target:
            return x
    return None


def spent_to_target(record: Record, curve_name: str, target: float, measure: str) -> Measurement:
    """Steps until the target times what a step takes of something, or null with the reason.

    A step was measured by itself, perhaps on a batch of its own, so the product is an estimate and says so.

    Args:
        record: of a cell.
        curve_name: the curve that reaches the target.
        target: in the curve's unit.
        measure: what is spent in every step: its seconds, FLOPs or joules.
    """
    curve, a_step = record.curves.get(curve_name), record.measures.get(measure)
    steps, reason = None, None
    trained = record.spec.get("train", {}).get("batch_size")
    if curve is None:
        reason = f"the record has no curve {curve_name}"
    elif a_step is None or a_step.value is None:
        reason = a_step.reason if a_step else f"{measure} was not measured"
    elif a_step.details.get("batch_size", trained) != trained:
        told = (
            "another batch size than the training's"
            if trained
            else "a batch, and its training's size is not told"
        )
        reason = f"{measure} was measured on {told}"
    else:
        steps = steps_to_target(curve, target)
        reason = f"never reached in {curve.x[-1] if curve.x else 0.0:g} steps"
    unit, label = a_step.unit if a_step else "1", f"{measure} until {curve_name} is {target:g}"
    if steps is None or a_step is None or a_step.value is None:
        return Measurement.unavailable(reason, unit=unit, label=label)
    details = {"steps": steps, "a_step": a_step.value}
    spent = steps * a_step.value
    return Measurement(
        value=spent, unit=unit, label=label, direction="lower", method="estimated", details=details
    )
