"""Names of every kind go through a run, an export and a report, and nothing on the way opens a socket."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from amount import examples
from command_line import TINY, environment
from hypothesis import given
from hypothesis import strategies as st

from oscbench.records import Record, Store
from oscbench.reporting import build_report, export_frame
from oscbench.suite import SuiteError, expand, load_suite

NASTY = [
    r"$\badcmd$",
    "=1+1",
    "-0",
    "@x",
    "<script>alert(1)</script>",
    "a/b\\c",
    "{{ 7 * 7 }}",
    "%s{}%n",
    "...",
    "Ω 注意 \U0001f600",
    "x" * 100,
    "'quoted\" `it`",
    "]]>&amp;",
    "\u202eolleh",
    "nul",
]
HOOK = """
import os, socket, sys

def refuse(event, arguments):
    if event == "socket.__new__" and arguments[1] not in (-1, socket.AF_UNIX) or event in (
        "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "http.client.connect"
    ):
        with open(os.environ["OPENED"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")

sys.addaudithook(refuse)
"""
"""A `sitecustomize` module: every process that Python starts loads it first, those of cells too."""
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


def test_nasty_names_go_all_the_way_and_no_socket_is_opened(tmp_path):
    content = {key: yaml.safe_load(str(value)) for key, value in TINY.items()}
    content["train"] = {"steps": 1, "batch_size": 16}
    content["measures"] = ["params"]
    content["mechanisms"] = [{"name": "softmax", "variant": name} for name in NASTY[:5]]
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    opened = tmp_path / "opened"
    commands = [
        ["validate", "odd.yaml"],
        ["run", "odd.yaml"],
        ["export", "--format", "json", "--output", "cells.json"],
        ["report", "--output", "page"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(commands=commands)],
        cwd=tmp_path,
        env=environment(tmp_path) | {"OPENED": str(opened)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not opened.exists(), opened.read_text()
    rows = json.loads((tmp_path / "cells.json").read_text())
    assert {row["variant"] for row in rows} == set(NASTY[:5])
    assert (tmp_path / "page" / "index.html").is_file()


def test_the_hook_sees_what_it_is_to_see(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    opened = tmp_path / "opened"
    code = "import socket; socket.socket(socket.AF_INET).close(); socket.socket(socket.AF_UNIX).close()"
    subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path) | {"OPENED": str(opened)}, check=True
    )
    assert opened.read_text().count("\n") == 1


@pytest.fixture(scope="module")
def record(finished):
    records, _ = Store(finished).read_all()
    return next(one for one in records if one.mechanism == "softmax")


def named(record, number, variant):
    return record.model_copy(update={"variant": variant, "identity": f"{number:016x}"})


# No font that we ship with has all scripts, and a name of a hundred letters leaves a small figure no room.
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
def test_a_report_of_nasty_names_is_made(record, tmp_path):
    store = Store(tmp_path / "results")
    store.prepare()
    for number, variant in enumerate(NASTY):
        store.write(named(record, number, variant))
        store.write(named(record, len(NASTY) + number, variant).model_copy(update={"seed": 1}))
    page = build_report(tmp_path / "results", tmp_path / "page")
    text = page.read_text(encoding="utf-8")
    assert "<script>alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("names")


@examples()
@given(variant=st.text(min_size=1, max_size=100))
def test_a_name_that_a_suite_may_give_is_kept_through_record_and_export(record, folder, variant):
    content = {key: yaml.safe_load(str(value)) for key, value in TINY.items()}
    content["mechanisms"] = [{"name": "softmax", "variant": variant}]
    path = folder / "named.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        loaded = load_suite(str(path))
    except SuiteError as error:
        said = str(error)
        assert "\n" not in said
        said.encode()
        return
    (cell,) = expand(loaded.suite, loaded.source)
    assert cell.variant == variant
    results = folder / "results"
    store = Store(results)
    written = store.write(named(record, 0, variant))
    assert len(os.fsencode(written.name)) < 256
    assert Record.model_validate_json(written.read_bytes()).variant == variant
    export_frame(results, format="csv", output=folder / "cells.csv")
    (told,) = pd.read_csv(io.BytesIO((folder / "cells.csv").read_bytes()), keep_default_na=False, dtype=str)[
        "variant"
    ]
    assert told in (variant, f"'{variant}")
    assert not told.startswith(("=", "+", "-", "@"))
    written.unlink()
