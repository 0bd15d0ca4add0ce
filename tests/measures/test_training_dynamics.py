"""Training dynamics: asked when it wants to be, true to what health says, and without a trace in the training that it looks at."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from measure_subjects import make_subject

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.measures.health import Health
from oscbench.measures.training_dynamics import TrainingDynamics, TrainingDynamicsConfig, _read
from oscbench.runner.training.loop import train
from oscbench.runner.training.pending import DivergedError

RECIPE = {
    "batch_size": 64,
    "steps": 30,
    "learning_rate": 3e-3,
    "weight_decay": 0.1,
    "beta2": 0.98,
    "warmup": 0.1,
    "clip": 1.0,
    "validate_every": 12,
}


def dynamics(points: int | None) -> TrainingDynamics:
    return TrainingDynamics(TrainingDynamicsConfig(points=points))


def trained(measures: list[Measure], name: str = "kope", **changes: float) -> Subject:
    """A small model after thirty steps with dropout."""
    subject = make_subject(name, dropout=0.2)
    train(subject, RECIPE | changes, 0, lambda done, total: None, measures=measures)
    return subject


def test_log_spaced_steps_begin_before_the_first_and_end_at_the_last() -> None:
    asked = dynamics(12).steps(2000)
    assert asked == {0, 1, 2, 4, 8, 16, 32, 63, 126, 252, 502, 1002, 2000}
    assert dynamics(12).steps(3) == {0, 1, 2, 3}, "a training of three steps has no more"
    assert dynamics(None).steps(2000) is None


@pytest.mark.parametrize(("points", "steps"), [(None, [0, 12, 24, 30]), (4, [0, 1, 3, 10, 30])])
def test_what_it_sees_first_and_last_is_what_health_says(points: int | None, steps: list[int]) -> None:
    subject = make_subject("kope", dropout=0.2)
    start = Health(MeasureConfig()).before(subject)
    measure = dynamics(points)
    train(subject, RECIPE, 0, lambda done, total: None, measures=[measure])
    curves = measure.curves(subject.history)
    end = Health(MeasureConfig()).after(subject)
    for at, rows in ((0, start.health), (-1, end.health)):
        for row in rows:
            for name, value in row.quantities.items():
                curve = curves[f"{name}/{row.layer}"]
                assert curve.x == tuple(steps)
                assert curve.layer == row.layer
                assert curve.y[at] == pytest.approx(value, rel=1e-5), name
    assert {"gini/0", "weighted_synchrony/1", "order_parameter/1"} <= set(curves)
    assert len(set(curves["order_parameter/1"].y)) > 1, "training moves the phases"


def test_the_reading_token_is_cls_and_only_patches_count() -> None:
    subject = make_subject("kope")
    seen = dynamics(None).during(subject)
    model = subject.model.eval()
    with torch.no_grad():
        found = model(subject.probe.inputs, diagnostics=True).diagnostics[1]
    rows = found["attention"][:, :, 0, 1:].double()
    rows = rows / rows.sum(-1, keepdim=True)
    count = rows.shape[-1]
    spread = (rows[..., :, None] - rows[..., None, :]).abs().mean((-2, -1)) / (
        2 / count
    )  # Gini as a mean difference
    assert seen["gini/1"] == pytest.approx(float(spread.mean()), rel=1e-6)
    waves = torch.exp(1j * found["phases"][:, :, 1:].double())
    synchrony = (rows[..., None] * waves).sum(-2).abs().mean()
    assert seen["weighted_synchrony/1"] == pytest.approx(float(synchrony), rel=1e-6)


def test_nothing_is_said_of_a_reader_that_hears_nobody() -> None:
    special = torch.tensor([True, False, False, False])
    weights = torch.eye(4).expand(1, 2, 4, 4).clone()
    assert _read({"attention": weights}, special) == {}
    weights[0, 1, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    assert _read({"attention": weights}, special) == {"gini": pytest.approx(2 / 3)}, "of the head that hears"


class Restless(Measure):
    """Draws from the stream that dropout uses, and says what came."""

    label = "restless"

    def after(self, subject: Subject) -> Findings:
        return Findings()

    def steps(self, total: int) -> range:
        return range(total)

    def during(self, subject: Subject) -> Mapping[str, float]:
        return {"drawn": float(torch.rand(()))}


@pytest.mark.parametrize("name", ["kope", "akorn", "fixed_query", "ssa", "torus"])
def test_looking_changes_nothing_of_the_training(name: str) -> None:
    alone = trained([], name)
    watched = trained([dynamics(6), Restless(MeasureConfig())], name)
    assert watched.history.losses == alone.history.losses
    assert watched.history.validation == alone.history.validation
    for one, other in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert len(watched.history.followed["drawn"]) == 30
    assert watched.model.training == alone.model.training


def test_a_training_that_diverges_leaves_what_was_seen_until_then() -> None:
    subject = make_subject("softmax")
    measure = dynamics(12)
    with pytest.raises(DivergedError):
        train(
            subject,
            RECIPE | {"learning_rate": 1e30, "clip": None},
            0,
            lambda done, total: None,
            measures=[measure],
        )
    curves = measure.curves(subject.history)
    assert curves["attention_entropy/0"].x[0] == 0.0
    assert curves["attention_entropy/0"].x[-1] == len(subject.history.losses) - 1
