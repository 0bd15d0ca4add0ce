"""TensorBoard: event files below RESULTS/.reporters/tensorboard, a run a cell (`tensorboard --logdir` that folder)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from oscbench import words
from oscbench.records import Record
from oscbench.runner.reporters import curves_of, name_of, results_of, settings_of

LONGEST = 120
"""Letters of a label, in the name of a folder."""


class TensorBoard:
    """Curves as scalars, and spec and measures for the HPARAMS page."""

    package = "tensorboard"

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer, self.folder = SummaryWriter, folder

    def told(self, record: Record) -> None:
        """One run; a cell that is told again replaces its own."""
        folder = self.folder / _folder(record.suite) / name_of(record)
        shutil.rmtree(folder, ignore_errors=True)
        with self._writer(str(folder)) as writer:
            for step, values in curves_of(record):
                for name, value in values.items():
                    writer.add_scalar(name, value, step)
            found = {f"measures/{name}": value for name, value in results_of(record).items()}
            writer.add_hparams({**settings_of(record), "status": record.status}, found, run_name=".")

    def close(self) -> None:
        """Every run is closed already."""


def _folder(label: str) -> str:
    """A label as the name of one folder, told from others that are cut or changed to the same."""
    name = re.sub(r"[/\\\0]", "-", label)[:LONGEST]
    return name if name == label else f"{name}-{words.mark(label)}"


reporter = TensorBoard
