"""Locks between runs on one results folder: file locks, which die with their process, or leases where a file system keeps none.

A lease is a file that its holder touches again and again. Whoever finds one that nobody has touched for a minute takes it over, so
that two may hold it for a moment if its holder stood still: a cell is then computed twice and written once.
"""

from __future__ import annotations

import errno
from pathlib import Path

import psutil
from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

KINDS = ("auto", "flock", "lease")
LEASE_S = 60.0
REMOTE = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
)
"""File systems whose file locks other machines may not see."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Locks:
    """Takes locks of one kind.

    Args:
        kind: of `KINDS`; `auto` is leases on a file system of `REMOTE` and on one that refuses file locks.
        lease_s: after which a lease that nobody renews is taken over; the same for all who share a folder.
    """

    def __init__(self, kind: str = "auto", lease_s: float = LEASE_S) -> None:
        self.kind, self.lease_s = kind, lease_s
        # How long a lease has not been renewed is known to the object that has watched it alone.
        self._watched: dict[Path, SoftFileLease] = {}

    def take(self, path: Path) -> BaseFileLock | None:
        """The lock, held, or None where another process holds it.

        Raises:
            OSError: the file system refuses.
        """
        if self.kind == "auto":
            self.kind = "lease" if file_system(path) in REMOTE else "flock"
        if self.kind == "flock":
            try:
                return _held(FileLock(path))
            except (OSError, NotImplementedError) as error:
                if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                    raise
                self.kind = "lease"
        place = path.with_suffix(".lease")
        lease = self._watched.pop(place, None) or SoftFileLease(place, lease_duration=self.lease_s)
        if _held(lease) is None:
            self._watched[place] = lease
            return None
        return lease


def _held(lock: BaseFileLock) -> BaseFileLock | None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def file_system(path: Path) -> str:
    """Type of the file system that a path lies on in truth, links followed, as the system names it; empty where it does not say."""
    there = path.resolve()
    mounts = [one for one in psutil.disk_partitions(all=True) if there.is_relative_to(one.mountpoint)]
    return max(mounts, key=lambda one: len(one.mountpoint)).fstype if mounts else ""
