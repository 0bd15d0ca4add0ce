"""Measures that look while a model trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from oscbench.errors import PartError, kind_of
from oscbench.measures import Measure, Subject


class Looking:
    """Asks measures at their steps, and leaves no trace in the training: the streams that dropout draws from go on as they were."""

    def __init__(self, subject: Subject, measures: Sequence[Measure], steps: int) -> None:
        self.subject = subject
        self.asked = [(measure, measure.steps(steps)) for measure in measures]

    def at(self, step: int) -> None:
        """So many steps are done."""
        for measure, asked in self.asked:
            if step in ((0,) if asked is None else asked):
                self._keep(measure, step)

    def validated(self, step: int) -> None:
        """The model was validated after this step."""
        for measure, asked in self.asked:
            if asked is None:
                self._keep(measure, step)

    def _keep(self, measure: Measure, step: int) -> None:
        with torch.random.fork_rng():
            found = measure.during(self.subject)
        if not isinstance(found, Mapping):
            raise PartError(
                f"measure {type(measure).__name__}: during gave {kind_of(found)}; wanted: a mapping"
            )
        for name, value in found.items():
            self.subject.history.followed.setdefault(name, []).append((step, value))
