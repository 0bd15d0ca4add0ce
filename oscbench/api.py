"""The Python surface: what the command line does, as functions that take and give ordinary things."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from oscbench.analysis.comparison import Comparison
    from oscbench.models.backbones import Backbone
    from oscbench.records import Record
    from oscbench.tasks import Split


def run(
    suite: str | Path,
    *,
    results: str | Path = "results",
    only: str | Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    device: str | None = None,
    fresh: bool = False,
    keep: str | Sequence[str] = (),
    log: str | Sequence[str] = (),
    allow_imports: bool = False,
) -> pd.DataFrame:
    """Run every cell of a suite that has no record yet, and read all of its records with these overrides.

    Args:
        suite: A suite file, or a suite's name.
        results: Folder of the records.
        only: Choices of cells, as in `["mechanism=kope,softmax", "seed=0"]`.
        overrides: Path in the suite -> value, as in `{"train.epochs": 3}`.
        jobs: Cells at once; by default one a core.
        device: `auto`, `cpu` or `cuda`; by default what the suite says.
        fresh: Put old records aside and compute again.
        keep: What is kept beside the records: `weights`, for `load_model`.
        log: Who else is told of every record: `tensorboard`, `wandb`, `trackio`, `mlflow`, or what a package adds.
        allow_imports: Let the suite name classes as `package.module:Class`, which runs their code, from here on in this process.

    Returns:
        One row a cell, as `load` gives it; `status` says which cells failed and `reason` why.

    Raises:
        UserError: A mistake in the suite or its options, or a folder that cannot be written.
    """
    import yaml

    from oscbench import catalog
    from oscbench.errors import UserError
    from oscbench.runner import session
    from oscbench.suite import load_points

    if jobs is not None and jobs < 1:
        raise UserError(f"jobs: got {jobs}; a whole number from 1 on")
    given = [
        f"{key}={yaml.safe_dump(_plain(value), default_flow_style=True).strip()}"
        for key, value in (overrides or {}).items()
    ]
    given = [text.removesuffix("\n...") for text in given]
    if allow_imports:
        catalog.allow_imports()
    session.run_suite(
        str(suite),
        results=Path(results),
        only=list(_several(only)),
        overrides=given,
        jobs=jobs,
        device=device,
        fresh=fresh,
        keep=_several(keep),
        log=_several(log),
    )
    labels = [point.label for point in load_points(str(suite), given)]
    table = load(results, labels)
    return table[table["suite"].isin(labels)].reset_index(drop=True)


def load(results: str | Path = "results", suites: str | Sequence[str] = ()) -> pd.DataFrame:
    """The records of a folder as one tidy table: one row a cell, one column a measure.

    Args:
        results: Folder of the records.
        suites: Name or label of a suite, or several; all when empty.

    Raises:
        UserError: No records, or an unknown suite.
    """
    from oscbench.analysis import frame

    return frame.tidy(frame.load(Path(results), _several(suites)).records)


def compare(
    results: str | Path = "results", pairs: str | Sequence[str] = (), suites: str | Sequence[str] = ()
) -> pd.DataFrame:
    """Paired differences as a table: one row a comparison, of a suite that varies one row over all its values.

    Args:
        results: Folder of the records.
        pairs: As `report --compare` takes them, `"kope,softmax"`, the last one the baseline; by default what each suite declared, or else
            each entry against the one that it was matched to.
        suites: Name or label of a suite, or several; all when empty.

    Returns:
        Columns `suite`, `task`, `treatment`, `baseline`, `unit` and `direction` of the metric, `n` paired seeds, `difference` with
        `low` and `high` (95 % t interval), `adjusted_low` and `adjusted_high` (the intervals of a question that hold together,
        Bonferroni), `p` and `p_adjusted` (sign flips; Holm over the question), `verdict`, and `why`: the reason where there is no
        difference, or no verdict.

    Raises:
        UserError: No records, an unknown suite, or an unknown entry.
    """
    import pandas as pd

    from oscbench.analysis import frame
    from oscbench.analysis.study import assemble

    study = assemble(frame.load(Path(results), _several(suites)), _several(pairs))
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
    return pd.DataFrame([{"suite": suite, "task": task, **_row(one)} for suite, task, one in placed])


def _plain(value: Any) -> Any:
    """A value as YAML writes it: numbers and arrays of NumPy, paths, ranges and tuples as what they stand for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def _several(names: str | Sequence[str]) -> Sequence[str]:
    """Names, where one alone may be given; a text is a sequence too, of its letters."""
    return (names,) if isinstance(names, str) else names


