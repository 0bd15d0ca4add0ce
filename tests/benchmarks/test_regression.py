"""The comparison behind the gates: what fails, what does not, and what a broken file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oscbench.analysis.costs import regression
from oscbench.analysis.costs.regression import (
    CompareError,
    Reading,
    compare,
    compare_paths,
    read,
    regressions,
)
from oscbench.machine.idle import wait_for_idle

GATE = {"hard": {"flops": 1000, "params": 10}, "peak_bytes": {"step": 100_000}, "ratios": {"step": 2.0}}
HERE = Path(__file__).parent


def changed(kind, quantity, value):
    new = {name: dict(values) for name, values in GATE.items()}
    new[kind][quantity] = value
    return compare({"kope": Reading(**GATE)}, {"kope": Reading(**new)})


def written(path, gate):
    benchmarks = [
        {"name": "test[kope]", "extra_info": {"subject": "kope", "gate": gate}},
        {"name": "other", "extra_info": {}},
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks}))
    return path


@pytest.mark.parametrize(
    ("kind", "quantity", "value", "verdict"),
    [
        ("hard", "flops", 1000, "same"),
        ("hard", "flops", 1001, "regression"),
        ("hard", "flops", 999, "regression"),
        ("peak_bytes", "step", 110_000, "same"),
        ("peak_bytes", "step", 110_001, "regression"),
        ("peak_bytes", "step", 80_000, "better"),
        ("ratios", "step", 2.59, "same"),
        ("ratios", "step", 2.61, "regression"),
        ("ratios", "step", 1.0, "better"),
        ("ratios", "forward", 1.0, "new"),
    ],
)
def test_limits(kind, quantity, value, verdict):
    found = changed(kind, quantity, value)
    assert [change.verdict for change in found if (change.kind, change.quantity) == (kind, quantity)] == [
        verdict
    ]


def test_what_is_no_longer_measured_fails():
    found = compare({"kope": Reading(**GATE)}, {})
    assert len(regressions(found)) == 4
    assert not regressions(compare({}, {"kope": Reading(**GATE)}))


def test_two_files_are_explained(tmp_path):
    old = written(tmp_path / "old.json", GATE)
    new = written(tmp_path / "new.json", {**GATE, "hard": {"flops": 1100, "params": 10}})
    rows, summary, code = compare_paths(old, new)
    assert code == regression.REGRESSION_EXIT_CODE == 3
    assert [(row["subject"], row["quantity"], row["change"]) for row in rows] == [("kope", "flops", "+10.0%")]
    assert "4 quantities, 3 the same, 1 regressions" in summary
    assert compare_paths(old, old)[2] == 0
    assert compare_paths(old, new, ["peak_bytes", "ratios"])[2] == 0, (
        "the code's own numbers may change on purpose"
    )
    with pytest.raises(
        CompareError, match='--only: got "ratio"; allowed: hard, peak_bytes, ratios; did you mean "ratios"'
    ):
        compare_paths(old, new, ["ratio"])


def test_a_number_that_is_none_is_no_better(tmp_path):
    old = written(tmp_path / "old.json", GATE)
    broken = {kind: dict.fromkeys(GATE[kind], float("nan")) for kind in ("peak_bytes", "ratios")}
    assert compare_paths(old, written(tmp_path / "new.json", GATE | broken))[2] == 3


def test_two_files_that_have_nothing_in_common_are_refused(tmp_path):
    old, new = (tmp_path / name for name in ("old.json", "new.json"))
    gate = {"hard": {"flops": 10}}
    for path, name in ((old, "one"), (new, "other")):
        path.write_text(json.dumps({"benchmarks": [{"name": name, "extra_info": {"gate": gate}}]}))
    with pytest.raises(CompareError, match="nothing in common to compare: one is of the first alone"):
        compare_paths(old, new)


def test_results_folders_are_read(tmp_path):
    for text in (
        "[1, 2]",
        '{"benchmarks": 3}',
        '{"benchmarks": [3]}',
        '{"benchmarks": [{"extra_info": []}]}',
        "[" * 9999,
    ):
        odd = tmp_path / "odd.json"
        odd.write_text(text)
        with pytest.raises(CompareError):
            read(odd)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(CompareError, match="not a regular file"):
        read(tmp_path / "pipe.json")
    with pytest.raises(CompareError, match="nothing to compare"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"benchmarks": [{}]}', '{"benchmarks": []}'])
def test_other_files_are_refused_in_a_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(CompareError, match=r"x\.json"):
        read(path)
    with pytest.raises(CompareError, match="cannot be read"):
        read(tmp_path / "absent.json")


def test_waiting_for_idle_cores_has_an_end():
    clock = iter(range(0, 100, 5))
    busy = wait_for_idle(1.0, 10.0, look=lambda: 0.1, now=lambda: next(clock))
    assert (busy.enough, busy.waited_s) == (False, 10)
    free = wait_for_idle(1.0, 10.0, look=lambda: 1.7, now=lambda: next(clock))
    assert (free.enough, free.idle_cores) == (True, 1.7)


def gates(*options):
    """Exit code of the gates in a process of their own, and which subjects they say are worse; pytest itself ends with 3 where it breaks."""
    command = [sys.executable, "-m", "pytest", str(HERE / "test_gates.py"), *options]
    ended = subprocess.run(command, capture_output=True, check=False, cwd=HERE.parent.parent, text=True)
    worse = {line.split()[0] for line in ended.stdout.splitlines() if line.rstrip().endswith("regression")}
    return ended.returncode, worse


def test_an_artificial_flop_change_fails_the_hard_gate():
    assert gates("-k", "hard and rope", "--make-costlier", "rope")[0] == 1


@pytest.mark.timed
def test_an_artificial_slowdown_ends_with_code_3():
    assert gates("-m", "timed", "-k", "rope", "--make-slower", "rope") == (3, {"rope"})


@pytest.mark.timed
def test_an_artificial_flop_change_ends_with_code_3():
    assert gates("-m", "timed", "-k", "rope", "--make-costlier", "rope") == (3, {"rope"})
