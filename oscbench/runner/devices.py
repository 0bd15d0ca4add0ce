"""Where cells run."""

from __future__ import annotations

from collections.abc import Callable

import torch

from oscbench.errors import allowed
from oscbench.suite import SuiteError


def usable_device(
    wanted: str, has_gpu: Callable[[], bool] = torch.cuda.is_available, where: str = "--device"
) -> str:
    """`auto`, `cpu` or `cuda` to what is there; `where` is who asks.

    Raises:
        SuiteError: CUDA was asked for and there is none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise SuiteError(f'{where}: got "{wanted}"; {allowed(wanted, ("auto", "cpu", "cuda"))}')
    if wanted == "cuda" and not has_gpu():
        raise SuiteError(
            f"{where}: got cuda, but there is no CUDA device where cells run; allowed: auto, cpu"
        )
    if wanted == "auto":
        return "cuda" if has_gpu() else "cpu"
    return wanted