def _row(comparison: Comparison) -> dict[str, Any]:
    """A comparison without where it was made; NaN for what could not be compared."""
    paired, adjusted = comparison.paired, comparison.adjusted
    return {
        "treatment": str(comparison.pair.treatment),
        "baseline": str(comparison.pair.baseline),
        "unit": comparison.unit,
        "direction": comparison.direction,
        "n": len(comparison.seeds),
        "difference": paired.mean if paired else math.nan,
        "low": paired.interval.low if paired else math.nan,
        "high": paired.interval.high if paired else math.nan,
        "adjusted_low": adjusted.low if adjusted else math.nan,
        "adjusted_high": adjusted.high if adjusted else math.nan,
        "p": paired.p if paired else math.nan,
        "p_adjusted": comparison.p_holm,
        "verdict": comparison.verdict,
        "why": comparison.reason or comparison.withheld or comparison.only_estimated,
    }


def dynamics(results: str | Path = "results", suites: str | Sequence[str] = ()) -> pd.DataFrame:
    """What each layer did while it trained, of suites that list the measure `training_dynamics`, for `plot.dynamics`.

    Args:
        results: Folder of the records.
        suites: Name or label of a suite, or several; all when empty.

    Returns:
        One row a cell, quantity, layer and optimiser step: `suite`, `task`, `entry`, `seed`, `quantity`, `layer` (from 0), `step`, `value`.

    Raises:
        UserError: No records, or an unknown suite.
    """
    from oscbench.analysis import frame
    from oscbench.analysis.dynamics import dynamics as followed

    return followed(frame.load(Path(results), _several(suites)).records)


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
        model: Of the backbone, as under `model` in a suite; `name` is by default the one that the task asks for, and `position` may be an
            entry's, as in `learned+own`.
        hidden: Hidden units of each MLP, which matching moves in a suite; by default the backbone's ratio times the width.
        seed: Of all start values.

    Raises:
        ValueError: An unknown name, or a setting or size that cannot be.
    """
    from oscbench import catalog
    from oscbench.positions import POSITIONS, parted
    from oscbench.runner.training.entries import placed
    from oscbench.runner.training.specs import parts_of
    from oscbench.suite.errors import read_settings

    chosen = dict(model or {})
    name = chosen.pop("name", None) or catalog.load("tasks", task).backbone
    if chosen.get("position") in POSITIONS and parted(chosen["position"])[1]:
        catalog.load("mechanisms", mechanism)
        try:
            settings, own = placed(mechanism, settings or {}, chosen["position"], {"position": "none"})
        except ValueError as error:
            raise ValueError(f"model.position: {error}") from error
        chosen |= {"position": "none", **own}
    given = {"settings": settings, "task_settings": task_settings, "model": chosen}
    kinds = {
        "settings": ("mechanisms", mechanism),
        "task_settings": ("tasks", task),
        "model": ("backbones", name),
    }
    for key, (kind, one) in kinds.items():
        read_settings(catalog.load(kind, one).Config, given[key] or {}, (key,))
    parts = parts_of({"task": {"name": task, **(task_settings or {})}, "model": {"name": name, **chosen}})
    inputs = parts.task_class.describe(parts.task_config)
    return parts.build({"name": mechanism, **(settings or {})}, hidden, seed, inputs)


def load_model(record: str | Path | Record, results: str | Path = "results") -> Backbone:
    """The model of a record as training left it, in evaluation mode.

    Args:
        record: Of a cell that ran with `--keep weights`: itself, its file or that of its weights, or its identity as `load` gives it
            (the first letters do).
        results: Folder of the records, where `record` is no file.

    Raises:
        UserError: No such record, or no weights that fit it.
    """
    from oscbench.runner.training.weights import load_trained

    return load_trained(*_found(record, results))


def evaluate(
    record: str | Path | Record,
    task: str | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    split: Split = "test",
    length: int = 1,
    size: int | None = None,
    device: str = "auto",
    results: str | Path = "results",
) -> pd.DataFrame:
    """Score a trained model: on its own task, on another whose inputs it can read, on longer inputs or on larger images.

    Args:
        record: As `load_model` takes it.
        task: Name in the catalog; by default the record's own.
        settings: Of the task; over the record's, where it is the record's own task.
        split: `test` or `validation`.
        length: Of the inputs, times that of training.
        size: Of the images, a side in pixels; by default the task's own.
        device: `auto`, `cpu` or `cuda`.
        results: As `load_model` takes it.

    Returns:
        One row a score: `measure`, `value`, `unit`, `n` and `label`; the task's metric first, then its subsets.

    Raises:
        UserError: No such record or weights, an unknown task or setting, inputs that the model cannot read.
    """
    import pandas as pd
    import torch

    from oscbench.runner.plan import usable_device
    from oscbench.runner.trained import evaluated, task_for
    from oscbench.runner.training.weights import load_trained

    known, folder = _found(record, results)
    model, chosen = load_trained(known, folder), task_for(known, task, settings)
    on = torch.device(usable_device(str(device), where="device"))
    found = evaluated(model, chosen, split=split, length=length, size=size, device=on)
    return pd.DataFrame(
        [
            {"measure": name, "value": one.value, "unit": one.unit, "n": one.n, "label": one.label}
            for name, one in found.items()
        ]
    )


def generate(
    record: str | Path | Record,
    prompt: str = "",
    *,
    num_tokens: int | None = None,
    temperature: float = 0.8,
    seed: int = 0,
    device: str = "auto",
    results: str | Path = "results",
) -> str:
    """A text that a trained language model goes on with, the prompt before it.

    Args:
        record: As `load_model` takes it, of a task over text.
        prompt: What to begin with; where it is empty, how texts of the task begin.
        num_tokens: How many bytes or words to add; by default 200, or as many as the model's positions reach.
        temperature: Of the draws; 0 takes the likeliest.
        seed: Of the draws.
        device: `auto`, `cpu` or `cuda`.
        results: As `load_model` takes it.

    Raises:
        UserError: No such record or weights, no text, or a length that the model's positions do not reach.
    """
    from oscbench.runner.plan import usable_device
    from oscbench.runner.trained import continued, task_for
    from oscbench.runner.training.weights import load_trained

    known, folder = _found(record, results)
    model = load_trained(known, folder).to(usable_device(str(device), where="device"))
    task = task_for(known)
    return continued(model, task, prompt, num_tokens, temperature=temperature, seed=seed)


def _found(record: str | Path | Record, results: str | Path) -> tuple[Record, Path]:
    """The record, and the folder that it lies in; warns of what is no longer as it was when its model was trained."""
    from oscbench.errors import UserError
    from oscbench.records import Record
    from oscbench.records.naming import record_named
    from oscbench.runner import changes

    if not isinstance(record, Record | str | Path):
        raise UserError(f"record: got {record!r}; give a record, its file or its identity")
    known, folder = (
        (record, Path(results)) if isinstance(record, Record) else record_named(record, Path(results))
    )
    for line in changes.of_one(known):
        warnings.warn(line, stacklevel=3)
    return known, folder
