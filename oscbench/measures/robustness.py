"""Robustness: how much of a trained image model's accuracy is left when images are worse than those that it was trained on.

Noise, covered patches, less contrast, and images changed on purpose by projected gradient descent in the L∞ norm (Madry et al., arXiv
1706.06083), and how well its confidence is calibrated on clean ones. Nothing is trained further, and every model sees the same changed
images, but for the attack, which is each one's own. No claim is made against an attacker who knows more than the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from oscbench.measures import FEW_EXAMPLES, Findings, Measure, MeasureConfig, Subject
from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.records.schema import Measurement
from oscbench.tasks import Batch, UnscoredError

SEED = 20_260_107
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Change = Callable[[Batch, torch.Generator], Tensor]


class RobustnessConfig(MeasureConfig):
    """Settings of the robustness measure.

    Attributes:
        noise: standard deviations of Gaussian noise on every pixel [share of the range from black to white].
        occlusion: shares of an image's patches that are set to the training images' mean.
        contrast: factors on each pixel's distance from its image's mean.
        pgd: radii of the attack, L∞ [share of the range].
        pgd_steps: of the attack, each followed by a projection.
        pgd_step: length of a step [share of the radius]; 2.5/steps reaches every place of the ball.
        examples: of the test, the first so many.
        attacked: of those, the first so many for the attack, which costs a backward pass a step.
        bins: of confidence, equally wide.
    """

    noise: list[Annotated[float, Field(gt=0.0)]] = Field(default=[0.1, 0.2])
    occlusion: list[Share] = Field(default=[0.25, 0.5])
    contrast: list[Share] = Field(default=[0.5, 0.25])
    pgd: list[Share] = Field(default=[0.01, 0.03])
    pgd_steps: int = Field(default=10, ge=1)
    pgd_step: float = Field(default=0.25, gt=0.0)
    examples: int = Field(default=1000, ge=1)
    attacked: int = Field(default=200, ge=1)
    bins: int = Field(default=15, ge=2)


class Robustness(Measure):
    """`<metric>_<change>_<strength>` for every change, `<metric>_pgd_0` of the attack's images unchanged, and `calibration_error`."""

    Config = RobustnessConfig
    version = 2  # the attack's images unchanged
    label = "accuracy under changed images"

    def after(self, subject: Subject) -> Findings:
        """Evaluate on changed test images; null with its reason where inputs are no images."""
        found, config = Findings(), self.config
        with evaluating(subject.model):
            for kind, strengths in (
                ("noise", config.noise),
                ("occlusion", config.occlusion),
                ("contrast", config.contrast),
                ("pgd", config.pgd),
            ):
                # What an attack costs is told on the images that it saw, so that they are also looked at unchanged.
                for strength in (0.0, *strengths) if kind == "pgd" and strengths else strengths:
                    name = f"{subject.task.metric.name}_{kind}_{strength:g}"
                    found.measures[name] = self._changed(subject, kind, strength)
            found.measures["calibration_error"] = self._calibration(subject)
        return found

    def smaller(self) -> tuple[RobustnessConfig, float]:
        """The same for a share of the images."""
        config = self.config
        share = min(1.0, FEW_EXAMPLES / config.examples)
        counts = {name: max(1, round(share * getattr(config, name))) for name in ("examples", "attacked")}
        return config.model_copy(update=counts), config.examples / counts["examples"]

    def _changed(self, subject: Subject, kind: str, strength: float) -> Measurement:
        """The metric under one change."""
        metric, limits = subject.task.metric, subject.task.input_range()
        label = f"{metric.label}, {self._words(kind, strength)}"
        if limits is None:
            return _nothing(metric.unit, label, metric.direction)
        low, high = (limit.to(subject.device) for limit in limits)
        change = self._change(subject, kind, strength, low, high)
        count = self.config.attacked if kind == "pgd" else self.config.examples
        generator = torch.Generator().manual_seed(named_seed(SEED, f"{kind}/{strength:g}"))
        answers = []
        for batch in subject.first_examples("test", min(count, self.config.examples)):
            inputs = change(batch, generator)
            with torch.no_grad():
                answers.append((subject.model(inputs).prediction, batch))
        try:
            score = subject.task.scored(answers)[metric.name]
        except UnscoredError as error:
            return _nothing(metric.unit, label, metric.direction, str(error))
        return Measurement(
            value=score.value,
            unit=metric.unit,
            label=label,
            direction=metric.direction,
            n=score.count,
        )

    def _words(self, kind: str, strength: float) -> str:
        steps = f"{self.config.pgd_steps} steps of {self.config.pgd_step:g} of the radius"
        return {
            "noise": f"noise of {strength:g} of the range",
            "occlusion": f"{strength:.0%} of the patches covered",
            "contrast": f"contrast times {strength:g}",
            "pgd": f"PGD, L∞ radius {strength:g} of the range, {steps}"
            if strength
            else "the images of the attack, unchanged",
        }[kind]

    def _change(self, subject: Subject, kind: str, strength: float, low: Tensor, high: Tensor) -> Change:
        """From a batch to its changed images, which stay between black and white."""
        if kind == "noise":
            return lambda batch, generator: _between(
                batch.inputs + strength * (high - low) * _normal(batch.inputs, generator), low, high
            )
        if kind == "occlusion":
            patch = int(getattr(subject.model.config, "patch", 1))
            return lambda batch, generator: occluded(batch.inputs, strength, patch, generator)
        if kind == "contrast":
            return lambda batch, _: _less_contrast(batch.inputs, strength)
        if strength == 0.0:
            return lambda batch, _: batch.inputs
        return lambda batch, generator: self._attacked(subject, batch, strength, low, high, generator)

    def _attacked(
        self,
        subject: Subject,
        batch: Batch,
        radius: float,
        low: Tensor,
        high: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Ascend the loss by the gradient's sign from a random place of the ball, and stay in it."""
        reach = radius * (high - low)
        start = 2.0 * torch.rand(batch.inputs.shape, generator=generator).to(batch.inputs) - 1.0
        inputs = _between(batch.inputs + reach * start, low, high)
        for _ in range(self.config.pgd_steps):
            inputs = inputs.detach().requires_grad_()
            loss = subject.task.loss(subject.model(inputs).prediction, batch)
            (gradient,) = torch.autograd.grad(loss, inputs)
            moved = inputs.detach() + self.config.pgd_step * reach * gradient.sign()
            inputs = _between(_between(moved, batch.inputs - reach, batch.inputs + reach), low, high)
        return inputs.detach()

    def _calibration(self, subject: Subject) -> Measurement:
        """Expected calibration error on clean test images, where each has one class."""
        label = f"expected calibration error, {self.config.bins} bins"
        if subject.task.input_range() is None:
            return _nothing("fraction", label, "lower")
        confidences, rights = [], []
        for batch in subject.first_examples("test", self.config.examples):
            if batch.targets.dim() != 1:
                return _nothing("fraction", label, "lower", "examples have more than one answer")
            with torch.no_grad():
                prediction = subject.model(batch.inputs).prediction
            if prediction.dim() != 2:
                return _nothing("fraction", label, "lower", "answers are no classes")
            confidence, answer = prediction.double().softmax(-1).max(-1)
            confidences.append(confidence)
            rights.append((answer == batch.targets).double())
        confidence, right = torch.cat(confidences), torch.cat(rights)
        error = calibration_error(confidence, right, self.config.bins)
        return Measurement(value=error, unit="fraction", label=label, direction="lower", n=len(right))


def calibration_error(confidence: Tensor, right: Tensor, bins: int) -> float:
    """Σ_b n_b/n |mean right − mean confidence| over equally wide bins of confidence, eq. 3 of Guo et al., arXiv 1706.04599."""
    index = (confidence * bins).long().clamp_max(bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add(
        0, index.cpu(), (right - confidence).double().cpu()
    )
    return float(gap.abs().sum()) / len(right)


def occluded(images: Tensor, share: float, patch: int, generator: torch.Generator) -> Tensor:
    """Images (B, C, h, w) of which a share of the patches, drawn for each image, shows the training mean, which is 0."""
    rows, columns = images.shape[-2] // patch, images.shape[-1] // patch
    covered = round(share * rows * columns)
    order = torch.rand(len(images), rows * columns, generator=generator).argsort(1)
    shown = (order.argsort(1) >= covered).view(-1, 1, rows, columns).to(images)
    mask = shown.repeat_interleave(patch, -2).repeat_interleave(patch, -1)
    return images * mask


def _less_contrast(images: Tensor, factor: float) -> Tensor:
    mean = images.mean((-2, -1), keepdim=True)
    return mean + factor * (images - mean)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that a GPU beside it sees the same."""
    return torch.randn(like.shape, generator=generator).to(like)


def _between(images: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(images, low), high)


def _nothing(
    unit: str, label: str, direction: str, why: str = "inputs of this task are no images"
) -> Measurement:
    return Measurement.model_validate(
        {
            "value": None,
            "unit": unit,
            "label": label,
            "direction": direction,
            "n": 0,
            "method": "unavailable",
            "reason": f"unavailable: {why}",
        }
    )


measure = Robustness
