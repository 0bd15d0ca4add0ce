"""What CI calls is there: every tox environment and every command of `.ci/run` and of the workflow."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
import yaml

import oscbench as package

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def environments() -> set[str]:
    """Names that tox.ini knows."""
    ini = configparser.ConfigParser()
    ini.read(ROOT / "tox.ini")
    listed = {name.strip() for name in ini["tox"]["env_list"].split(",")}
    return listed | {section.partition(":")[2] for section in ini.sections() if ":" in section}


def commands() -> list[str]:
    """Lines of the shell that CI runs, here and on GitHub."""
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    return [
        line
        for text in [*steps, (ROOT / ".ci" / "run").read_text(encoding="utf-8")]
        for line in text.splitlines()
    ]


def test_every_environment_that_ci_calls_is_in_tox_ini() -> None:
    called = {
        name
        for line in commands()
        for found in re.findall(r"tox -e ([\w,]+)", line)
        for name in found.split(",")
    }
    assert {"py", "lint", "type", "bench"} <= called | environments()
    assert called <= environments()


@pytest.mark.parametrize(
    "needed", ["tox", "tox -e processors", "tox -e bench", "tox -e ray", "tox -e loggers"]
)
def test_a_landing_runs(needed: str) -> None:
    assert needed in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_workflow_runs_what_a_landing_runs() -> None:
    landing = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    needed = set(re.findall(r"^tox -e (\w+)$", landing, re.MULTILINE))
    workflow = WORKFLOW.read_text(encoding="utf-8")
    assert len(needed) == landing.count("\ntox -e "), "one environment a line"
    assert needed <= set(re.findall(r"tox -e (\w+)", workflow))


def test_versions_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert package.__version__ == version[1]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == version[1]
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
