"""A section, a measure and an op, each as the one file that adds it; tests write them into a copy of the package."""

from __future__ import annotations

SECTION = '''
"""A motto, for a test."""

from __future__ import annotations

from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Prose


class Motto:
    """A sentence of its own."""

    title = "Motto of a stranger"
    rank = 50
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """How many experiments it has seen."""
        return [Prose((f"One file told of {len(study.experiments)} experiment.",))]


section = Motto
'''

MEASURE = '''
"""Bytes of all numbers that a model learns, for a test."""

from __future__ import annotations

from oscbench.measures import Findings, Measure, Subject
from oscbench.records.schema import Measurement


class Footprint(Measure):
    """Bytes to store a model."""

    label = "footprint"
    roles = {"footprint_bytes": {"rank": 5, "cost": "Footprint of a stranger", "exact": True}}

    def after(self, subject: Subject) -> Findings:
        """Count them."""
        count = sum(p.numel() * p.element_size() for p in subject.model.parameters())
        found = Measurement(value=count, unit="B", label="footprint", direction="lower", method="computed")
        return Findings({"footprint_bytes": found})


measure = Footprint
'''

OP = '''
"""The mean of all that a token hears, for a test."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops.dispatch import Backend, call_of
from oscbench.ops.masking import allowed, silence
from oscbench.ops.op import Draw, Op, OpSize, Sample
from oscbench.ops.operations import Operations, pair_products
from oscbench.ops.phases import at_least_float32


def _counted(heads: int, tokens: int, width: int) -> Operations:
    return pair_products(heads, tokens, width) + Operations(divisions=heads * tokens)


def _sampled(size: OpSize, draw: Draw) -> Sample:
    return Sample({"v": draw(*size.shape)})


def _run(v: Tensor, *, is_causal: bool, key_padding_mask: Tensor | None) -> Tensor:
    wide = at_least_float32(silence(v, key_padding_mask))
    hears = allowed(v.shape[2], v.device, is_causal=is_causal, key_padding_mask=key_padding_mask).to(wide.dtype)
    return (hears @ wide / hears.sum(-1, keepdim=True).clamp_min(1.0)).to(v.dtype)


OP = Op(
    "mean_of_all",
    [Backend("reference", lambda: _run, note="one product")],
    automatic=lambda call: ["reference"],
    counted=_counted,
    sampled=_sampled,
)


def mean_of_all(
    v: Tensor, *, is_causal: bool = False, key_padding_mask: Tensor | None = None, backend: str = "auto"
) -> Tensor:
    """Mean of v (B, H, N, d) over the tokens that each hears."""
    chosen = OP.choose(backend, call_of(v, is_causal=is_causal, key_padding_mask=key_padding_mask))
    out: Tensor = chosen.load()(v, is_causal=is_causal, key_padding_mask=key_padding_mask)
    return out


op = OP
'''
