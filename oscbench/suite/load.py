"""From a file or a name to a typed suite; `--set` changes and `--only` picks."""

from __future__ import annotations

import itertools
import json
import math
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from oscbench.errors import allowed, nearest
from oscbench.suite.bounds import MAX_CELLS, MAX_POINTS, NAME, PATTERNS
from oscbench.suite.errors import SuiteError, explain
from oscbench.suite.reading import plain_yaml, printable, read_yaml, unreadable, unshared
from oscbench.suite.schema import Suite
from oscbench.suite.timing import TimingSuite

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class LoadedSuite:
    """A suite, where it came from, and its label: the name and, in brackets, whatever `--set` changed."""

    suite: Suite | TimingSuite
    source: str
    label: str


def suite_folders() -> list[Path]:
    """Where suites are found by name: the working folder's `suites/`, the checkout's, the wheel's."""
    package = Path(__file__).resolve().parent.parent
    folders = [Path.cwd() / "suites", package.parent / "suites", package / "_installed" / "suites"]
    unique = {folder.resolve(): folder for folder in folders if folder.is_dir()}
    return list(unique.values())


def suite_names() -> dict[str, Path]:
    """Every suite that can be found by name; the nearest folder wins."""
    found: dict[str, Path] = {}
    for folder in suite_folders():
        # A folder in it is a group of suites, `anchors` for one; what stands above comes first.
        for path in sorted(
            [*folder.iterdir(), *folder.glob("*/*")], key=lambda path: (len(path.parts), path)
        ):
            if path.suffix in SUFFIXES:
                found.setdefault(path.stem, path)
    return found


def find_suite(name: str) -> Path:
    """The file behind a path or a name.

    Raises:
        SuiteError: there is none; the text gives the nearest name.
    """
    path = Path(name)
    try:
        status = path.stat()
    except (OSError, ValueError):  # not there, longer than a name may be, or with a zero in it
        status = None
    if status is not None and stat.S_ISREG(status.st_mode):
        return path
    known = suite_names()
    is_folder = name != "" and status is not None and stat.S_ISDIR(status.st_mode)
    if status is not None and (path.suffix in SUFFIXES or (is_folder and name not in known)):
        what = "a folder" if is_folder else "no regular file"
        raise SuiteError(f"{printable(path)}: is {what}; a suite is a YAML file")
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        if path.stem in known and path.parent.name == "suites" and not path.is_absolute():
            return known[path.stem]  # `suites/smoke.yaml` from a folder that has none: the installed one
        there = path.parent.iterdir() if path.parent.is_dir() else ()
        beside = {one.name for one in there if one.suffix in SUFFIXES}
        near = nearest(path.name, beside) if beside else nearest(path.stem, known)
        raise SuiteError(f"{_short(printable(path))}: no such file; {near}")
    if name in known:
        return known[name]
    raise SuiteError(f'no suite "{_short(name)}"; {nearest(name, known)}')


def _read(path: Path) -> dict[str, Any]:
    """A suite's mapping, with its file's name where it has none of its own."""
    raw = read_yaml(path)
    if "name" not in raw and not re.match(NAME, path.stem):
        raise SuiteError(
            f"{printable(path)}: name: missing, and the file's own is none for records; {PATTERNS[NAME]}"
        )
    return {"name": path.stem} | raw


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def load_suite(name: str, overrides: list[str] | None = None) -> LoadedSuite:
    """Read, change and check a suite.

    Args:
        name: a path, or a suite's name.
        overrides: `key.path=value`, the value as YAML.

    Raises:
        SuiteError: no such suite, broken YAML, or a mistake in it; one line that names the place.
    """
    path = find_suite(name)
    source = printable(path)
    raw = _read(path)
    original = _check(raw, source)
    suite, changed = _overridden(raw, overrides or [], source)
    if suite == original:
        return LoadedSuite(suite, source, suite.name)
    telling = {
        key: text for key, (text, _) in changed.items() if not _says_nothing(raw, changed, key, suite, source)
    }
    return LoadedSuite(
        suite, source, _label(suite, telling or {key: text for key, (text, _) in changed.items()})
    )


