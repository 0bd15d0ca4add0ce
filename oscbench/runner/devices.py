"""Where cells run."""

from __future__ import annotations

from collections.abc import Callable

import torch

from oscbench.errors import allowed
from oscbench.suite import SuiteError


def usable_device(wanted: str, has_gpu: Callable[[], bool] = torch.cuda.is_available) -> str:
    """`auto`, `cpu` or `cuda` to what is there.

    Raises:
        SuiteError: CUDA was asked for and there is none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise SuiteError(f'--device: got "{wanted}"; {allowed(wanted, ("auto", "cpu", "cuda"))}')
    if wanted == "cuda" and not has_gpu():
        raise SuiteError("device: got cuda, but there is no CUDA device where cells run; allowed: auto, cpu")
    if wanted == "auto":
        return "cuda" if has_gpu() else "cpu"
    return wanted
