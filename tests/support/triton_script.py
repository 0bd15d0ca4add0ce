"""Code in a process of its own, so that TRITON_INTERPRET stands (or does not) before triton is first imported.

Each is forked from one that has imported PyTorch and Triton (one for each setting of the variables), which takes longer than most scripts.
"""

from __future__ import annotations

import atexit
import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from command_line import PATIENCE_S, environment

_SERVER = """
import json, os, runpy, sys, traceback
import torch, torch._dynamo, triton, triton.language

torch.set_num_threads(1)  # a fork has no other thread
for line in sys.stdin:
    script, out, err = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.path.insert(0, os.path.dirname(script))
            runpy.run_path(script, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


_servers: dict[frozenset[tuple[str, str]], subprocess.Popen[str]] = {}


def _server(variables: dict[str, str]) -> subprocess.Popen[str]:
    """A process that runs scripts in forks of itself, until the tests end."""
    around = {
        name: value
        for name, value in environment().items()
        if name not in ("TRITON_INTERPRET", "PYTEST_CURRENT_TEST")
    }
    around |= variables
    key = frozenset(around.items())
    if key not in _servers or _servers[key].poll() is not None:
        _servers[key] = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env=around,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(_servers[key].communicate)
    return _servers[key]


def run_text(folder: Path, code: str, **variables: str) -> str:
    """Run code and return what it prints; TRITON_INTERPRET is only what `variables` say."""
    script, out, err = (folder / name for name in ("child.py", "child.out", "child.err"))
    script.write_text(code)
    out.unlink(missing_ok=True)
    err.write_text("")
    server = _server(variables)
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps([str(script), str(out), str(err)]) + "\n")
    server.stdin.flush()
    ready, _, _ = select.select([server.stdout], [], [], PATIENCE_S)
    ended = server.stdout.readline() if ready else ""
    if not ended:
        server.kill()
    assert ended, f"no end in {PATIENCE_S:g} s, or the process that runs scripts has died"
    assert int(ended) == 0, err.read_text()[-3000:]
    return out.read_text()


def run_script(folder: Path, code: str, **variables: str) -> list[Any]:
    """Run code that prints JSON, a value a line, and return the values."""
    return [json.loads(line) for line in run_text(folder, code, **variables).splitlines()]
