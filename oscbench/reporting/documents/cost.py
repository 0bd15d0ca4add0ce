"""What mechanisms cost: times of whole models and of operations alone over softmax's, from timing suites."""

from __future__ import annotations

import math

from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.costs.timing import ratio_half_width
from oscbench.analysis.frame import Loaded, value_of
from oscbench.records import Record, suite_name
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents.support.suites import description_of

RANK = 140
_HEAD = """# What do oscillators cost?

Times over softmax's, float32, on an idle machine's processor (none on a GPU yet), each contender in turn with softmax in one run, median
over rounds. Cells that train side by side give no times. ± is half of the ratio's 95 % interval over those rounds, on the wide side (as if
the two times varied independently), and is missing where there were fewer than five. Of operations B is batch, N tokens, D width and H
heads; *reference* is an equation as it is written, *blocked* the same in blocks of tokens, *sparse* skips blocks where nothing locks,
*sdpa* is PyTorch's fused attention and *sdpa[math]* its plain form. An empty cell was not timed. Eight digits name the commit of the code.
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed.
"""
_MEASURES = ("forward_ratio/", "backward_ratio/", "step_ratio/")


def document(loaded: Loaded) -> Document:
    """A table a timing suite and device: contenders down, shapes and passes across."""
    suites: dict[tuple[str, str], list[Record]] = {}
    for record in loaded.records:
        if is_timing(record):
            suites.setdefault((suite_name(record.suite), record.device), []).append(record)
    devices = {device for _, device in suites}
    parts = [_HEAD]
    for (suite, device), records in sorted(suites.items()):
        described = f"{description_of(suite, records[0].suite_description)} {_taken(records)}"
        title = f"{suite} ({device})" if len(devices) > 1 else suite
        parts.append(f"\n## {title}\n\n{described}\n\n{_table(records)}\n")
    return Document("".join(parts))


def _taken(records: list[Record]) -> str:
    """When and at which commit: a mechanism's code may have become faster since."""
    days = sorted({record.finished_utc.date().isoformat() for record in records})
    commits = sorted({(record.commit or "no commit")[:8] for record in records})
    return f"Taken {' and '.join(days)} at {', '.join(commits)}."


def _table(records: list[Record]) -> str:
    contenders = sorted(
        {name.partition("/")[2] for r in records for name in r.measures if name.startswith(_MEASURES)}
    )
    columns = [
        (record, measure)
        for record in sorted(records, key=lambda r: (len(r.variant), r.variant))
        for measure in _MEASURES
        if any(name.startswith(measure) for name in record.measures)
    ]
    headings = [
        "",
        *(
            f"{measure.partition('_')[0]}, {record.variant.split('-float32')[0]}"
            for record, measure in columns
        ),
    ]
    rows = [
        [contender, *(_ratio(record, measure + contender) for record, measure in columns)]
        for contender in contenders
    ]
    return table(headings, rows, numbers=len(columns))


def _ratio(record: Record, measure: str) -> str:
    """`1.22 ± 0.12`; without a width where the rounds tell none, empty where nothing was timed."""
    value = value_of(record, measure)
    if not math.isfinite(value):
        return ""
    half = ratio_half_width(record, measure)
    return f"{value:.2f}" + (f" ± {value * half:.2f}" if 0 < half < math.inf else "")
