"""Code in a process of its own, so that TRITON_INTERPRET stands (or does not) before triton is first imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from command_line import environment


def run_script(folder: Path, code: str, **variables: str) -> list[Any]:
    """Run code that prints JSON, a value a line, and return the values; TRITON_INTERPRET is only what `variables` say."""
    script = folder / "child.py"
    script.write_text(code)
    kept = {name: value for name, value in environment().items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=kept | variables, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]
