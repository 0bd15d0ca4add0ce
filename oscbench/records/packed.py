"""A packed file: many records of one suite, gzipped JSON, one a line, the same bytes from the same lines."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from oscbench.records.writing import in_one_step

SUFFIX = ".jsonl.gz"
LEDGER = b'{"ledger":'
"""How the line of a search's ledger begins; every other line is a record."""

MAX_BYTES = 64 << 20
"""Of a file of records, and of one line of a packed one: whatever is larger is no record (real ones have some 20 kB)."""


class UnreadableError(Exception):
    """A file that is not what its name says, and why."""


def regular(path: Path) -> os.stat_result:
    """What the file system says of an ordinary file.

    Raises:
        UnreadableError: it is a pipe, a device or the like (reading might never end), or too large.
        OSError: there is no such file, or it cannot be asked for.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("not a regular file")
    if found.st_size > MAX_BYTES:
        raise UnreadableError(f"{found.st_size >> 20} MiB are too large for records")
    return found


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Write a packed file in one step: no name and no time in its header.

    Raises:
        OSError: the file system refuses.
    """
    with (
        in_one_step(path) as file,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed,
    ):
        for line in lines:
            packed.write(line + b"\n")


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a packed file, without their ends.

    Raises:
        UnreadableError: it is no gzip file, is empty or torn, or holds a line that no record is as long as.
        OSError: it cannot be read.
    """
    regular(path)
    number = 0
    try:
        with gzip.open(path, "rb") as packed:
            while line := packed.readline(MAX_BYTES + 1):
                if len(line) > MAX_BYTES:
                    raise UnreadableError(f"a line of over {MAX_BYTES >> 20} MiB")
                if not line.endswith(b"\n"):
                    raise UnreadableError("ends in the middle of a line")
                number += 1
                yield line[:-1]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableError(f"not a whole gzip file ({error})") from error
    if not number:  # as where a copy or a disk gave up; a pack is made of one record at least
        raise UnreadableError("is empty")
