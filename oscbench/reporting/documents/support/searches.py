"""What was searched for before a tuned suite ran, as a table."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.search import Search, key_of, searches, values_text
from oscbench.reporting.documents import table


def search_of(experiment: Experiment, loaded: Loaded) -> str:
    """Trials and choices of every entry, with what they say; empty where nothing was searched for, or no ledger lies beside the records."""
    found = searches((experiment,), loaded, loaded.folder) if loaded.folder else ()
    if not found or found[0].ledger is None:
        return ""
    tuned, ledger = found[0], found[0].ledger
    known = {standing.entry for standing in experiment.standings if standing.finished}
    reported = [one for one in tuned.searches if key_of(one.entry) in known]
    rows = [
        (
            one.name,
            values_text(one.entry.chosen),
            tuned.score(one.entry.score),
            str(_count(one)),
            str(_beyond(one)),
        )
        for one in reported
    ]
    unfinished = [one.name for one in tuned.searches if one not in reported]
    headings = (
        "Mechanism",
        "Chosen",
        words.capitalised(tuned.metric_label),
        "Trials",
        "Of them beyond a range",
    )
    seeds = words.ranges(list(ledger.scoring_seeds))
    several = "s" * (len(ledger.scoring_seeds) > 1)
    said = (
        f"Preceding search: {ledger.trials} trials for each, and more where a choice lay at the end of its range; each was scored on\n"
        f"validation at seed{several} {seeds}, not reported{_shorter(experiment)}.\n"
        "The best of several noisy scores is optimistic: compare the results above, not these."
    )
    if unfinished:
        said += f"\nBegun, with no cell to report yet: {', '.join(unfinished)}."
    return f"\n{said}\n\n{table(headings, rows, numbers=3)}\n"


def _shorter(experiment: Experiment) -> str:
    """How long a trial was, where what is reported was trained longer."""
    spec = next(
        (cell.spec for one in experiment.standings for cell in one.finished if cell.spec.get("tune")), {}
    )
    trial, whole = spec.get("tune", {}).get("steps"), spec.get("train", {}).get("steps")
    if not (trial and whole) or trial == whole:
        return ""
    return f", in trials of {trial} steps where what is reported took {whole}"


def _count(one: Search) -> int:
    """Different trials."""
    return sum(not row.repeats for row in one.entry.trials)


def _beyond(one: Search) -> int:
    return sum(row.extension > 0 and not row.repeats for row in one.entry.trials)
