"""The command line: one clear line and exit code 2 for bad input, results on standard output, the rest on standard error."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from command_line import end, environment, start

from oscbench.suite import suite_names

REQUIRED = [
    "suite",
    "cell",
    "task",
    "mechanism",
    "variant",
    "seed",
    "status",
    "device",
    "params",
    "flops",
    "metric",
    "value",
    "seconds",
]


def one_line(ended, *expected):
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("oscbench: ")
    assert ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    for text in expected:
        assert text in ended.err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mechanisms": "[softmax, kopee]"}, 'mechanisms[1].name: got "kopee"; did you mean "kope"?'),
        (
            {"mechanisms": "[softmax, {name: kope, settings: {gama: 1}}]"},
            "mechanisms[1].settings.gama: unknown key",
        ),
        (
            {"mechanisms": "[{name: kope, grid: {gamma: [1.0, lots]}}]"},
            'mechanisms[0].settings.gamma: got "lots"',
        ),
        ({"mechanisms": "['nowhere:Class']"}, "mechanisms[0].name: got"),
        ({"task": "digit"}, 'task.name: got "digit"; did you mean "digits"?'),
        ({"task": "{name: digits, shiftt: 1}"}, 'task.shiftt: unknown key "shiftt"; did you mean "shift"?'),
        ({"task": "{name: digits, shift: 9}"}, "task.shift: got 9"),
        ({"model": "{name: visoin}"}, 'model.name: got "visoin"; did you mean "vision"?'),
        ({"model": "{widthh: 16}"}, 'model.widthh: unknown key "widthh"; did you mean "width"?'),
        ({"model": "{width: '16'}"}, 'model.width: got "16"; input should be a valid integer'),
        (
            {"mechanisms": "[{name: softmax, model: {embedding_spread: '1'}}]"},
            'embedding_spread: got "1"; input should be a valid number',
        ),
        ({"model": "{width: 16, heads: 3}"}, "width 16 does not divide into 3 heads"),
        ({"model": "{width: 16, patch: 3}"}, "patch 3 does not divide images"),
        ({"measures": "[paramz]"}, 'measures[0].name: got "paramz"; did you mean "params"?'),
        ({"measures": "[{name: params, deep: 1}]"}, 'measures[0].deep: unknown key "deep"'),
        ({"match": "{reference: sofmax}"}, 'match.reference.name: got "sofmax"; did you mean "softmax"?'),
        ({"train": "{epohcs: 1}"}, 'train.epohcs: unknown key "epohcs"; did you mean "epochs"?'),
        ({"mechanisms": "['throwaway_mechanisms:Unbuildable']"}, "cannot be built: TypeError: no such thing"),
    ],
)
def test_mistake_in_a_suite_is_found_before_anything_runs(oscbench, tiny, tmp_path, changes, expected):
    suite = tiny(**changes)
    for command in ("validate", "run"):
        one_line(oscbench(command, suite), str(suite), expected)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "smokee"], 'no suite "smokee"; did you mean "smoke"?'),
        (["validate", "nothing.yaml"], "nothing.yaml: no such file"),
        (["run", "smoke", "--set", "train.epohcs=3"], 'did you mean "epochs"?'),
        (["validate", "smoke", "--set", "train.epohcs=3"], 'did you mean "epochs"?'),
        (["run", "smoke", "--only", "mechanism=kopee"], 'did you mean "kope"?'),
        (
            ["run", "smoke", "--only", "mechanism=softmax", "--only", "mechanism=kope"],
            "values of a key are written together, as in mechanism=a,b",
        ),
        (["run", "smoke", "--device", "gpu"], "allowed: auto, cpu, cuda"),
        (["run", "smoke", "--results", "/proc/oscbench"], "/proc/oscbench: results folder cannot be written"),
        (["report", "--results", "nothing"], "nothing: no such results folder"),
        (["export", "--results", "nothing"], "nothing: no such results folder"),
    ],
)
def test_bad_argument_is_one_line(oscbench, arguments, expected):
    one_line(oscbench(*arguments), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none_is_one_line(oscbench, tiny):
    one_line(oscbench("run", tiny(), "--device", "cuda"), "there is no CUDA device where cells run")
    one_line(oscbench("validate", tiny(device="cuda")), "tiny.yaml: device: got cuda, but there is no CUDA")


def test_data_that_are_not_here_are_told_with_the_suite(oscbench, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "data"))
    one_line(oscbench("validate", tiny(task="camvid")), "tiny.yaml: task.path: camvid: not in the data store")


def test_file_in_the_way_of_the_results_is_one_line(oscbench, tiny, tmp_path):
    (tmp_path / "results").write_text("mine")
    one_line(oscbench("run", tiny(), "--results", tmp_path / "results"), "results folder cannot be written")
    assert (tmp_path / "results").read_text() == "mine"


def test_message_is_one_line_in_a_process_of_its_own_too(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: [1,\n")
    code, out, err = end(start("validate", "mine.yaml", cwd=tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith("oscbench: mine.yaml: line 2: not readable as YAML")
    assert err.count("\n") == 1


def test_export_has_one_tidy_row_a_cell(oscbench, finished):
    ended = oscbench("export", "--results", finished)
    assert (ended.code, ended.err) == (0, "")
    frame = pd.read_csv(io.StringIO(ended.out))
    assert list(frame.columns[: len(REQUIRED)]) == REQUIRED
    assert len(frame) == 4
    assert not frame.duplicated(["suite", "task", "mechanism", "variant", "seed"]).any()
    assert frame["value"].between(0, 1).all()
    assert (frame["status"] == "ok").all()
    rows = json.loads(oscbench("export", "tiny", "--results", finished, "--format", "json").out)
    assert [row["value"] for row in rows] == frame["value"].tolist()


def test_export_writes_files_of_every_format(oscbench, finished, tmp_path):
    pytest.importorskip("pyarrow")
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}
    for name, reader in read.items():
        path = tmp_path / "deep" / f"cells.{name}"
        ended = oscbench("export", "--results", finished, "--format", name, "--output", path)
        assert (ended.code, ended.out) == (0, "")
        frame = reader(path)
        assert list(frame["mechanism"]) == ["kope", "kope", "softmax", "softmax"]
        assert frame["params"].dtype.kind == "i"


def test_an_export_writes_over_no_file_of_another_kind(oscbench, finished, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("mine")
    one_line(oscbench("export", "--results", finished, "--output", readme), "is there already")
    assert readme.read_text() == "mine"


def test_unknown_suite_or_place_of_an_export_is_one_line(oscbench, finished, tmp_path):
    one_line(oscbench("export", "tinny", "--results", finished), 'did you mean "tiny"?')
    (tmp_path / "file").write_text("")
    one_line(
        oscbench("export", "--results", finished, "--output", tmp_path / "file" / "x"), "cannot be written"
    )


def test_export_and_report_go_on_beside_damaged_and_foreign_files(oscbench, finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    first, *_ = sorted((results / "tiny").glob("*.json"))
    first.write_bytes(first.read_bytes()[:500])
    (results / "package.json").write_text('{"name": "foreign"}')
    process = start("export", "--results", results, cwd=tmp_path)
    page = tmp_path / "page"
    reported = oscbench("report", "--results", results, "--output", page, "--format", "md")
    assert reported.code == 0
    assert first.name in (page / "report.md").read_text()
    code, out, err = end(process)
    assert code == 0
    assert len(pd.read_csv(io.StringIO(out))) == 3
    assert first.name in err
    assert "package.json" in err
    assert "Traceback" not in err
    assert first.is_file(), "reading loses nothing"


def test_closed_pipe_is_no_traceback(finished, tmp_path):
    command = (
        f"{sys.executable} -c 'from oscbench.cli import main; main()' export --results {finished} | true"
    )
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_list_and_validate_and_env_say_what_there_is(oscbench, tiny):
    mechanisms = oscbench("list")
    assert mechanisms.code == 0
    for name in ("softmax", "rope", "kope", "torus", "ssa", "fixed_query", "arXiv", "order_sensitive"):
        assert name in mechanisms.out
    assert "digits" in oscbench("list", "tasks").out
    assert "training_time" in oscbench("list", "measures").out
    assert "smoke" in oscbench("list", "suites").out
    assert "kuramoto_step" in oscbench("list", "backends").out
    machine = oscbench("env")
    for word in ("torch", "processor", "reference", "works"):
        assert word in machine.out
    assert oscbench("validate", tiny()).out.endswith("tiny.yaml: 2 cells, no mistakes\n")


def test_dry_run_is_a_table_on_standard_output(oscbench, tiny, tmp_path):
    ended = oscbench("run", tiny(), "--dry-run", "--jobs", 2)
    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == [
        *("task", "mechanism", "variant", "position", "seed", "params", "MFLOP/sample", "residual", "seconds")
    ]
    assert "2 of 2 cells to run, about 0:00:" in ended.out
    assert "floor" not in ended.out
    given_away = oscbench("run", tiny(floors="true"), "--dry-run")
    assert given_away.out.endswith("; 3 floors before them, whose time is not estimated\n")
    alone = oscbench("run", tiny(floors="true"), "--dry-run", "--only", "mechanism=softmax")
    assert "1 of 1 cell to run" in alone.out
    assert "floor" not in alone.out, "floors run beside whole suites alone"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [name for name in sorted(suite_names()) if name.startswith("timing_")])
def test_a_dry_run_of_what_is_timed_shows_its_cells(oscbench, tmp_path, name):
    ended = oscbench("run", name, "--dry-run", "--results", tmp_path / "results", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert re.search(r"\d of \d+ cells? to run", ended.out)


def test_a_device_without_a_name_is_no_device(oscbench, tiny):
    ended = oscbench("run", tiny(), "--dry-run", "--device", "")
    assert ended.code == 2
    assert "--device" in ended.err


@pytest.mark.parametrize("name", sorted(suite_names()))
def test_shipped_suites_have_no_mistakes(oscbench, name):
    ended = oscbench("validate", name)
    # Data that nobody may ship are named with the way to get them here.
    assert ended.code == 0 or "oscbench data add" in ended.err, ended.err


def loaded_modules(code, *arguments):
    script = f"import sys; sys.argv[1:] = {list(arguments)!r}\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy():
    code = "from oscbench.cli import main\ntry: main()\nexcept SystemExit: pass"
    loaded = loaded_modules(code, "--help")
    assert "typer" in loaded
    assert not loaded & {"torch", "pandas", "numpy", "pydantic", "yaml", "matplotlib", "rich", "xformers"}


@pytest.mark.parametrize("room", ["suite", "records", "reporting", "catalog"])
def test_rooms_without_torch_load_none(room):
    assert not loaded_modules(f"import oscbench.{room}") & {"torch", "xformers", "triton", "torchdiffeq"}
