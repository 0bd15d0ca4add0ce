"""From a suite to its cells, whatever they do."""

from __future__ import annotations

from collections.abc import Callable

import torch

from oscbench.errors import UserError
from oscbench.runner.cell_spec import Cell
from oscbench.runner.devices import usable_device
from oscbench.runner.timing.plan import timing_cells
from oscbench.runner.training.plan import training_cells
from oscbench.suite import LoadedSuite, SuiteError

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
