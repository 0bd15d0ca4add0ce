"""Run a command in a network of its own, where nothing else can be reached and every port is free; beside others where that is forbidden.

python tests/cluster/alone.py pytest tests/cluster -m ray
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys

UP, GET_FLAGS, SET_FLAGS = (
    0x1,
    0x8913,
    0x8914,
)  # of a network interface, as in <linux/if.h> and <linux/sockios.h>
OWN_NETWORK = ["unshare", "--net", "--map-root-user"]
PATIENCE_S = 60.0


def loopback_up() -> None:
    """A new network has a loopback that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, GET_FLAGS, request), 16)
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", flags | UP))


def may_have_own_network(trial: list[str]) -> bool:
    """Whether a trial that only brings the loopback up succeeds."""
    try:
        return subprocess.run(trial, capture_output=True, timeout=PATIENCE_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):  # no such program, or one that waits for something
        return False


def main(command: list[str]) -> None:
    """Become the command."""
    inside = [sys.executable, __file__, "--inside"]
    if command[:1] == ["--inside"]:
        loopback_up()
        command = command[1:]
        if not command:
            return
    elif may_have_own_network([*OWN_NETWORK, *inside]):
        command = [*OWN_NETWORK, *inside, *command]
    else:
        print("no network of its own is permitted here: on this machine's loopback, with ports that are free")
        sys.stdout.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
