"""The Python surface: what the command line does, as functions that take and give ordinary things."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from oscbench.models.backbones import Backbone


def run(
    suite: str | Path,
    *,
    results: str | Path = "results",
    only: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    device: str | None = None,
    fresh: bool = False,
) -> pd.DataFrame:
    """Run every cell of a suite that has no record yet, and read all of its records.

    Args:
        suite: A suite file, or a suite's name.
        results: Folder of the records.
        only: Choices of cells, as in `["mechanism=kope,softmax", "seed=0"]`.
        overrides: Path in the suite -> value, as in `{"train.epochs": 3}`.
        jobs: Cells at once; by default one a core.
        device: `auto`, `cpu` or `cuda`; by default what the suite says.
        fresh: Put old records aside and compute again.

    Returns:
        One row a cell, as `load` gives it; `status` says which cells failed and `reason` why.

    Raises:
        UserError: A mistake in the suite or its options, or a folder that cannot be written.
    """
    import yaml

    from oscbench.runner import session
    from oscbench.suite import load_points

    given = [
        f"{key}={yaml.safe_dump(value, default_flow_style=True).strip()}"
        for key, value in (overrides or {}).items()
    ]
    given = [text.removesuffix("\n...") for text in given]
    session.run_suite(
        str(suite),
        results=Path(results),
        only=list(only),
        overrides=given,
        jobs=jobs,
        device=device,
        fresh=fresh,
    )
    return load(results, [point.label for point in load_points(str(suite), given)])


def load(results: str | Path = "results", suites: Sequence[str] = ()) -> pd.DataFrame:
    """The records of a folder as one tidy table: one row a cell, one column a measure.

    Args:
        results: Folder of the records.
        suites: Names or labels of suites; all when empty.

    Raises:
        UserError: No records, or an unknown suite.
    """
    from oscbench.analysis import frame

    return frame.tidy(frame.load(Path(results), suites).records)


def compare(
    results: str | Path = "results", pairs: Sequence[str] = (), suites: Sequence[str] = ()
) -> pd.DataFrame:
    """Paired differences as a table: one row a comparison, of a suite that varies one row over all its values.

    Args:
        results: Folder of the records.
        pairs: As `report --compare` takes them, `"kope,softmax"`, the last one the baseline; by default what each suite declared, or else
            each entry against the one that it was matched to.
        suites: Names or labels of suites; all when empty.

    Returns:
        Columns `suite`, `task`, `treatment`, `baseline`, `unit` and `direction` of the metric, `n` paired seeds, `difference` with
        `low` and `high` (95 % t interval), `p` and `p_adjusted` (sign flips; Holm over the question), `verdict`, and `why`: the reason
        where there is no difference, or no verdict.

    Raises:
        UserError: No records, an unknown suite, or an unknown entry.
    """
    import pandas as pd

    from oscbench.analysis import frame
    from oscbench.analysis.study import assemble

    study = assemble(frame.load(Path(results), suites), pairs)
    placed = [
        (sweep.suite, sweep.points[0][1].task_label, comparison)
        for sweep in study.sweeps
        for comparison in sweep.overall
    ]
    placed += [
        (experiment.suite, experiment.task_label, comparison)
        for experiment in study.experiments
        if experiment.slug not in study.points
        for comparison in experiment.comparisons
    ]
    return pd.DataFrame(
        [
            {
                "suite": suite,
                "task": task,
                "treatment": str(comparison.pair.treatment),
                "baseline": str(comparison.pair.baseline),
                "unit": comparison.unit,
                "direction": comparison.direction,
                "n": len(comparison.seeds),
                "difference": comparison.paired.mean if comparison.paired else math.nan,
                "low": comparison.paired.interval.low if comparison.paired else math.nan,
                "high": comparison.paired.interval.high if comparison.paired else math.nan,
                "p": comparison.paired.p if comparison.paired else math.nan,
                "p_adjusted": comparison.p_holm,
                "verdict": comparison.verdict,
                "why": comparison.reason or comparison.withheld or comparison.estimates,
            }
            for suite, task, comparison in placed
        ]
    )


def build_model(
    mechanism: str,
    task: str,
    *,
    settings: Mapping[str, Any] | None = None,
    task_settings: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    hidden: int | None = None,
    seed: int = 0,
) -> Backbone:
    """An untrained model of a mechanism for a task, started as a cell of that seed is.

    Args:
        mechanism: Name in the catalog, or `package.module:Class`.
        task: Name in the catalog; its data are not loaded.
        settings: Of the mechanism.
        task_settings: Of the task.
        model: Of the backbone, as under `model` in a suite; `name` is by default the one that the task asks for.
        hidden: Hidden units of each MLP, which matching moves in a suite; by default the backbone's ratio times the width.
        seed: Of all start values.

    Raises:
        ValueError: An unknown name, or a setting or size that cannot be.
    """
    from oscbench import catalog
    from oscbench.runner.training.specs import parts_of

    chosen = dict(model or {})
    name = chosen.pop("name", None) or catalog.load("tasks", task).backbone
    parts = parts_of({"task": {"name": task, **(task_settings or {})}, "model": {"name": name, **chosen}})
    inputs = parts.task_class.describe(parts.task_config)
    return parts.build({"name": mechanism, **(settings or {})}, hidden, seed, inputs)
