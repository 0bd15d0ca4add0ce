"""Small images and maps as records keep them; `oscbench.reporting.page.images.unpacked` reads them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

SHOWN, SHOWN_SIDE = 4, 48
"""Test images whose answers a record keeps, and the largest side that they are kept at [pixels]."""


def packed(values: Tensor) -> str:
    """Bytes as text, compressed."""
    return base64.b64encode(zlib.compress(values.contiguous().numpy().tobytes(), 9)).decode()


def kept_examples(
    images: Tensor, maps: Mapping[str, Tensor], classes: Sequence[str], background: int | None
) -> dict[str, Any]:
    """Images and maps of them as a record keeps them, thinned out to a small side.

    Args:
        images: bytes (n, C, h, w).
        maps: name -> whole numbers from 0 to 255 (n, h, w), as `truth` and `answers`.
        classes: names, in the order of their numbers.
        background: number of what is no thing to find; None where all are.
    """
    step = -(-max(images.shape[-2:]) // SHOWN_SIDE)
    thinned = {
        name: one[..., ::step, ::step].to(torch.uint8) for name, one in {"images": images, **maps}.items()
    }
    return {
        "shape": list(thinned["images"].shape),
        "classes": list(classes),
        "background": background,
        **{name: packed(one) for name, one in thinned.items()},
    }
