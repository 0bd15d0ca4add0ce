"""How much positions and starts decide: every mechanism with each way to know where a token stands."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import headline_entries
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents.support.standings import (
    comparisons_table,
    difference,
    in_short,
    under_title,
)
from oscbench.reporting.documents.support.suites import nothing_of, report_of

RANK = 110
_HEAD = """# How much do positions and starts decide?

A row an entry: a mechanism with no positions, with learned vectors added to its tokens, with positions of its own (rotary angles, drift,
phases, anchors), or with both. "spread 1" starts embeddings with a spread of 1.0, not 0.5; for frames of sound this changes learned positions
alone, so rows without them are repeats. Uniform, the mean of all tokens (of text all earlier ones), is a floor.

One recipe for all, nothing tuned: these are estimates, and only what a table lists as declared has verdicts. The column of differences
subtracts, seed by seed, the baseline at its default start and the position that validation ranked first; each interval stands alone,
uncorrected for their number. It is empty for the baseline's mechanism. Which positions and which start are best changes with the task: no
mechanism's default follows from these, and suites take theirs task by task. Of bytes, a character is one byte. Suite `spoken_digits` ran at
the first version of its task, which had its examples in another order, and uniform's later seeds there from uncommitted code. Made from the
[reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed.
"""
_SUITES = (
    "positions_digits",
    "positions_text",
    "positions_keywords",
    "spoken_digits",
    "ssa_positions_digits",
)


def document(loaded: Loaded) -> Document:
    """A table for each suite that crosses mechanisms with positions, as far as it has run."""
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    declared = [
        (one.title, [c for c in one.comparisons if c.role == "confirms"]) for one in report.experiments
    ]
    return Document(
        under_title(_HEAD, in_short(declared)) + "".join(_of(experiment) for experiment in report.experiments)
    )


def _of(experiment: Experiment) -> str:
    """Entries with where their tokens' places come from, the best first; compared with the baseline's headline entry."""
    baselines = {c.pair.baseline: c.baseline for c in experiment.comparisons}
    headlines = headline_entries(record for one in experiment.standings for record in one.cells).values()
    usual = next((entry for entry in headlines if entry in baselines), None)
    against = {c.pair.treatment: c for c in experiment.comparisons if c.pair.baseline == usual}
    rows = []
    for standing in experiment.standings:
        if standing.summary is None:
            continue
        given = standing.cells[0].spec_given
        entry = given.get("mechanism", {})  # a floor has none
        model = entry.get("model", {})
        start = f"spread {model['embedding_spread']:g}" if model.get("embedding_spread") else ""
        label = standing.cells[0].card.label
        settings = entry.get("settings", {})
        told = ", ".join([f"{key} {value}" for key, value in settings.items()] + ([start] if start else []))
        mean = words.quantity(standing.summary.mean, experiment.unit, 4)
        half = words.half_width(
            standing.summary.interval.low, standing.summary.interval.high, experiment.unit
        )
        rows.append(
            (
                label,
                told,
                str(given.get("position", "")) or "(floor)",
                f"{mean} {half}".strip(),
                difference(against[standing.entry]) if standing.entry in against else "",
                str(standing.summary.n),
            )
        )
    baseline = f"Minus {baselines[usual]}" if usual else "Difference"
    headings = ("Mechanism", "Settings", "Position", experiment.metric_label, baseline, "Seeds")
    withheld = next((c.withheld for c in against.values() if c.withheld), "")
    said = f"\nVerdicts are withheld: {withheld}.\n" if withheld else ""
    declared = [c for c in experiment.comparisons if c.role == "confirms"]
    said += f"\nDeclared beforehand:\n\n{comparisons_table(declared)}\n" if declared else ""
    return f"\n## {experiment.title}\n\n{table(headings, rows, numbers=3)}\n{said}"
