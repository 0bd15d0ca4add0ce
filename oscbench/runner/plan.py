"""From a suite to its cells, whatever they do, and the device that they run on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from oscbench.errors import UserError, allowed
from oscbench.runner.cell_spec import Cell
from oscbench.runner.timing.plan import timing_cells
from oscbench.runner.training.plan import training_cells
from oscbench.suite import LoadedSuite, SuiteError


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


_PLANS: dict[str, Callable[[LoadedSuite, list[str], str, str], list[Cell]]] = {
    "train": training_cells,
    "timing": timing_cells,
}
"""By the kind that a suite says it is of; floors come with a suite that trains."""


def make_plan(
    loaded: LoadedSuite,
    *,
    only: list[str],
    device: str | None,
    has_gpu: Callable[[], bool] = torch.cuda.is_available,
) -> list[Cell]:
    """Resolve every cell of a suite, and refuse before anything runs what cannot run.

    Args:
        loaded: the suite.
        only: which cells.
        device: instead of the suite's.
        has_gpu: whether there is one where the cells will run, which need not be here.

    Raises:
        SuiteError: an unknown name or setting, an impossible size, or data or a device that is not there; one line with the place.
    """
    suite = loaded.suite
    asked = suite.device if device is None else device
    where = f"{loaded.source}: device" if device is None else "--device"
    there = usable_device(asked, has_gpu, where)
    try:
        return _PLANS[suite.kind](loaded, only, asked, there)
    except SuiteError:
        raise
    except UserError as error:  # of a task, which knows its setting and not the suite
        raise SuiteError(f"{loaded.source}: {error}") from error
