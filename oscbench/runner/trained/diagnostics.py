"""From kept weights to what each mechanism did with one test example, for a report, which loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from oscbench.errors import UserError
from oscbench.models.diagnosed import diagnosed
from oscbench.ops.dispatch import UnsupportedError
from oscbench.records import Record, ResultsError, Store, suite_name
from oscbench.records.ledger import is_trial
from oscbench.runner.trained.evaluation import task_for
from oscbench.runner.training.weights import load_trained


def diagnose(results: Path, suites: Iterable[str], tell: Callable[[str], None]) -> int:
    """Work out what is not there yet, for the smallest seed with weights of every entry; how many were written.

    Args:
        results: folder of the records.
        suites: names or labels; all when empty.
        tell: is told of what could not be done, a line each; the report then goes without.
    """
    store, wanted = Store(results), set(suites)
    first: dict[tuple[str, str, str, str], Record] = {}
    for record in store.read_all()[0]:
        asked = not wanted or {record.suite, suite_name(record.suite)} & wanted
        if (
            asked
            and record.status == "ok"
            and not is_trial(record.suite)
            and store.weights_path(record).is_file()
        ):
            key = (record.suite, record.task, record.mechanism, record.variant)
            if key not in first or record.seed < first[key].seed:
                first[key] = record
    written = 0
    for record in first.values():
        if store.diagnostics_path(record).is_file():
            continue
        try:
            model = load_trained(record, results)
            inputs = next(task_for(record).batches("test", 1)).inputs
            store.write_diagnostics(record, diagnosed(model, inputs).packed())
            written += 1
        except ResultsError as error:  # every other file would be refused as well
            tell(f"{error}; pictures of the mechanism at work are left out")
            break
        except (UserError, UnsupportedError) as error:
            tell(f"{record.mechanism} seed {record.seed}: no picture of it at work: {error}")
    return written
