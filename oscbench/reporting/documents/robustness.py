"""What is left of trained models' accuracy on worse images than those that they were trained on."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.fairness import position_of
from oscbench.analysis.frame import Loaded, value_of
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.records.schema import Measurement
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents._standings import report_of

_HEAD = """# Who stands worse images?

Models trained on clean scans, tested on changed ones: noise, covered patches, less contrast, images changed on purpose by projected gradient
descent; and how far confidence is from accuracy on clean ones. Every model sees the same changed images, but for the attack, which is each
one's own. Where two have other positions, a difference may be theirs. Means with 95 % t intervals over seeds, each for itself; the tests
stand in [claims](claims.md#a3). Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`;
no number is typed.
"""
_NAMES = ("accuracy_", "calibration_error")


def document(loaded: Loaded) -> Document:
    """A table for each suite that changes images: changes by mechanisms, and differences to the reference, paired by seed."""
    report = report_of(loaded, ("robustness_digits",))
    if report is None:
        return Document(_HEAD + "\nNone of its suites has records here yet.\n")
    return Document(_HEAD + "".join(_of(experiment) for experiment in report.experiments))


def _of(experiment: Experiment) -> str:
    entries = [one for one in experiment.standings if one.finished and _changes(one)]
    changes = {"accuracy": "clean"} | {
        name: measured.label for name, measured in _changes(entries[0]).items()
    }
    headings = ("Images", *(one.label for one in entries))
    scores = [(_told(label), *(_score(one, name) for one in entries)) for name, label in changes.items()]
    scores.insert(0, ("Positions", *(position_of(one.finished[0]) for one in entries)))
    reference = next(one for one in entries if one.entry.mechanism == "softmax")
    others = [one for one in entries if one is not reference]
    gains = [
        (_told(label), *(_gain(one, reference, name) for one in others)) for name, label in changes.items()
    ]
    against = ("Images", *(f"{one.label} {words.MINUS} {reference.label}" for one in others))
    return (
        f"\n## {experiment.title}\n\n{experiment.description.strip()}\n\n{table(headings, scores, numbers=len(entries))}\n\n"
        f"Differences, paired by seed:\n\n{table(against, gains, numbers=len(others))}\n"
    )


def _changes(standing: Standing) -> dict[str, Measurement]:
    return {
        k: m for k, m in standing.finished[0].measures.items() if k.startswith(_NAMES) and m.value is not None
    }


def _told(label: str) -> str:
    """A label without what all of them say."""
    return words.capitalised(label.removeprefix("test accuracy").removeprefix(", ").strip())


def _values(standing: Standing, name: str) -> list[float]:
    return [value_of(record, name) for record in standing.finished]


def _score(standing: Standing, name: str) -> str:
    values, unit = _values(standing, name), standing.finished[0].measures[name].unit
    ends = mean_interval(values)
    return f"{words.quantity(sum(values) / len(values), unit)} {words.half_width(ends.low, ends.high, unit)}"


def _gain(standing: Standing, reference: Standing, name: str) -> str:
    theirs = {record.seed: value_of(record, name) for record in reference.finished}
    gains = [
        value_of(record, name) - theirs[record.seed] for record in standing.finished if record.seed in theirs
    ]
    ends, unit = mean_interval(gains), standing.finished[0].measures[name].unit
    return f"{words.difference(sum(gains) / len(gains), unit)} {words.interval(ends.low, ends.high, unit)}"
