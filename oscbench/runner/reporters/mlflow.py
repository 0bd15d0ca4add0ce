"""MLflow: an experiment a suite, a run a cell; MLFLOW_TRACKING_URI is its own, by default a store below RESULTS/.reporters/mlflow."""

from __future__ import annotations

import os
import re
from pathlib import Path

from oscbench.records import Record
from oscbench.runner.reporters import PROJECT, curves_of, name_of, results_of, settings_of

_LONGEST = 500
"""Characters of a parameter that MLflow takes."""


class MLflow:
    """Curves and measures as metrics, the spec as parameters."""

    package = "mlflow"

    def __init__(self, folder: Path) -> None:
        import mlflow

        self._mlflow = mlflow
        if "MLFLOW_TRACKING_URI" not in os.environ:
            folder.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').absolute()}")

    def told(self, record: Record) -> None:
        """One run."""
        self._mlflow.set_experiment(f"{PROJECT}/{record.suite}")
        with self._mlflow.start_run(run_name=name_of(record)):
            told = {_name(key): str(value)[:_LONGEST] for key, value in settings_of(record).items()}
            self._mlflow.log_params({**told, "status": record.status})
            for step, values in curves_of(record):
                self._mlflow.log_metrics({_name(name): value for name, value in values.items()}, step=step)
            self._mlflow.log_metrics({_name(name): value for name, value in results_of(record).items()})

    def close(self) -> None:
        """Every run is closed already."""


def _name(text: str) -> str:
    """A name of the letters that MLflow allows."""
    return re.sub(r"[^\w./ -]", "-", text)


reporter = MLflow
