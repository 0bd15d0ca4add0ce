"""What phases and attention group, as a table and in sentences."""

from __future__ import annotations

from oscbench.analysis.experiment import Experiment
from oscbench.reporting.documents.support.tables import table_of
from oscbench.reporting.sections.binding import COLUMNS, attention_told, phases_told, reading

_BINDING = ("fg_ari", "mixed_fg_ari", "synchrony", "attention")
_BOUND = """What phases and attention group, in the last layer after training. Patches of an object lie side by side, so anything that follows
place groups them. Floors: phases before the first layer, a random walk from there in equal steps, coordinates, coordinates of bright patches
alone (where recorded), and another image.
FG-ARI's ceiling: patches that know their object. Means over seeds; the differences below have 95 % t intervals, each for itself."""


def bound(experiment: Experiment) -> str:
    """Binding as a table and in sentences; empty where the suite does not measure it."""
    found = [one for name in _BINDING for s in experiment.standings if (one := reading(s, name)) is not None]
    if not found:
        return ""
    told = "\n".join(f"- {answer}." for answer in (*phases_told(experiment), *attention_told(experiment)))
    return f"\n{_BOUND}\n\n{table_of(COLUMNS, found, numbers=len(COLUMNS) - 2)}\n\n{told}\n"
