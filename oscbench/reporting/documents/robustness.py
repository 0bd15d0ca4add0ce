"""What is left of trained models' accuracy on worse images than those that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.frame import Loaded
from oscbench.records.schema import Measurement
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.searches import search_of
from oscbench.reporting.documents.support.standings import comparisons_table, in_short, under_title
from oscbench.reporting.documents.support.suites import description_of, nothing_of, report_of
from oscbench.reporting.documents.support.tables import (
    flags_row,
    flags_told,
    flops_row,
    gain,
    gains_table,
    positions_row,
    scores_table,
)

RANK = 100
_HEAD = """# Who is robust to damage?

Models trained on clean images, tested on changed ones: noise, covered patches, less contrast, images changed on purpose by projected
gradient descent; and how far confidence is from accuracy on clean ones. All models see the same changed images (500 scans, the first 1,000
photographs), except the attack's, which is made for each model on the first 200 scans or 500 photographs. [A3](claims.md#a3) tests what
each loses from its own accuracy on the same images, clean; accuracy on changed images includes any lead on clean ones. Where positions
differ, a difference may be due to them. On digits one untuned learning rate for all, on CIFAR-10 what validation chose for each. Means with
95 % t intervals over seeds, each for itself; the tests of what changes take stand in [claims](claims.md#a3). Made from the [reference
records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed.
"""
_SUITES = ("robustness_digits", "robustness_cifar10")
_NAMES = ("accuracy_", "calibration_error")
_ATTACKED = "accuracy_pgd_0"
"""Of the images that the attack sees, before it does."""
_ALIKE = (("akorn:rotary", "rope:learned"), ("akorn:circles", "rope:learned"))
"""Entries with the same positions, neither of which is the reference."""


def document(loaded: Loaded) -> Document:
    """A table for each suite that changes images: changes by mechanisms, and differences to the reference, paired by seed."""
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    asked = [(f"{one.title}, clean", one.comparisons) for one in report.experiments]
    more = [_told_first(one) for one in report.experiments]
    parts = "".join(_of(experiment) + search_of(experiment, loaded) for experiment in report.experiments)
    return Document(under_title(_HEAD, in_short(asked, more)) + parts)


def _of(experiment: Experiment) -> str:
    entries = [one for one in experiment.standings if one.finished and _changes(one)]
    changes = {"accuracy": "clean"} | {
        name: measured.label for name, measured in _changes(entries[0]).items()
    }
    told = {name: _told(label) for name, label in changes.items()}
    scores = scores_table(
        "Images", entries, told, [positions_row(entries), flops_row(entries), *flags_row(entries)]
    )
    scores += flags_told(entries)
    pairs = _pairs(entries)
    gains = gains_table("Images", pairs, told)
    lost = {name: label for name, label in told.items() if name.startswith("accuracy_") and name != _ATTACKED}
    whole = {name: _ATTACKED if name.startswith("accuracy_pgd_") else "accuracy" for name in lost}
    losses = gains_table("Images", pairs, lost, less=whole)
    described = description_of(experiment.suite, experiment.description)
    return (
        f"\n## {experiment.title}\n\n{described}\n\n{scores}\n\n"
        f"Accuracy on clean images, what the suite compares:\n\n{comparisons_table(experiment.comparisons)}\n\n"
        f"What a change does to each one's own accuracy on clean images, paired by seed; below 0 the first of two loses more:\n\n{losses}\n\n"
        f"Differences of accuracy itself, paired by seed:\n\n{gains}\n"
    )


def _pairs(entries: Sequence[Standing]) -> list[tuple[Standing, Standing]]:
    """Each entry with softmax, then those with the same positions."""
    reference = next(one for one in entries if one.entry.mechanism == "softmax")
    by = {str(one.entry): one for one in entries}
    alike = [(by[first], by[second]) for first, second in _ALIKE if first in by and second in by]
    return [(one, reference) for one in entries if one is not reference] + alike


def _told_first(experiment: Experiment) -> str:
    """What the strongest attack, which costs most, leaves of each one's accuracy, less what it leaves of the other's."""
    entries = [one for one in experiment.standings if one.finished and _changes(one)]
    strongest = [name for name in _changes(entries[0]) if name.startswith("accuracy_pgd_")][-1]
    label = _told(_changes(entries[0])[strongest].label)
    gains = [
        f"{one.name} − {other.name} {gain(one, other, strongest, _ATTACKED)}"
        for one, other in _pairs(entries)
    ]
    asked = f"kept of each one's own accuracy under the strongest attack ({words.lowered(label)}; not declared beforehand)"
    return f"{experiment.title}, {asked}: {'; '.join(gains)}"


def _changes(standing: Standing) -> dict[str, Measurement]:
    return {
        k: m for k, m in standing.finished[0].measures.items() if k.startswith(_NAMES) and m.value is not None
    }


def _told(label: str) -> str:
    """A label without what all of them say."""
    return words.capitalised(label.removeprefix("test accuracy").removeprefix(", ").strip())
