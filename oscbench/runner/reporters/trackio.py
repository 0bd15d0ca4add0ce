"""trackio: a run a cell, in its own local store (TRACKIO_DIR), looked at by `trackio show`."""

from __future__ import annotations

from pathlib import Path

from oscbench.records import Record
from oscbench.runner.reporters import PROJECT, curves_of, name_of, results_of, settings_of


class Trackio:
    """Curves by step, and measures at the last one."""

    package = "trackio"

    def __init__(self, folder: Path) -> None:
        import trackio

        del folder
        self._trackio = trackio

    def told(self, record: Record) -> None:
        """One run."""
        self._trackio.init(
            project=PROJECT,
            group=record.suite,
            name=name_of(record),
            config={**settings_of(record), "status": record.status},
            embed=False,
        )
        steps = curves_of(record)
        for step, values in steps:
            self._trackio.log(values, step=step)
        if found := results_of(record):
            self._trackio.log(found, step=steps[-1][0] if steps else 0)
        self._trackio.finish()

    def close(self) -> None:
        """Every run is finished already."""


reporter = Trackio
