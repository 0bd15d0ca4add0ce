"""The folder is the registry: a mechanism, task, measure, backbone or executor is there because its file is.

File name = YAML name = CLI name = record name. Names are read from the folder without importing anything; the
file's last line names its class. Installed packages add theirs through the entry points `oscbench.<kind>`.
`package.module:Class` works wherever a name does, and so does `package.module`, whose last line names the class, but only
where the person at the keyboard has allowed it: a name in a file from elsewhere must not be enough to run code.
This module imports no room of ours.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from oscbench.errors import UserError, kind_and_line, kind_of, nearest

_FOLDERS = {
    "mechanisms": "mechanisms",
    "tasks": "tasks",
    "measures": "measures",
    "backbones": "models/backbones",
    "sections": "reporting/sections",
    "reporters": "runner/reporters",
    "executors": "runner/executors",
}
KINDS = tuple(_FOLDERS)
_METHODS = {
    "mechanisms": "mix",
    "tasks": "training_batches",
    "measures": "after",
    "backbones": "embed",
    "sections": "blocks",
    "reporters": "told",
    "executors": "submit",
}
"""What tells a class of each kind from any other, without importing the rooms that define them."""
_LABELLED = ("mechanisms", "tasks", "measures")
_METRIC = ("name", "label", "unit", "direction")


ALLOWED = "OSCBENCH_ALLOW_IMPORTS"
"""The environment variable that allows names to import modules; a cell's process inherits it."""


class UnknownNameError(UserError, ValueError):
    """A name that nothing answers to; the text gives the nearest match and what there is."""


def names(kind: str) -> list[str]:
    """Names of a kind: the files of its folder, and what installed packages add."""
    own = [path.stem for path in _folder(kind).glob("*.py") if not path.stem.startswith("_")]
    return sorted({*own, *_entry_points(kind)})


def allow_imports() -> None:
    """Let `package.module:Class` be a name, in this process and in those that it starts."""
    os.environ[ALLOWED] = "1"


def _may_import() -> bool:
    return os.environ.get(ALLOWED, "0") not in ("", "0")


def load(kind: str, name: str) -> Any:
    """The class behind a name.

    Raises:
        UnknownNameError: nothing answers to the name, what it names cannot be imported, or may not be.
    """
    known = names(kind)
    from_elsewhere = name not in known and (":" in name or _is_dotted(name))
    if name not in known and not from_elsewhere:
        raise UnknownNameError(f'got "{name}"; {nearest(name, known)}')
    if from_elsewhere and not _may_import():
        raise UnknownNameError(
            f'got "{name}", which would import a module and run its code; allow it with {ALLOWED}=1, '
            "or with --allow-imports or allow_imports where there is one"
        )
    path = _folder(kind) / f"{name}.py"
    if clash := _clash(kind, name, path.is_file()):
        raise UnknownNameError(f'got "{name}", {clash}')
    try:
        if from_elsewhere:
            found = _imported(kind, name)
        elif path.is_file():
            found = _last_name(kind, importlib.import_module(module(kind, name)), path)
        else:
            found = _entry_points(kind)[name][0].load()
    except UnknownNameError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever stands in somebody's file, `sys.exit()` included
        raise _not_imported(kind, name, error) from error
    if not (isinstance(found, type) and hasattr(found, _METHODS[kind])):
        raise UnknownNameError(
            f'got "{name}", which names {kind_of(found)} and not a class with `{_METHODS[kind]}`'
        )
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise UnknownNameError(
            f'got "{name}", whose class {found.__name__} lacks what it must have: {", ".join(missing)}'
        )
    if wrong := _declared_wrongly(kind, found):
        raise UnknownNameError(f'got "{name}", whose class {found.__name__} {wrong}')
    return found


