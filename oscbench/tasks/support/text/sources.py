"""Where the words of a language model come from: Python's own documentation, files, or the Hugging Face hub where it is asked for."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from oscbench.data import KNOWN, locate
from oscbench.data.store import form_mistake
from oscbench.errors import UserError, kind_and_line
from oscbench.tasks.support.text.words import Documents

STORY_END = "<|endoftext|>"
EXCLUDED = ("site-packages", "dist-packages", "test", "tests", "__pycache__", "lib2to3", "idlelib")
WIKITEXT_FILES = {"train": "wiki.train.raw", "validation": "wiki.valid.raw", "test": "wiki.test.raw"}
STORY_FILES = {"train": "TinyStories-train.txt", "validation": "TinyStories-valid.txt"}
HELD_OUT = 100
"""One training story in so many is the test split: TinyStories publishes none, and its validation split is what papers report."""

ON_HUB = {
    "wikitext2": ("Salesforce/wikitext", "wikitext-2-raw-v1"),
    "tinystories": ("roneneldan/TinyStories", None),
}
"""Repository and configuration of each corpus on the Hugging Face hub."""


@dataclass(frozen=True)
class Source:
    """Documents of every split, and a hash of all that they come from.

    Attributes:
        splits: `train`, `validation` and `test`; each gives its documents anew whenever it is called.
        content: hash.
    """

    splits: dict[str, Documents]
    content: str


def python_documentation() -> Source:
    """Docstrings of the standard library, a document a module, and the topics of the language reference that `help()` shows.

    Of ten documents, in the order of their names, eight train, one validates and one tests.
    """
    files = _standard_library()
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())

    def split(numbers: tuple[int, ...]) -> Documents:
        return lambda: (text for place, text in enumerate(_documentation()) if place % 10 in numbers)

    parts = {"train": tuple(range(8)), "validation": (8,), "test": (9,)}
    return Source({name: split(numbers) for name, numbers in parts.items()}, digest.hexdigest())


@lru_cache
def _standard_library() -> tuple[Path, ...]:
    folder = Path(sysconfig.get_path("stdlib"))
    return tuple(
        file
        for file in sorted(folder.rglob("*.py"))
        if not any(part in EXCLUDED for part in file.relative_to(folder).parts)
    )


@lru_cache
def _documentation() -> tuple[str, ...]:
    found: list[str] = []
    for file in _standard_library():
        if file.parts[-2:] == ("pydoc_data", "topics.py"):
            topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
            found += (text for _, text in sorted(topics.items()))
        else:
            found.append(_docstrings(file))
    return tuple(text for text in found if text)


def _docstrings(file: Path) -> str:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes in somebody's literals are not our business
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ""
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return "\n".join(text for text in found if text)


def own_text(path: str) -> Source:
    """A UTF-8 file, or the .txt files of a folder: 90 % of the characters train, the next 5 % validate, the last 5 % test.

    Raises:
        UserError: it is not there, cannot be read, or is not UTF-8.
    """
    found = locate(path)
    files = sorted(found.path.rglob("*.txt")) if found.path.is_dir() else [found.path]
    if not files:
        raise UserError(f"task.path: {path} has no .txt file in it")
    content = found.sha256()

    @lru_cache(maxsize=1)
    def parts() -> tuple[str, str, str]:
        text = "\n".join("".join(_lines(file)) for file in files)
        first, second = (_gap(text, len(text) * percent // 100) for percent in (90, 95))
        return text[:first], text[first:second], text[second:]

    def split(number: int) -> Documents:
        return lambda: [parts()[number]]

    return Source(
        {name: split(number) for number, name in enumerate(("train", "validation", "test"))}, content
    )


def _gap(text: str, start: int) -> int:
    """The first white space from a place on, so that no word is cut."""
    found = re.compile(r"\s").search(text, start)
    return found.start() if found else len(text)


def wikitext2(path: str) -> Source:
    """WikiText-2 raw: three files, a document a line.

    Raises:
        UserError: a file is missing, cut off, or another text: a perplexity must be of the corpus that it names.
    """
    folder, content = _published("wikitext2", path)

    def split(name: str) -> Documents:
        return lambda: _lines(folder / name)

    return Source({part: split(name) for part, name in WIKITEXT_FILES.items()}, content)


def tinystories(path: str, most: int | None) -> Source:
    """TinyStories: stories between end marks; of the training stories, one in a hundred is the test split.

    Args:
        path: folder or stored name.
        most: training stories to read, those held out counted; None is all.

    Raises:
        UserError: a file is missing.
    """
    folder, content = _published("tinystories", path)

    def stories(split: str) -> Iterator[str]:
        return _stories(_lines(folder / STORY_FILES[split]))

    return _with_held_out(lambda: stories("train"), lambda: stories("validation"), most, content)


def from_hub(corpus: str, most: int | None) -> Source:
    """The same corpus through the library `datasets`, which may download it.

    Raises:
        UserError: the library is not there, or cannot give the data.
    """
    try:
        library: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(
            f'task.from_hub: the package "datasets" is not installed; pip install "oscbench[hub]", '
            f"or give files: oscbench data add {corpus} --from PATH"
        ) from error
    repository, configuration = ON_HUB[corpus]
    try:
        loaded = library.load_dataset(repository, configuration)
    except (
        Exception
    ) as error:  # no network, a repository that moved, a full disk: whatever the library makes of it
        why = kind_and_line(error)
        raise UserError(f"task.from_hub: {repository} cannot be loaded: {why}") from error
    digest = hashlib.sha256()
    for name in sorted(loaded):
        for row in loaded[name]:
            digest.update(row["text"].encode() + b"\0")

    def texts(name: str) -> Documents:
        return lambda: (row["text"] for row in loaded[name])

    if corpus == "tinystories":
        return _with_held_out(texts("train"), texts("validation"), most, digest.hexdigest())
    return Source({name: texts(name) for name in WIKITEXT_FILES}, digest.hexdigest())


def _with_held_out(train: Documents, validation: Documents, most: int | None, content: str) -> Source:
    def part(*, held_out: bool) -> Documents:
        def documents() -> Iterator[str]:
            for place, story in enumerate(train()):
                if place == most:
                    return
                if (place % HELD_OUT == HELD_OUT - 1) == held_out:
                    yield story

        return documents

    return Source(
        {"train": part(held_out=False), "validation": validation, "test": part(held_out=True)}, content
    )


def _published(name: str, path: str) -> tuple[Path, str]:
    """Folder and content hash of a known data set, which must have its published form also where it is not stored."""
    found = locate(path)
    if found.entry is None and (mistake := form_mistake(KNOWN[name], found.path)):
        raise UserError(f'task.path: {mistake}; for a text of your own set task.corpus to "text"')
    return found.path, found.sha256()


def _stories(lines: Iterator[str]) -> Iterator[str]:
    story: list[str] = []
    for line in lines:
        *ended, rest = line.split(STORY_END)
        for text in ended:
            yield from _whole([*story, text])
            story = []
        story.append(rest)
    yield from _whole(story)


def _whole(parts: list[str]) -> Iterator[str]:
    text = "".join(parts)
    if text.strip():
        yield text


def _lines(file: Path) -> Iterator[str]:
    """Lines of a UTF-8 file.

    Raises:
        UserError: it cannot be read, or is not UTF-8; names the line.
    """
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                yield _decoded(line, f"task.path: {file}: line {number}")
    except OSError as error:
        raise UserError(f"task.path: {file}: cannot be read ({error.strerror})") from error


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 ({error.reason})") from error
