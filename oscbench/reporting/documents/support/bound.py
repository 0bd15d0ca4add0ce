"""What phases and attention group, as a table and in sentences."""

from __future__ import annotations

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.reporting.documents import table
from oscbench.reporting.documents.support.tables import measured_pairs, table_of
from oscbench.reporting.sections.binding import COLUMNS, PREFIX, attention_told, phases_told, reading

_BINDING = ("fg_ari", "mixed_fg_ari", "synchrony", "attention")
_GROUPED = {"fg_ari": "phases", "mixed_fg_ari": "mixed phases"}
_PAIRED = """Clusters of the phases of one and the other, layer by layer, paired by seed, each interval for itself; not declared. Mixed
phases are those that turn what a head mixes; phases that never move are mixed too."""
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
    return f"\n{_BOUND}\n\n{table_of(COLUMNS, found, numbers=len(COLUMNS) - 2)}\n\n{told}\n{_against(experiment)}"


def _against(experiment: Experiment) -> str:
    """FG-ARI of phases of the compared pairs, layer by layer; empty where no two have phases."""
    rows = []
    for treatment, baseline in measured_pairs(experiment, experiment.standings):
        for name, label in _GROUPED.items():
            gains = layer_gains(treatment, baseline, name)
            if gains:
                rows.append([f"{treatment.name} {words.MINUS} {baseline.name}, {label}", *gains])
    if not rows:
        return ""
    headings = ("FG-ARI", *(f"Layer {layer}" for layer in range(1, len(rows[0]))))
    return f"\n{_PAIRED}\n\n{table(headings, rows, numbers=len(headings) - 1)}\n"


def layer_gains(treatment: Standing, baseline: Standing, name: str) -> list[str]:
    """What one entry has of a quantity over another after training, a text for each layer, paired by seed; empty where one lacks it."""
    sides = [_by_seed(one, f"{PREFIX}{name}") for one in (treatment, baseline)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if len(seeds) < 2:
        return []
    gains = np.array([sides[0][seed] for seed in seeds]) - np.array([sides[1][seed] for seed in seeds])
    ends = [mean_interval(one) for one in gains.T]
    return [
        words.estimate(float(one.mean()), end.low, end.high, "1")
        for one, end in zip(gains.T, ends, strict=True)
    ]


def _by_seed(standing: Standing, measure: str) -> dict[int, list[float]]:
    """The layers' values after training."""
    kept = {r.seed: r.measures[measure].details for r in standing.finished if measure in r.measures}
    return {seed: details["end"] for seed, details in kept.items() if details.get("end")}