def _declared_wrongly(kind: str, found: type) -> str:
    """What a class says of itself that no record could hold: found before anything runs, since a failure's record needs it too."""
    if kind not in _LABELLED:
        return ""
    label, version = getattr(found, "label", None), getattr(found, "version", None)
    if not (isinstance(label, str) and label.strip()):
        return f"has label = {label!r}; needs a text that people read"
    if isinstance(version, bool) or not isinstance(version, int):
        return f"has version = {version!r}; needs a whole number"
    metric = getattr(found, "metric", None)
    if kind == "tasks" and not all(isinstance(getattr(metric, of, None), str) for of in _METRIC):
        return f"has metric = {metric!r}; needs a Metric of texts: {', '.join(_METRIC)}"
    if kind == "mechanisms" and not hasattr(traits := getattr(found, "traits", None), "needs_position"):
        return f"has traits = {traits!r}; needs a Traits"
    return ""


def file_of(kind: str, name: str) -> str:
    """Where a name's class lies, as messages tell it: the file from the package on, or the module of a name from elsewhere."""
    path = _folder(kind) / f"{name}.py"
    return f"oscbench/{_FOLDERS[kind]}/{path.name}" if path.is_file() else module(kind, name)


def source_hash(kind: str, name: str) -> str | None:
    """The beginning of the SHA-256 of the file that a name's class lies in; None where it has none, or to look would run code unasked."""
    path = _folder(kind) / f"{name}.py"
    if path.is_file():
        return _file_hash(path)
    if name not in _entry_points(kind) and not _may_import():
        return None
    return module_hash(module(kind, name))


def module_hash(name: str) -> str | None:
    """`source_hash` of a module by its whole name; None where it has no file."""
    try:
        found = importlib.util.find_spec(name)
    except Exception:  # what stands in the package that it lies in
        return None
    return _file_hash(Path(found.origin)) if found is not None and found.origin else None


def _file_hash(path: Path) -> str | None:
    try:
        about = path.stat()
        return _hashed(path, about.st_mtime_ns, about.st_size)
    except (OSError, ValueError):
        return None


_IMPORTED: dict[str, str] = {}
"""Module -> hash of the file that this process has it from, where whoever started it had imported it."""


def note_imported(hashes: Mapping[str, str]) -> None:
    """Remember which files this process has its modules from: whoever started it imported them, and they may be others by now."""
    _IMPORTED.update(hashes)


def running_hash(kind: str, name: str) -> str | None:
    """`source_hash` of what this process runs, which is not what lies there now if the file was edited since it was imported."""
    return _IMPORTED.get(module(kind, name)) or source_hash(kind, name)


@lru_cache(maxsize=1000)
def _hashed(path: Path, changed_ns: int, size: int) -> str:
    """Kept, since a run asks for every cell; time and size only tell files apart."""
    del changed_ns, size
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def module(kind: str, name: str) -> str:
    """The module that a name's class lies in, without importing it."""
    if (_folder(kind) / f"{name}.py").is_file():
        return f"oscbench.{_FOLDERS[kind].replace('/', '.')}.{name}"
    points = _entry_points(kind).get(name)
    return points[0].module if points else name.partition(":")[0]


def docstring(kind: str, name: str) -> str:
    """Module docstring of a name, read without importing where the file is ours."""
    path = _folder(kind) / f"{name}.py"
    if path.is_file():
        try:
            return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        except (SyntaxError, ValueError) as error:
            raise _not_imported(kind, name, error) from error
    return inspect.cleandoc(importlib.import_module(load(kind, name).__module__).__doc__ or "")


def declared(kind: str, name: str, attribute: str) -> Any:
    """What a class gives to an attribute as a plain literal, read without importing its file.

    None where it gives none, or its file cannot be read so.
    """
    with contextlib.suppress(ValueError, TypeError):
        value = written(kind, name, attribute)
        return None if value is None else ast.literal_eval(value)
    return None


