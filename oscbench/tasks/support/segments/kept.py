"""Small images and maps as records keep them; `oscbench.reporting.page.images.unpacked` reads them."""

from __future__ import annotations

import base64
import zlib

from torch import Tensor


def packed(values: Tensor) -> str:
    """Bytes as text, compressed."""
    return base64.b64encode(zlib.compress(values.contiguous().numpy().tobytes(), 9)).decode()
