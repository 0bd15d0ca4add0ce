"""From a file or a name to a typed suite; `--set` changes and `--only` picks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from oscbench.catalog import nearest
from oscbench.suite.errors import SuiteError, explain
from oscbench.suite.schema import Suite

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class LoadedSuite:
    """A suite, where it came from, and its label: the name and, in square brackets, whatever `--set` changed."""

    suite: Suite
    source: str
    label: str


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key named twice and reads 1e-3 as the number it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if isinstance(key, (list, dict)):
                continue  # the base class refuses it with its own words
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key}" is named twice', key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1, which PyYAML reads, takes 1e-3 for text
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def suite_folders() -> list[Path]:
    """Where suites are found by name: the working folder's `suites/`, the checkout's, and those installed with the wheel."""
    package = Path(__file__).resolve().parent.parent
    folders = [Path.cwd() / "suites", package.parent / "suites", package / "_installed" / "suites"]
    unique = {folder.resolve(): folder for folder in folders if folder.is_dir()}
    return list(unique.values())


def suite_names() -> dict[str, Path]:
    """Every suite that can be found by name; the nearest folder wins."""
    found: dict[str, Path] = {}
    for folder in suite_folders():
        for path in sorted(folder.iterdir()):
            if path.suffix in SUFFIXES:
                found.setdefault(path.stem, path)
    return found


def find_suite(name: str) -> Path:
    """The file behind a path or a name.

    Raises:
        SuiteError: there is none; the text gives the nearest name.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = suite_names()
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        if path.stem in known and path.parent.name == "suites" and not path.is_absolute():
            return known[path.stem]  # `suites/smoke.yaml` from a folder that has none: the installed one
        raise SuiteError(f"{name}: no such file; {nearest(path.stem, known)}")
    if name in known:
        return known[name]
    raise SuiteError(f'no suite "{name}"; {nearest(name, known)}')


def load_suite(name: str, overrides: list[str] | None = None) -> LoadedSuite:
    """Read, change and check a suite.

    Args:
        name: a path, or a suite's name.
        overrides: `key.path=value`, the value as YAML.

    Raises:
        SuiteError: no such suite, broken YAML, or a mistake in it; one line that names the place.
    """
    path = find_suite(name)
    source = str(path)
    raw = read_yaml(path)
    raw.setdefault("name", path.stem)
    plain = _check(raw, source) if not overrides else None
    if plain is not None:
        return LoadedSuite(plain, source, plain.name)
    original = _check(raw, source)
    changed = []
    for override in overrides or []:
        key, value = _apply(raw, override, source)
        changed.append(f"{key}={value}")
    suite = _check(raw, source)
    label = suite.name if suite == original else f"{suite.name}[{','.join(sorted(changed))}]"
    return LoadedSuite(suite, source, label)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file; tags that would run code are refused and never run.

    Raises:
        SuiteError: it cannot be read, is broken, empty or no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SuiteError(f"{path}: {line}not readable as YAML: {problem}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if content is None:
        raise SuiteError(f"{path}: is empty; a suite is a mapping with task, train and mechanisms")
    if not isinstance(content, dict):
        raise SuiteError(
            f"{path}: holds a {type(content).__name__}; a suite is a mapping with task, train and mechanisms"
        )
    return content


def _check(raw: dict[str, Any], source: str) -> Suite:
    try:
        return Suite.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(f"{source}: {explain(error, Suite)}") from error


def _apply(raw: dict[str, Any], override: str, source: str) -> tuple[str, str]:
    """Put one `key.path=value` into the raw mapping."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SuiteError(f'--set {override}: write it as key.path=value, for example "train.epochs=3"')
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise SuiteError(f"--set {override}: the value is not readable as YAML") from error
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
    return key, text


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
    if not part.isdigit() or int(part) >= len(current):
        raise SuiteError(f'{where}: "{part}" is no place in a list of {len(current)}')
    index = int(part)
    if isinstance(current[index], str):
        current[index] = {"name": current[index]}
    return index
