"""Suites of kind timing: what they may say, what a cell measures, and that one contender's trouble is its own."""

from __future__ import annotations

import pytest
import torch

from oscbench.analysis.costs.growth import growth_by_contender, timing_rows
from oscbench.instruments.ceilings import Ceilings
from oscbench.machine.idle import Quiet
from oscbench.records import Record
from oscbench.runner.cell import run_cell
from oscbench.runner.plan import make_plan
from oscbench.runner.timing import plan as timing_plan
from oscbench.runner.timing import run as timing_cell
from oscbench.suite import SuiteError, load_suite

OPS = """
kind: timing
family: ops
contenders:
  - {name: softmax_attention, backends: [sdpa, reference]}
  - {name: kope_attention, backends: [sdpa]}
settings:
  cpu:
    - {tokens: [8, 16], width: 16, heads: 2, literal_up_to: 8, memory: false}
effort: {seconds: 0.01, min_rounds: 2}
device: cpu
"""
BLOCKS = """
kind: timing
family: blocks
contenders: [softmax, kope]
settings:
  cpu:
    - {tokens: 6, width: 16, heads: 2, memory: false, passes: [step]}
effort: {seconds: 0.01, min_rounds: 1}
device: cpu
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(timing_cell, "wait_for_idle", lambda cores, patience: Quiet(2.0, 0.0, True, 0.1))
    monkeypatch.setattr(timing_cell, "measure_ceilings", lambda *where: Ceilings(1e11, 1e10, 1e9))
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def plan(tmp_path):
    def planned(text, *only):
        path = tmp_path / "t.yaml"
        path.write_text(text)
        return make_plan(load_suite(str(path)), only=list(only), device=None)

    return planned


def test_a_cell_is_a_size_with_all_contenders(plan):
    small, large = plan(OPS)
    assert [cell.spec["tokens"] for cell in (small, large)] == [8, 16]
    assert [one["key"] for one in small.spec["contenders"]] == [
        "softmax_attention:sdpa",
        "softmax_attention:reference",
        "kope_attention:sdpa",
    ]
    assert small.identity != large.identity
    assert small.spec["mechanism"] == {"name": "softmax_attention+kope_attention"}
    assert [cell.spec["tokens"] for cell in plan(OPS, "tokens=16")] == [16]


def test_times_ratios_and_rooflines_are_recorded(plan):
    seen = []
    record = run_cell(plan(OPS)[1], lambda done, total: seen.append((done, total)))
    assert record.status == "ok", record.reason
    assert record.mechanism == record.card.name == "softmax_attention+kope_attention"
    assert record.card.label == "softmax_attention and kope_attention"
    assert seen[-1] == (3, 3)
    assert Record.model_validate_json(record.model_dump_json()) == record
    time = record.measures["forward_s/kope_attention:sdpa"]
    assert time.value > 0
    assert time.samples
    assert time.details["roofline_share"] > 0
    assert time.details["bound_by"] in ("matmul", "copy", "exponential")
    assert record.measures["backward_ratio/softmax_attention:sdpa"].value == 1.0
    assert record.metric == "forward_s/softmax_attention:sdpa"
    assert record.measures["ceiling_matmul"].value == 1e11
    assert record.environment["quiet"]["enough"]
    left = record.measures["forward_s/softmax_attention:reference"]
    assert left.value is None
    assert "left out beyond 8 tokens" in left.reason


def test_blocks_are_timed_too(plan):
    record = run_cell(plan(BLOCKS)[0], lambda done, total: None)
    assert record.status == "ok", record.reason
    assert record.measures["step_ratio/kope"].value > 0


def test_one_contender_that_breaks_costs_itself_alone(plan, monkeypatch):
    real = timing_cell.prepare

    def breaks(name, *rest):
        if name == "kope_attention":
            raise RuntimeError("no such kernel\nat all")
        return real(name, *rest)

    monkeypatch.setattr(timing_cell, "prepare", breaks)
    record = run_cell(plan(OPS)[0], lambda done, total: None)
    assert record.measures["forward_s/kope_attention:sdpa"].reason == "RuntimeError: no such kernel"
    assert record.measures["forward_s/softmax_attention:reference"].value > 0


def test_rows_and_growth(plan):
    records = [run_cell(cell, lambda done, total: None) for cell in plan(OPS)]
    rows = timing_rows(records)
    assert {row.tokens for row in rows} == {8, 16}
    growth = growth_by_contender(rows)
    assert any(key[3] == "kope_attention:sdpa" and found.sizes == 2 for key, found in growth.items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("softmax_attention, backends: [sdpa, reference]", "softmax_atention"), "softmax_attention"),
        (("backends: [sdpa, reference]", "backends: [flesh]"), '"flesh" cannot run on cpu'),
        (("family: ops", "family: ops\nreference: ssa"), r"reference: got \"ssa\""),
        (("width: 16", "width: 15"), "does not divide into 2 heads"),
        (("heads: 2", "heads: 16"), "even width"),
        (("tokens: [8, 16],", ""), "names no tokens"),
        (("tokens: [8, 16]", "tokens: [8, 8]"), "named once"),
        (("memory: false", "passes: [step]"), "no training step"),
        (("kind: timing", "kind: timng"), "timng"),
        (("effort:", "efort:"), "effort"),
        (("tokens: [8, 16]", "tokens: [4000000]"), "GiB"),
        (("cpu:", "cuda:"), "there are none for cpu"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(plan, change, told):
    with pytest.raises(SuiteError, match=told) as refused:
        plan(OPS.replace(*change).replace("literal_up_to: 8", "literal_up_to: 9000000"))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("only", ["tokens=9", "mechanism=kope", "tokens"])
def test_only_knows_batch_and_tokens(plan, only):
    with pytest.raises(SuiteError, match="--only"):
        plan(OPS, only)


@pytest.mark.parametrize("name", ["timing_ops", "timing_layers", "timing_models", "timing_decoder"])
def test_the_suites_that_come_with_the_package(name):
    assert make_plan(load_suite(f"suites/{name}.yaml"), only=[], device="cpu")


def test_literal_torus_is_left_out_earlier():
    spec = {
        "family": "ops",
        "batch": 1,
        "tokens": 200,
        "setting": {"heads": 2, "width": 128, "causal": False, "literal_up_to": 1024},
    }
    torus = {"name": "torus_attention", "backend": "reference"}
    assert "128 tokens" in timing_plan.left_out(spec, torus)
    assert timing_plan.left_out(spec, {"name": "softmax_attention", "backend": "reference"}) is None
    assert timing_plan.left_out(spec, {"name": "torus_attention", "backend": "blocked"}) is None
