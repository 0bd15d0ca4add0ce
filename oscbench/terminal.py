"""What the command line needs of a terminal: tables that fit it, and endings of a line each, whatever goes wrong."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from oscbench.errors import UserError, allowed, kind_and_line, nearest

COLUMNS = 100
"""Where nobody says how wide a terminal is, and the narrowest that tables are made for."""
_GAP, _NARROWEST = 2, 12
_NAME = 32
"""Words up to this length are names that people copy, and are never broken over lines."""


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows; texts wrap at words where whole lines would not fit."""
    from tabulate import tabulate

    widths = _widths(rows)
    wrapped = [{name: textwrap.fill(str(row[name]), widths[name]) for name in row} for row in rows]
    print(tabulate(wrapped, headers="keys", tablefmt="simple", disable_numparse=True))


def _widths(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Widths of columns at which a table fits, the widest column giving way first; names stay whole, paths may be broken."""
    wanted = max(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns)
    texts = {name: [str(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    heads = {name: max(_NARROWEST, len(name) + _GAP) for name in texts}  # tabulate gives a head so much room
    words = {name: max(len(word) for text in [name, *texts[name]] for word in text.split()) for name in texts}
    widths = {name: max(len(name) + _GAP, *map(len, texts[name])) for name in texts}
    for longest in (max(words.values(), default=0), _NAME):
        while sum(widths.values()) + _GAP * (len(widths) - 1) > wanted:
            able = [name for name in widths if widths[name] > max(heads[name], min(words[name], longest))]
            if not able:
                break
            widths[max(able, key=widths.__getitem__)] -= 1
    return widths


class Unfailing(io.TextIOBase):
    """A stream that what it says may be lost, but never ends a run: standard error on a full disk or a closed pipe."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write if that is possible."""
        with self._lost():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with self._lost():
            self.stream.flush()

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            silence(self.stream)

    def isatty(self) -> bool:
        """As the stream."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """As the stream."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream."""
        return self.stream.encoding


class Noting:
    """A stream that remembers what kept it, or its bytes, from being written, so that no other error is taken for that."""

    def __init__(self, stream: Any, lost: list[OSError] | None = None) -> None:
        self.stream = stream
        self.lost: list[OSError] = [] if lost is None else lost

    @property
    def buffer(self) -> Noting:
        """The stream of bytes below, with the same memory."""
        return Noting(self.stream.buffer, self.lost)

    def write(self, text: Any) -> Any:
        """As the stream."""
        with self._noted():
            return self.stream.write(text)

    def flush(self) -> None:
        """As the stream."""
        with self._noted():
            self.stream.flush()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost.append(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def silence(stream: TextIO) -> None:
    """Have a stream that cannot be written lead nowhere, so that what it still holds ends nothing at exit either."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def outcome(command: Callable[..., Any]) -> int:
    """Run the command line; its exit code. Bad input is one line and code 2, and nothing is a traceback."""
    for name in ("stdout", "stderr"):  # closed by whoever started this, as by `2>&-`
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, the process ends it
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path need not be text, and must not end what worked
        sys.stdout.reconfigure(errors="backslashreplace")
    said: Any = Noting(sys.stdout)
    with contextlib.redirect_stderr(Unfailing(sys.stderr)), contextlib.redirect_stdout(said):
        try:
            code = command(standalone_mode=False)
            said.flush()
        except UserError as error:
            return _told(str(error))
        except OSError as error:
            if not any(one is error for one in said.lost):
                return _told(_refused(error))
            silence(said.stream)
            if isinstance(error, BrokenPipeError):  # whoever reads, as `| head` does, has read enough
                return 1
            return _told(f"standard output: cannot be written ({error.strerror or error})")
        except (
            SystemExit
        ):  # typer's own end where whoever reads has read enough; what is left must not be written at exit
            if said.lost:
                silence(said.stream)
            raise
        except Exception as error:
            if hasattr(error, "format_message"):  # typer's own errors, whichever click it brings along
                return _told(_usage(error))
            return _told(_unforeseen(error))
    return code if isinstance(code, int) else 0


def _unforeseen(error: Exception) -> str:
    """An error that nothing above knows, with its place, for whoever mends it; OSCBENCH_TRACEBACK=1 shows all of it."""
    if os.environ.get("OSCBENCH_TRACEBACK"):
        raise error
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"{kind_and_line(error)} ({where}); a mistake of ours or of a plug-in, which OSCBENCH_TRACEBACK=1 shows whole"


def _refused(error: OSError) -> str:
    """What the system has refused, in a line."""
    why = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"{why} ({type(error).__name__})"
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
    how = " cannot be written" if error.errno in _FULL else ""
    return f"{name}:{how} ({why})" if how else f"{name}: {why}"


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of writing alone."""


def _told(said: str) -> int:
    print("oscbench:", " ".join(said.splitlines()), file=sys.stderr)
    return 2


def _usage(error: Any) -> str:
    """A mistake in an option or argument, told as all others are."""
    context = getattr(error, "ctx", None)
    where = f"{context.info_name}: " if context is not None and context.parent is not None else ""
    message = " ".join(error.format_message().replace("Value error, ", "").split())
    if match := re.search(r"'([^']*)' is not one of (.*)", message):
        known = re.findall(r"'([^']*)'", match[2])
        option = next((name for name in getattr(error.param, "opts", ()) if name.startswith("--")), "")
        where += f"{option}: " if option else ""
        return f'{where}got "{match[1]}"; {allowed(match[1], known)}'
    if match := re.search(r"^No such command '([^']*)'", message):
        return f'no command "{match[1]}"; {nearest(match[1], error.ctx.command.list_commands(error.ctx))}'
    mistakes = getattr(error.__cause__, "errors", None)  # pydantic's, which knows what was given
    if (match := re.search(r"^Invalid value for '([^']*)': (.)(.*)", message)) and mistakes is not None:
        return f'{where}{match[1]}: got "{mistakes()[0]["input"]}"; {match[2].lower()}{match[3]}'
    return f"{where}{message[:1].lower()}{message[1:]}"
