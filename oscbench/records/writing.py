"""A file is written in one step: whoever reads meanwhile, or after a crash, sees the old one or the new, and no part of either."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

PREFIX, SUFFIX = ".writing-", ".tmp"
"""How the name of a file begins and ends as long as it is written."""


def _over(temporary: Path, path: Path) -> None:
    temporary.replace(path)


@contextmanager
def in_one_step(
    path: Path, put: Callable[[Path, Path], Any] = _over, *, mode: int = 0o644
) -> Iterator[BinaryIO]:
    """A file to write into, which stands under its name once the block has ended without an error, and nowhere otherwise.

    Args:
        path: its name; folders are made.
        put: moves the written file there; by default over what lies there.
        mode: of the file.

    Raises:
        OSError: the file system refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(SUFFIX, PREFIX, path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put_new(temporary: Path, path: Path) -> None:
    """Give a finished file its name, unless something has it already."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        if path.is_symlink() and not path.exists():  # a link that leads nowhere holds no record
            temporary.replace(path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links; the cell's lock keeps other runs away meanwhile.
        if not path.exists():
            temporary.rename(path)
