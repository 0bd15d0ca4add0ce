"""A mechanism is one new file and no edit elsewhere: the one that CONTRIBUTING.md works through is listed, run and reported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PATIENCE_S, TINY, copied_package, environment

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"
COMMANDS = [
    ["list", "mechanisms"],
    ["run", "mine.yaml", "--results", "results"],
    ["export", "--results", "results", "--format", "json", "--output", "cells.json"],
    ["report", "--compare", "decay:half_life=8.0,softmax", "--results", "results", "--output", "page"],
]
SCRIPT = """
import sys
from oscbench.cli import main
for arguments in {commands!r}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{{arguments}} ended with {{ended.code}}")
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the installed package."""
    return copied_package(tmp_path / "copy")


def test_one_new_file_is_listed_run_exported_and_reported(package, tmp_path):
    code = re.search(r"```python\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)[1]
    (package / "oscbench" / "mechanisms" / "decay.py").write_text(code, encoding="utf-8")
    entries = "[softmax, {name: decay, grid: {half_life: [2.0, 8.0]}}]"
    suite = TINY | {"mechanisms": entries, "seeds": "2"}
    (tmp_path / "mine.yaml").write_text("\n".join(f"{key}: {value}" for key, value in suite.items()))
    variables = environment()
    variables["PYTHONPATH"] = str(package)
    variables["COLUMNS"] = "1000"  # no text is wrapped
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(commands=COMMANDS)],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nearness alone counts" in done.stdout
    rows = json.loads((tmp_path / "cells.json").read_text())
    assert {(row["mechanism"], row["variant"], row["seed"], row["status"]) for row in rows} == {
        (mechanism, variant, seed, "ok")
        for mechanism, variant in (
            ("softmax", "default"),
            ("decay", "half_life=2.0"),
            ("decay", "half_life=8.0"),
        )
        for seed in (0, 1)
    }
    assert len({row["value"] for row in rows}) > 1
    page = (tmp_path / "page" / "report.md").read_text()
    assert "(half_life=8.0)" in page
    assert (tmp_path / "page" / "index.html").is_file()
    assert "has changed" not in done.stderr
    with (package / "oscbench" / "mechanisms" / "decay.py").open("a", encoding="utf-8") as file:
        file.write("# another thought\n")
    again = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(commands=COMMANDS[1:2])],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    told = "oscbench/mechanisms/decay.py has changed since 4 of these cells ran, and no version with it"
    assert told in again.stderr
