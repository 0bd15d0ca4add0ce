"""A first file of one's own, a mechanism, a task or a measure: a worked example that runs as it is, under another name.

The examples lie beside this; `decay.py` is CONTRIBUTING.md's mechanism. They are read as text and never imported by us, so they are in no
catalog.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from oscbench import catalog
from oscbench.errors import UserError

EXAMPLES = {"mechanism": "decay", "task": "delayed", "measure": "weight_norm"}
"""Kind -> the example's file, beside the first."""
EXAMPLE = Path(__file__).with_name("decay.py")
_NAME = re.compile(r"^[a-z][a-z0-9_]*\Z")


def new_part(
    kind: str, name: str, folder: Path | None = None, *, here: Path | None = None
) -> tuple[Path, str]:
    """Write a working mechanism, task or measure called `name`.

    Args:
        kind: `mechanism`, `task` or `measure`.
        name: Of the file, and so in suites, records and on the command line; lower case, as in `my_attention`.
        folder: Where to write it; by default among those of the clone that one stands in, else where one stands.
        here: The working folder; by default the process's.

    Returns:
        The file, and how a suite names it: `my_attention` in a clone, `my_attention:MyAttention` elsewhere.

    Raises:
        UserError: The name cannot be a module's or is taken, or the file is there or cannot be written.
    """
    if not _NAME.match(name):
        raise UserError(
            f'new {kind}: got "{name}"; a name is lower-case letters, digits and _, as in my_attention'
        )
    if keyword.iskeyword(name):
        raise UserError(
            f'new {kind}: got "{name}", which is a word of Python; choose another name, as in my_attention'
        )
    if name in catalog.names(f"{kind}s"):
        raise UserError(f'new {kind}: "{name}" is there already; choose another name')
    if name != EXAMPLES[kind] and re.search(
        rf"\b{_class_name(name)}\b", EXAMPLE.with_name(f"{EXAMPLES[kind]}.py").read_text(encoding="utf-8")
    ):
        raise UserError(f'new {kind}: "{name}" would hide what its file uses itself; choose another name')
    here = here or Path.cwd()
    # In a clone of what is installed from elsewhere the file would lie where nobody looks for it.
    in_clone = (here / "oscbench" / f"{kind}s").resolve() == (
        Path(__file__).parents[1] / f"{kind}s"
    ).resolve()
    target = folder if folder is not None else here / "oscbench" / f"{kind}s" if in_clone else here
    if not in_clone and _is_installed(name, target):
        raise UserError(
            f'new {kind}: "{name}" is an installed module, which would hide the file; choose another name'
        )
    path = target / f"{name}.py"
    if (target / name).is_dir():
        raise UserError(
            f'new {kind}: "{name}" is a folder in {target}, which would hide the file; choose another name'
        )
    title = _class_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(renamed(kind, name))
    except FileExistsError as error:
        in_the_way = next(one for one in (path, *path.parents) if one.exists())
        what = "is there already" if in_the_way == path else "is a file, not a folder"
        raise UserError(f"{in_the_way}: {what}; nothing was written") from error
    except NotADirectoryError as error:
        raise UserError(f"{target}: is no folder; nothing was written") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    inside = path.parent.resolve() == (Path(__file__).parents[1] / f"{kind}s").resolve()
    return path, name if inside or (folder is None and in_clone) else f"{name}:{title}"


def _is_installed(name: str, target: Path) -> bool:
    """Whether an import of `name` finds a file or a built-in module elsewhere than where the file is to be."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and Path(spec.origin).parent != target.resolve()


def renamed(kind: str, name: str) -> str:
    """The example of a kind under another name: its class, its label and the word that opens its docstring."""
    example = EXAMPLES[kind]
    text = EXAMPLE.with_name(f"{example}.py").read_text(encoding="utf-8")
    words, spelled = example.replace("_", " "), name.replace("_", " ")
    text = text.replace(f'"""{words.capitalize()}:', f'"""{spelled.capitalize()}:')
    text = re.sub(rf"\b{_class_name(example)}(?=Config\b|\b)", _class_name(name), text)
    text = text.replace(f'label = "{words}"', f'label = "{spelled}"').replace(f"{example}_", f"{name}_")
    return text.replace(f"Settings of {words}.", f"Settings of {spelled}.")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
