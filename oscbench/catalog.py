"""The folder is the registry: a mechanism, task, measure or backbone is there because its file is.

File name = YAML name = CLI name = record name. Names are read from the folder without importing anything; the file's
last line names its class. Installed packages add theirs through the entry points `oscbench.<kind>`, and
`package.module:Class` works wherever a name does. This module imports no room of ours.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oscbench.errors import UserError

_FOLDERS = {
    "mechanisms": "mechanisms",
    "tasks": "tasks",
    "measures": "measures",
    "backbones": "models/backbones",
}
KINDS = tuple(_FOLDERS)


class UnknownNameError(UserError, ValueError):
    """A name that nothing answers to; the text gives the nearest match and what there is."""


def nearest(name: str, known: Iterable[str]) -> str:
    """` ; did you mean "x"?` for the nearest known name, or the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"there are: {', '.join(known)}" if known else "there are none"


def names(kind: str) -> list[str]:
    """Names of a kind: the files of its folder, and what installed packages add."""
    own = [path.stem for path in _folder(kind).glob("*.py") if not path.stem.startswith("_")]
    return sorted({*own, *_entry_points(kind)})


def load(kind: str, name: str) -> Any:
    """The class behind a name.

    Raises:
        UnknownNameError: nothing answers to the name, or what it names cannot be imported.
    """
    if ":" in name:
        return _load_path(kind, name)
    if (_folder(kind) / f"{name}.py").is_file() and not name.startswith("_"):
        module_name = f"oscbench.{_FOLDERS[kind].replace('/', '.')}.{name}"
        return _last_name(importlib.import_module(module_name), _folder(kind) / f"{name}.py")
    points = _entry_points(kind)
    if name in points:
        return points[name].load()
    raise UnknownNameError(f'got "{name}"; {nearest(name, names(kind))}')


def docstring(kind: str, name: str) -> str:
    """Module docstring of a name, read without importing where the file is ours."""
    path = _folder(kind) / f"{name}.py"
    if path.is_file():
        return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return importlib.import_module(load(kind, name).__module__).__doc__ or ""


def section(text: str, heading: str) -> str:
    """One section of a module docstring: the indented lines under `Heading:`, joined into one line."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside and line.strip() and not line.startswith((" ", "\t")):
            break
        if inside and line.strip():
            lines.append(line.strip())
        if line.strip() == f"{heading}:":
            inside = True
    return " ".join(lines)


def _folder(kind: str) -> Path:
    return Path(__file__).parent / _FOLDERS[kind]


def _entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=f"oscbench.{kind}")}


def _last_name(module: Any, path: Path) -> Any:
    """The class named by the file's last statement, `mechanism = KoPE`."""
    last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
    if not (isinstance(last, ast.Assign) and isinstance(last.targets[0], ast.Name)):
        raise UnknownNameError(f"{path}: the last line must name the class, as in `mechanism = MyMechanism`")
    return getattr(module, last.targets[0].id)


def _load_path(kind: str, name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(f'got "{name}", which cannot be imported as one of the {kind}: {error}') from error