def load_points(name: str, overrides: list[str] | None = None) -> list[LoadedSuite]:
    """Read, change and check a suite, and take it apart into the points that it varies over.

    A point is the suite with its values put in as `--set` puts them, and its label always holds them:
    `data_efficiency[task.fraction=0.05]`. `--set` on a path that varies leaves that one value of it.

    Args:
        name: a path, or a suite's name.
        overrides: `key.path=value`, the value as YAML; `vary={...}` replaces what is varied.

    Returns:
        The points in the order of the file, the last path fastest; the suite itself where it varies over nothing.

    Raises:
        SuiteError: as `load_suite`, a path that leads nowhere, or a value that is not allowed there.
    """
    given = overrides or []
    for override in given:
        if override.startswith("vary."):
            raise SuiteError(
                f"--set {override}: write all that varies, as in vary={{task.fraction: [0.1, 1.0]}}"
            )
    path = find_suite(name)
    source = printable(path)
    raw = _read(path)
    _check(raw, source)
    whole, changed = _overridden(raw, given, source)
    if isinstance(whole, TimingSuite) or not (whole.vary or "vary" in changed):
        return [load_suite(name, given)]
    raw.pop("vary", None)
    set_by_hand = [override for key, (_, override) in changed.items() if key != "vary"]
    axes = {key: values for key, values in whole.vary.items() if key not in changed}
    for key in axes:
        if below := [place for place in changed if place.startswith(f"{key}.")]:
            raise SuiteError(f"{source}: --set {below[0]}: {key} varies as a whole; write it into its values")
    points = math.prod(map(len, axes.values()))
    shown = " × ".join(str(len(values)) for values in axes.values())
    if points > MAX_POINTS:
        raise SuiteError(f"{source}: vary: {shown} points; at most {MAX_POINTS} are allowed")
    if points * _num_cells(whole) > MAX_CELLS:
        raise SuiteError(
            f"{source}: vary: {shown} points of {_num_cells(whole):,} cells; at most {MAX_CELLS:,} cells are allowed"
        )
    return [
        _point(raw, source, set_by_hand, dict(zip(axes, values, strict=True)), whole.vary)
        for values in itertools.product(*axes.values())
    ]


def _num_cells(suite: Suite) -> int:
    """How many cells a suite has at one point, if every entry runs all seeds."""
    return len(suite.seeds) * sum(math.prod(map(len, entry.grid.values())) for entry in suite.mechanisms)


def _point(
    raw: dict[str, Any], source: str, set_by_hand: list[str], chosen: dict[str, Any], vary: Iterable[str]
) -> LoadedSuite:
    """One point; `task` is put in before `task.fraction`, which lies below it."""
    placed = [f"{key}={json.dumps(chosen[key], default=str)}" for key in sorted(chosen)]
    try:
        suite, changed = _overridden(raw, [*set_by_hand, *placed], source)
    except SuiteError as error:
        told = str(error)
        for start in (*(f"--set {_short(one, 60)}: " for one in placed), f"{source}: "):
            told = told.removeprefix(start)
        at = ", ".join(_short(one, 60) for one in placed)
        raise SuiteError(f"{source}: vary: at {at}: {told}") from error
    shown = {
        key: text
        for key, (text, _) in changed.items()
        if key in vary or not _says_nothing(raw, changed, key, suite, source)
    }
    return LoadedSuite(suite, source, _label(suite, shown))


def _label(suite: Suite | TimingSuite, shown: dict[str, str]) -> str:
    changes = ",".join(f"{key}={text}" for key, text in sorted(shown.items()))
    return f"{suite.name}[{changes}]" if changes else suite.name


