"""The tables of `oscbench data`: what is known, what is here, whether it is whole, and which suites name it."""

from __future__ import annotations

from pathlib import Path

from oscbench.data.known import KNOWN
from oscbench.data.store import data_root, entries, verify
from oscbench.suite import Suite, SuiteError, load_suite, suite_names


def table() -> list[dict[str, str]]:
    """Every known data set, what of it is stored, and the suites whose task settings name it."""
    stored, wanted = entries(), _suites_by_data()
    rows = []
    for name, known in sorted(KNOWN.items()):
        entry = stored.get(name)
        rows.append(
            {
                "data": name,
                "here": f"{entry.num_bytes:,} bytes" if entry else "no",
                "sha256": entry.sha256[:16] if entry else "",
                "added": f"{entry.added_utc:%Y-%m-%d}" if entry else "",
                "suites": ", ".join(wanted.get(name, [])),
                "what": known.what,
            }
        )
    return rows


def summary() -> str:
    """Where the store is, and how much of it is prepared tensors, which may be deleted."""
    root = data_root()
    kept = [path for path in (root / "prepared").glob("*/tensors.pt") if path.is_file()]
    size = sum(path.stat().st_size for path in kept)
    return f"store: {root}; prepared: {len(kept)} entries, {size / 1e6:.1f} MB in {root / 'prepared'}, safe to delete"


def verified(name: str | None) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of what was read again, and what is wrong.

    Args:
        name: one data set, or None for all that are stored.

    Raises:
        UserError: an unknown name, or one that is not stored.
    """
    found = {one: verify(one) for one in ([name] if name else sorted(entries()))}
    rows = [{"data": one, "content": "damaged" if wrong else "as added"} for one, wrong in found.items()]
    return rows, [wrong for wrong in found.values() if wrong]


def _suites_by_data() -> dict[str, list[str]]:
    """Names of suites by the data sets that their task settings name."""
    wanted: dict[str, list[str]] = {}
    for suite_name, path in suite_names().items():
        for name in _named_data(path):
            wanted.setdefault(name, []).append(suite_name)
    return wanted


def _named_data(path: Path) -> list[str]:
    try:
        suite = load_suite(str(path)).suite
    except SuiteError:  # `oscbench list suites` says what is wrong with it
        return []
    if not isinstance(suite, Suite):
        return []
    values = suite.task.settings().values()
    return sorted({value for value in values if isinstance(value, str) and value in KNOWN})