def annotated(kind: str, name: str) -> dict[str, Any]:
    """Plain literals that a file's classes give to annotated names, the defaults of settings among them, read without importing it."""
    found: dict[str, Any] = {}
    with contextlib.suppress(ImportError, OSError, SyntaxError, ValueError, KeyError):
        path, _ = _class_of(kind, name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
                found[ast.unparse(node.target)] = node.value.value
    return found


def written(kind: str, name: str, attribute: str) -> ast.expr | None:
    """What stands behind an attribute in a class's body, be it a literal or not; None where nothing does, or the file cannot be read."""
    with contextlib.suppress(ImportError, OSError, SyntaxError, ValueError):
        path, class_name = _class_of(kind, name)
        for part in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(part, ast.ClassDef) and part.name == class_name:
                for line in part.body:
                    value = _given(line, attribute)
                    if value is not None:
                        return value
    return None


def _given(line: ast.stmt, attribute: str) -> ast.expr | None:
    """What a line of a class's body gives to an attribute, with a type or without."""
    if isinstance(line, ast.AnnAssign):
        return line.value if ast.unparse(line.target) == attribute else None
    if isinstance(line, ast.Assign):
        return line.value if ast.unparse(line.targets[0]) == attribute else None
    return None


def _class_of(kind: str, name: str) -> tuple[Path, str]:
    """The file of a name and the class in it, without importing."""
    path = _folder(kind) / f"{name}.py"
    if path.is_file():
        last = ast.parse(path.read_text(encoding="utf-8")).body[-1:]
        named = [
            one.value.id for one in last if isinstance(one, ast.Assign) and isinstance(one.value, ast.Name)
        ]
        return path, (named or [""])[0]
    point = _entry_points(kind)[name][0]
    spec = importlib.util.find_spec(point.module)
    return Path((spec and spec.origin) or ""), point.attr


def _not_imported(kind: str, name: str, error: BaseException) -> UnknownNameError:
    why = kind_and_line(error)
    return UnknownNameError(f'got "{name}", which cannot be imported as one of the {kind}: {why}')


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


@lru_cache
def _entry_points(kind: str) -> dict[str, list[importlib.metadata.EntryPoint]]:
    """What installed packages offer by name: one each, unless two packages took the same."""
    found: dict[str, dict[str, importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=f"oscbench.{kind}"):
        found.setdefault(point.name, {})[point.value] = point
    return {name: [points[value] for value in sorted(points)] for name, points in found.items()}


def _clash(kind: str, name: str, ours: bool) -> str:
    """Whose a name is besides, where several lay claim to it: a record must not leave open who was measured."""
    others = [point.value for point in _entry_points(kind).get(name, [])]
    if len(others) + ours < 2:
        return ""
    whose = ["oscbench"] * ours + others
    return f"which is a name of {' and of '.join(whose)}; rename the entry point of a package, or remove the package"


def _is_dotted(name: str) -> bool:
    """Whether a name is that of a module in a package."""
    parts = name.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def _imported(kind: str, name: str) -> Any:
    """The class of `package.module:Class`, or the one that the last line of `package.module` names."""
    module_name, colon, attribute = name.partition(":")
    _see_working_folder()
    module = importlib.import_module(module_name)
    return getattr(module, attribute) if colon else _last_name(kind, module, Path(inspect.getfile(module)))


def _see_working_folder() -> None:
    """Let modules be found where one stands, after all that is installed, as `oscbench new` writes them.

    The installed command, unlike `python -m`, does not look there by itself. Processes of cells inherit the path.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()


def _last_name(kind: str, module: Any, path: Path) -> Any:
    """The class named by the file's last statement, `mechanism = KoPE`."""
    about = path.stat()
    named = _last_target(path, about.st_mtime_ns, about.st_size)
    if named is None:
        one = kind.removesuffix("s")
        raise UnknownNameError(
            f"{path}: the last line must name the class, as in `{one} = My{one.capitalize()}`"
        )
    return getattr(module, named)


@lru_cache(maxsize=1000)
def _last_target(path: Path, changed_ns: int, size: int) -> str | None:
    """What the last statement of a file gives a value to; None where it gives none. A plan asks thousands of times."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    last = body[-1] if body else None
    if isinstance(last, ast.Assign) and isinstance(last.targets[0], ast.Name):
        return last.targets[0].id
    return None
