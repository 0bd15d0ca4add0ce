"""Weights & Biases: a run a cell, grouped by suite; WANDB_MODE=offline and its other variables are its own."""

from __future__ import annotations

from pathlib import Path

from oscbench.records import Record
from oscbench.runner.reporters import PROJECT, curves_of, name_of, results_of, settings_of


class WeightsAndBiases:
    """Curves as history, measures as summary, the spec as config."""

    package = "wandb"

    def __init__(self, folder: Path) -> None:
        import wandb

        self._wandb, self.folder = wandb, folder

    def told(self, record: Record) -> None:
        """One run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        run = self._wandb.init(
            project=PROJECT,
            group=record.suite,
            name=name_of(record),
            config={**settings_of(record), "status": record.status},
            dir=str(self.folder),
            reinit="finish_previous",
        )
        for step, values in curves_of(record):
            run.log(values, step=step)
        run.summary.update(results_of(record))
        run.finish()

    def close(self) -> None:
        """Every run is finished already."""


reporter = WeightsAndBiases
