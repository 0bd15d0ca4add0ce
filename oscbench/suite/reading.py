"""From the bytes of a file to plain values: YAML that runs nothing, repeats nothing without end and stays within bounds."""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from oscbench.errors import first_line
from oscbench.suite.bounds import MAX_DEPTH, MAX_FILE_BYTES, MAX_NUMBER, MAX_TEXT, MAX_VALUES, unprintable
from oscbench.suite.errors import SuiteError, place

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads ten times as fast
_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(_Base):  # type: ignore[misc]
    """Safe YAML that refuses a key named twice and endless merges, and reads numbers as YAML 1.2 does.

    1e-3 is a number, and 1:30 is a text and not ninety.
    """

    _merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge `<<`, having counted what that makes: merges of merges double with each line."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(source, yaml.MappingNode):
                    self.flatten_mapping(source)
                    self._merged += len(source.value)
                    if self._merged > MAX_VALUES:
                        raise _problem(f"merges make more than {MAX_VALUES:,} values", node)
        super().flatten_mapping(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue  # `<<: *shared`: the base class merges, and a key beside it wins
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)):
                continue  # the base class refuses it with its own words
            if key in seen:
                raise _problem(f'key "{key}" is named twice', key_node)
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made

    def construct_whole(self, node: yaml.ScalarNode) -> Any:
        """A whole number; the base class would spend minutes on `1:1:1:…` and on a million hexadecimal digits."""
        if len(node.value) > 100 or ":" in node.value:
            raise _problem("not a whole number that a suite may hold", node)
        return self.construct_yaml_int(node)


def _problem(text: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_START = list("-+.0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    _START,
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0b[0-1_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"),
    _START,
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)


def plain_yaml(text: str) -> Any:
    """The value of a YAML text; whatever is wrong with it raises.

    Raises:
        yaml.YAMLError: it is no YAML, or larger than a suite may be.
        Exception: PyYAML lets Python's own errors through: 2020-13-45, !!int x.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Base)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if count > 2 * MAX_VALUES or depth > MAX_DEPTH:
            problem = "nested too deep" if depth > MAX_DEPTH else "far too large for a suite"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]
    return yaml.load(text, _Loader)


def read_setting(text: str) -> tuple[str, Any]:
    """`draw=3` of a command line -> ("draw", 3).

    Raises:
        SuiteError: it is not written so.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SuiteError(f'--set {text}: write it as key=value, for example "length=256"')
    try:
        return key, plain_yaml(value)
    except SuiteError:
        raise
    except Exception as error:
        raise SuiteError(f"--set {text}: the value is not readable as YAML: {unreadable(error)}") from error


def unreadable(error: Exception) -> str:
    """What is wrong with a YAML text, without where."""
    return str(getattr(error, "problem", None) or first_line(error))


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file; tags that would run code are refused and never run.

    Raises:
        SuiteError: it cannot be read, is broken, empty, no mapping, or larger than a suite may be.
    """
    shown = printable(path)
    text = _text_of(path, shown)
    try:
        content = plain_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # libyaml puts what is missing at the end of a file on a line after its last.
        line = f"line {min(mark.line, text.count(chr(10))) + 1}: " if mark else ""
        raise SuiteError(f"{shown}: {line}not readable as YAML: {unreadable(error)}") from error
    except Exception as error:
        raise SuiteError(f"{shown}: not readable as YAML: {first_line(error)}") from error
    if content is None:
        raise SuiteError(f"{shown}: is empty; a suite is a mapping with task, train and mechanisms")
    if not isinstance(content, dict):
        raise SuiteError(
            f"{shown}: holds {_KINDS.get(type(content), 'a value')}; a suite is a mapping with task, train and mechanisms"
        )
    return unshared(content, shown)


def printable(path: Path) -> str:
    """A path for people and records: bytes of its name that are no text are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _text_of(path: Path, shown: str) -> str:
    """The text of a regular file of bounded size; a pipe or a device might never end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SuiteError(f"{shown}: is no regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SuiteError(f"{shown}: is larger than {MAX_FILE_BYTES:,} bytes, far too large for a suite")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SuiteError(f"{shown}: line {line}: is no text in UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise SuiteError(f"{shown}: cannot be read: {error.strerror or error}") from error


def unshared(content: dict[str, Any], source: str) -> dict[str, Any]:
    """A copy in which no two places are one object, as anchors make them: `--set` changes one place only.

    Raises:
        SuiteError: a number that is not finite or enormous, a text that cannot be written, a structure that contains itself,
            one that is enormous, or something that suites do not hold, such as `!!pairs`.
    """
    count = characters = 0

    def checked(text: str, where: tuple[Any, ...]) -> str:
        nonlocal characters
        characters += len(text)
        if characters > MAX_TEXT:
            raise SuiteError(f"{source}: {place(where[:3])}: more text than {MAX_TEXT:,} characters")
        if found := unprintable(text):
            raise SuiteError(
                f"{source}: {place(where)}: holds the character {found}, which cannot be written"
            )
        return text

    def copied(value: Any, where: tuple[Any, ...]) -> Any:
        nonlocal count
        count += 1
        if len(where) > MAX_DEPTH or count > MAX_VALUES:
            raise SuiteError(f"{source}: {place(where[:3])}: holds itself, or is far too large for a suite")
        if isinstance(value, dict):
            return {
                checked(key, where) if isinstance(key, str) else key: copied(entry, (*where, key))
                for key, entry in value.items()
            }
        if isinstance(value, list):
            return [copied(entry, (*where, index)) for index, entry in enumerate(value)]
        if isinstance(value, (tuple, set)):
            raise SuiteError(
                f"{source}: {place(where)}: a suite holds numbers, texts, lists and mappings alone"
            )
        if isinstance(value, str):
            return checked(value, where)
        if isinstance(value, float) and not math.isfinite(value):
            raise SuiteError(f"{source}: {place(where)}: got {value}; a number must be finite")
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise SuiteError(
                f"{source}: {place(where)}: got {_rounded(value)}; no number may be beyond {MAX_NUMBER:,}"
            )
        return value

    return {
        checked(key, ()) if isinstance(key, str) else key: copied(entry, (key,))
        for key, entry in content.items()
    }


def _rounded(value: int) -> str:
    """`1.00e+30`; Python refuses to write out whole numbers of thousands of digits."""
    try:
        return f"{value:.2e}"
    except OverflowError:
        return "a number of hundreds of digits"
