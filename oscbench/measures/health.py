"""Health: does a mechanism do anything at all? Without this beside every result a no-op can win.

By layer, at the start and at the end, on a fixed probe batch: entropy and Gini of the attention, its distance from the identity and from
uniform, how many receivers hear only themselves, the mechanism's own numbers (locked share, order), the order of its phases plain and
weighted by attention, and the share of its parameters whose gradient is exactly 0; its flag leaves out words that the probe lacks.

Padded tokens count as tokens: where there are many, entropy and Gini are those of shorter rows, and a mixing that is the identity may not
be told as such.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from oscbench.measures import Findings, Measure, Subject
from oscbench.models.trunk import Output
from oscbench.modes import evaluating
from oscbench.records.schema import HealthRow, Measurement

IDENTITY_LIMIT = 0.02
ALONE_LIMIT = 0.98
DEAD_LIMIT = 0.25
When = Literal["start", "end"]


def attention_quantities(weights: Tensor, special: Tensor) -> dict[str, float]:
    """Quantities of an attention matrix (B, H, N, N), rows over receivers, averaged over everything but the layer.

    `special` (N,) bool marks CLS and registers, from which a classifier reads: a CLS token that hears only itself has seen nothing.
    `attention_entropy` and `attention_gini` are those of a row, divided by their largest values (ln N and (N-1)/N), so that 0 is one
    sender and 1 all alike for entropy, and the reverse for Gini; the distances are mean total variation, 0 to 1.
    """
    weights = weights.double().clamp_min(0.0)
    count = weights.shape[-1]
    if count == 1:
        return {}
    rows = weights / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    entropy = torch.special.entr(rows).sum(-1).mean() / math.log(count)
    order = rows.sort(dim=-1).values
    rank = torch.arange(1, count + 1, device=rows.device, dtype=rows.dtype)
    gini = ((2 * rank - count - 1) * order).sum(-1).mean() / (count - 1)
    identity = torch.eye(count, device=rows.device, dtype=rows.dtype)
    alone = rows.diagonal(dim1=-2, dim2=-1) > ALONE_LIMIT
    found = {
        "attention_entropy": float(entropy),
        "attention_gini": float(gini),
        "identity_distance": float((rows - identity).abs().sum(-1).mean() / 2),
        "uniform_distance": float((rows - 1 / count).abs().sum(-1).mean() / 2),
        "alone_share": float(alone.double().mean()),
    }
    if bool(special.any()):
        found["special_alone_share"] = float(alone[..., special].double().mean())
    return found


def phase_quantities(phases: Tensor, weights: Tensor) -> dict[str, float]:
    """Order parameter |mean_j e^{iθ_j}| of phases (B, H, N, m), and the same weighted by each receiver's attention."""
    cos, sin = phases.double().cos(), phases.double().sin()
    order = torch.hypot(cos.mean(-2), sin.mean(-2))
    rows = weights.double().clamp_min(0.0)
    rows = rows / rows.sum(-1, keepdim=True).clamp_min(1e-12)
    synchrony = torch.hypot(rows @ cos, rows @ sin)
    return {"order_parameter": float(order.mean()), "synchrony": float(synchrony.mean())}


def layer_quantities(found: Mapping[str, Tensor], special: Tensor) -> dict[str, float]:
    """All quantities of one layer's diagnostics: the mechanism's own numbers, and those of its attention and phases."""
    quantities = {name: float(value.detach()) for name, value in found.items() if value.numel() == 1}
    if "attention" in found:
        weights = found["attention"].detach()
        quantities |= attention_quantities(weights, special)
        if "phases" in found:
            quantities |= phase_quantities(found["phases"].detach(), weights)
    return quantities


class Health(Measure):
    """Diagnostics by layer, and flags for a mixing that is the identity or a gradient that is dead."""

    label = "health"

    def before(self, subject: Subject) -> Findings:
        """At the start, where a setting that starts nothing is told too."""
        found = self._look(subject, "start")
        config = subject.model.config
        usual = type(config).model_fields["embedding_spread"].default
        has_embeddings = any(isinstance(module, torch.nn.Embedding) for module in subject.model.modules())
        if config.embedding_spread != usual and not has_embeddings:
            found.flags.append(
                f"embedding_spread {config.embedding_spread:g} changes nothing: this model has no embeddings"
            )
        return found

    def after(self, subject: Subject) -> Findings:
        """At the end."""
        return self._look(subject, "end")

    def _look(self, subject: Subject, when: When) -> Findings:
        model = subject.model
        special = model.context(subject.probe.inputs).positions.special
        output, dead, reached = _with_gradients(subject)
        rows = [
            HealthRow(when=when, layer=layer, quantities=layer_quantities(found, special))
            for layer, found in enumerate(output.diagnostics)
        ]
        share = Measurement(
            value=dead,
            unit="fraction",
            label=f"parameters with zero gradient at the {when}",
            direction="lower",
            n=sum(p.numel() for p in model.parameters()),
        )
        return Findings({f"zero_gradient_share_{when}": share}, rows, _flags(rows, reached, when))


def _with_gradients(subject: Subject) -> tuple[Output, float, float]:
    """One forward and backward pass on the probe; the model's mode, gradients and state are left as they were.

    Returns:
        What it gave; the share of parameters with exactly zero gradient; and the same without rows of embeddings that nobody asked for.
    """
    model, probe = subject.model, subject.probe
    with evaluating(model):
        with _asked_rows(model) as asked:
            output = model(probe.inputs, diagnostics=True)
        loss = subject.task.loss(output.prediction, probe)
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        zeros = unasked = 0
        for p, g in zip(parameters, gradients, strict=True):
            gone = torch.ones_like(p, dtype=torch.bool) if g is None else g == 0
            zeros += int(gone.sum())
            # A word that the probe lacks is no dead parameter, unless the head reads it as well.
            if p in asked:
                unasked += int(gone[~asked[p]].sum())
    count = sum(p.numel() for p in parameters)
    return output, zeros / count, (zeros - unasked) / max(1, count - unasked)


@contextlib.contextmanager
def _asked_rows(model: torch.nn.Module) -> Iterator[dict[Tensor, Tensor]]:
    """Which rows of each table of embeddings a pass looks up, (rows,) bool, by the table."""
    asked: dict[Tensor, Tensor] = {}

    def looked_up(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, torch.nn.Embedding)
        rows = asked.setdefault(
            module.weight, torch.zeros(len(module.weight), dtype=torch.bool, device=module.weight.device)
        )
        rows[inputs[0].flatten()] = True

    hooks = [
        module.register_forward_pre_hook(looked_up)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
    ]
    try:
        yield asked
    finally:
        for hook in hooks:
            hook.remove()


def _flags(rows: list[HealthRow], dead: float, when: When) -> list[str]:
    flags = []
    near = [row.layer for row in rows if row.quantities.get("identity_distance", 1.0) < IDENTITY_LIMIT]
    if near:
        layers = ", ".join(str(layer) for layer in near)
        flags.append(f"mixing is the identity at the {when} (layers {layers}): tokens hear only themselves")
    if rows and all(row.quantities.get("special_alone_share", 0.0) > ALONE_LIMIT for row in rows):
        flags.append(
            f"the CLS token hears only itself in every layer at the {when}: the classifier sees no patch"
        )
    if dead > DEAD_LIMIT:
        flags.append(f"{dead:.0%} of parameters have exactly zero gradient at the {when}")
    return flags


measure = Health