def _overridden(
    raw: dict[str, Any], overrides: Iterable[str], source: str
) -> tuple[Suite | TimingSuite, dict[str, tuple[str, str]]]:
    """The suite with overrides applied in order; by key, the value as labels show it and the override."""
    changed: dict[str, tuple[str, str]] = {}
    mine = unshared(raw, source)
    for override in overrides:
        key, value = _apply(mine, override, source)
        changed.pop(key, None)
        changed[key] = (_label_text(value), override)
    try:
        return _check(mine, source), changed
    except SuiteError as error:  # the file by itself was checked before
        text = str(error).removeprefix(f"{source}: ")
        at = text.partition(":")[0]
        near = [told for key, (_, told) in changed.items() if f"{at}.".startswith(f"{key}.")]
        near = near or [told for key, (_, told) in changed.items() if key.startswith(f"{at}.")]
        told = near[-1:] or [told for _, told in changed.values()]
        if not told:
            raise
        raise SuiteError(f"--set {_short(' '.join(told), 60)}: {source}: {text}") from error


def _says_nothing(
    raw: dict[str, Any],
    changed: dict[str, tuple[str, str]],
    key: str,
    suite: Suite | TimingSuite,
    source: str,
) -> bool:
    """Whether the suite is the same without this override: it then has no place in the label."""
    others = [override for name, (_, override) in changed.items() if name != key]
    try:
        return _overridden(raw, others, source)[0] == suite
    except SuiteError:
        return False


def _label_text(value: Any) -> str:
    """A value in a label, written one way however it was typed: 1e-3 and 0.001 are the same."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _check(raw: dict[str, Any], source: str) -> Suite | TimingSuite:
    # A suite trains unless it says that it is of another kind.
    kind = raw.get("kind", "train")
    if kind not in ("train", "timing"):
        raise SuiteError(f"{source}: kind: got {kind!r}; {allowed(str(kind), ('train', 'timing'))}")
    model: type[Suite | TimingSuite] = TimingSuite if kind == "timing" else Suite
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(f"{source}: {explain(error, model)}") from error


def _apply(raw: dict[str, Any], override: str, source: str) -> tuple[str, Any]:
    """Put one `key.path=value` into the raw mapping."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SuiteError(f'--set {override}: write it as key.path=value, for example "train.epochs=3"')
    try:
        value = unshared({key: plain_yaml(text)}, f"--set {override}")[key]
    except SuiteError:
        raise
    except Exception as error:
        raise SuiteError(
            f"--set {override}: the value is not readable as YAML: {unreadable(error)}"
        ) from error
    if "[" in key:  # messages write places so
        dotted = key.replace("[", ".").replace("]", "")
        raise SuiteError(
            f"--set {override}: a place in a list is a number between dots, as in {dotted}={text}"
        )
    *parents, last = key.split(".")
    current: Any = raw
    for part in parents:
        current = _step(current, part, f"--set {override}: {source}")
    if isinstance(current, list):
        current[_index(current, last, f"--set {override}: {source}")] = value
    elif isinstance(current, dict):
        if last == "task" and isinstance(current.get("task"), dict) and isinstance(value, str):
            value = {"name": value}
        current[last] = value
    else:
        raise SuiteError(f'--set {override}: "{".".join(parents)}" in {source} holds no keys')
    return key, value


def _step(current: Any, part: str, where: str) -> Any:
    if isinstance(current, list):
        return current[_index(current, part, where)]
    if isinstance(current, dict):
        entry = current.setdefault(part, {})
        if isinstance(entry, str):  # a bare name, `task: digits`
            entry = current[part] = {"name": entry}
        return entry
    raise SuiteError(f'{where}: nothing lies below "{part}"')


def _index(current: list[Any], part: str, where: str) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) >= len(current):
        raise SuiteError(f'{where}: "{part}" is no place in a list of {len(current)}')
    index = int(part)
    if isinstance(current[index], str):
        current[index] = {"name": current[index]}
    return index
