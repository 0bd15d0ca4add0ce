"""The tables of `oscbench data`: what is known, what is here, whether it is whole, and which suites name it."""

from __future__ import annotations

from pathlib import Path

from oscbench import catalog
from oscbench.data.known import KNOWN
from oscbench.data.store import Entry, add, data_root, entries, gone, known_data, verify
from oscbench.errors import UserError
from oscbench.suite import Suite, SuiteError, load_suite, suite_names


def table(only: str | None = None) -> list[dict[str, str]]:
    """Every known data set or one, what of it is stored, and the suites whose task settings name it.

    Raises:
        UserError: an unknown name.
    """
    stored, wanted = entries(), _suites_by_data()
    rows = []
    for name in [known_data(only).name] if only else sorted(KNOWN):
        known, entry = KNOWN[name], stored.get(name)
        rows.append(
            {
                "data": name,
                "here": _here(name, entry),
                "sha256": entry.sha256[:16] if entry else "",
                "added": f"{entry.added_utc:%Y-%m-%d}" if entry else "",
                "suites": ", ".join(wanted.get(name, [])),
                "what": known.what,
            }
        )
    return rows


def _here(name: str, entry: Entry | None) -> str:
    """How much of a data set is stored; `gone` where its record alone is left."""
    if entry is None:
        return "no"
    return "gone" if gone(name, entry) else f"{entry.num_bytes:,} bytes"


def lost(only: str | None = None) -> list[str]:
    """A line, remedy included, on every data set or one whose record alone is left."""
    lines = (gone(name, entry) for name, entry in sorted(entries().items()) if only in (None, name))
    return [line for line in lines if line]


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
    missing = {one for one, entry in entries().items() if gone(one, entry)}
    rows = [
        {"data": one, "content": "gone" if one in missing else "damaged" if wrong else "as added"}
        for one, wrong in found.items()
    ]
    return rows, [wrong for wrong in found.values() if wrong]


def nothing() -> str:
    """What is said of an empty store."""
    return f"nothing is stored in {data_root()}; add a data set with: oscbench data add NAME --from PATH"


def added(name: str | None, source: Path | None, *, link: bool) -> str:
    """Add a data set; one line on what was filed.

    Raises:
        UserError: no name or no source, or one that cannot be filed.
    """
    if name is None or source is None:
        raise UserError(
            f"data add: give a name and a source: oscbench data add NAME --from PATH; names: {', '.join(sorted(KNOWN))}"
        )
    entry = add(name, source, link=link)
    count = "1 file" if entry.num_files == 1 else f"{entry.num_files:,} files"
    return (
        f"{name}: {count}, {entry.num_bytes:,} bytes, SHA-256 {entry.sha256}, in {data_root() / entry.path}"
    )


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
    # A task has data that it takes by itself too, where a suite says nothing.
    values = {**catalog.annotated("tasks", suite.task.name), **suite.task.settings()}.values()
    return sorted({value for value in values if isinstance(value, str) and value in KNOWN})
