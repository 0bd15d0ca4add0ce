"""Tensors made from data, kept: tokens, features. Made once, by one process, and made again when what was kept is damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from oscbench.data.fingerprint import sha256_of
from oscbench.data.store import data_root

_LOG = logging.getLogger(__name__)
_Tensors = dict[str, Tensor]


class _DamagedError(Exception):
    """What was kept cannot be used, and why."""


def prepared(key: str, make: Callable[[], _Tensors]) -> _Tensors:
    """Tensors that depend on `key` alone: from the store if they are there and whole, else made and kept.

    Processes that want the same tensors at once wait for the one that makes them. Where the store cannot be written, tensors are
    made and not kept. Treat what comes back as read-only: it may be mapped from the file.

    Args:
        key: everything that the tensors depend on: what they are, the content hash of the data, every setting, and a version
            of the preparation that is raised when its code changes, as in `keywords v1 <sha256> mels=40`.
        make: makes them; its errors pass through.
    """
    name = f"{re.sub(r'[^A-Za-z0-9_.+=-]+', '-', key)[:40]}-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
    folder = data_root() / "prepared" / name
    with contextlib.suppress(FileNotFoundError, _DamagedError):
        return _read(folder, key)
    lock = FileLock(folder.parent / ".locks" / f"{name}.lock")
    try:
        (folder.parent / ".locks").mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        _LOG.warning("%s: prepared data cannot be kept (%s)", folder.parent, error.strerror or error)
        return make()
    try:
        try:
            return _read(folder, key)
        except FileNotFoundError:
            pass
        except _DamagedError as error:
            _LOG.warning("%s: prepared data damaged (%s); made again", folder, error)
        for litter in folder.parent.glob(
            f".making-{name}-*"
        ):  # of a process that was killed: the lock is ours
            shutil.rmtree(litter, ignore_errors=True)
        tensors = {one: tensor.contiguous() for one, tensor in make().items()}
        try:
            _write(folder, key, tensors)
        except (
            OSError,
            RuntimeError,
        ) as error:  # torch says "PytorchStreamWriter failed" where the disk is full
            _LOG.warning("%s: prepared data cannot be kept (%s)", folder, str(error).splitlines()[0])
        return tensors
    finally:
        lock.release()


def _read(folder: Path, key: str) -> _Tensors:
    """Tensors of a folder that is what it was when written."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    path = folder / "tensors.pt"
    try:
        written = json.loads((folder / "manifest.json").read_bytes())
        if written["key"] != key:
            raise _DamagedError("it was made for another key")
        if sha256_of(path) != written["sha256"]:
            raise _DamagedError("its SHA-256 is not the one on record")
        tensors: _Tensors = torch.load(path, weights_only=True, mmap=True)
    except _DamagedError:
        raise
    except Exception as error:  # cut off, no JSON, a file gone, or whatever torch makes of it
        raise _DamagedError(f"{type(error).__name__}") from error
    return tensors


def _write(folder: Path, key: str, tensors: _Tensors) -> None:
    """Write beside the folder, then give it its name in one step."""
    temporary = Path(tempfile.mkdtemp(prefix=f".making-{folder.name}-", dir=folder.parent))
    try:
        path = temporary / "tensors.pt"
        torch.save(tensors, path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        written = {"key": key, "sha256": sha256_of(path), "num_bytes": path.stat().st_size}
        (temporary / "manifest.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
