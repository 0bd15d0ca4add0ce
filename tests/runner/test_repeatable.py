"""Cells that are to come out the same twice: who may compute otherwise, when, and what it costs."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from oscbench import catalog
from oscbench.measures import Findings, Measure
from oscbench.ops import running_sums
from oscbench.ops.dispatch import UnsupportedError
from oscbench.runner import worker
from oscbench.runner.cell import _failure, run_cell
from oscbench.runner.plan import make_plan
from oscbench.runner.training import kind
from oscbench.runner.training.graph import CudaRecorder
from oscbench.suite import load_suite

RECALL = "{name: recall, num_pairs: [2, 4], length: 16, train_examples: 64, validation_examples: 16, test_examples: 16}"


@pytest.fixture
def cells(tmp_path):
    """Cells of a suite in YAML."""

    def planned(**parts):
        path = tmp_path / "suite.yaml"
        small = {
            "task": "{name: digits, fraction: 0.2}",
            "model": "{width: 16, heads: 2, layers: 1, patch: 4}",
            "match": "{by: none}",
            "measures": "[]",
            "seeds": 1,
            "floors": "false",
            "train": "{steps: 2, batch_size: 32}",
            "mechanisms": "[softmax]",
        }
        path.write_text("\n".join(f"{key}: {value}" for key, value in (small | parts).items()))
        return make_plan(load_suite(str(path)), only=[], device="cpu")

    return planned


def strictly():
    """Whether an operation that cannot be repeated is an error."""
    return (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )


def test_every_causal_mechanism_repeats_itself_where_cumsum_does_not(cells, monkeypatch):
    """As on CUDA, where PyTorch refuses cumsum of floats: whoever takes it would train in another mode than others."""
    for name in ("cumsum", "cumsum_"):
        usual = getattr(torch.Tensor, name)

        def refused(self, *given, usual=usual, **named):
            if self.is_floating_point() and strictly():
                raise RuntimeError(
                    "cumsum_cuda_kernel does not have a deterministic implementation, but you set …"
                )
            return usual(self, *given, **named)

        monkeypatch.setattr(torch.Tensor, name, refused)
    monkeypatch.setattr(running_sums, "_unrepeatable", lambda x: torch.are_deterministic_algorithms_enabled())
    found = {}
    names = catalog.names("mechanisms")
    for cell in cells(
        task=RECALL, model="{width: 16, heads: 2, layers: 1}", mechanisms=f"[{', '.join(names)}]"
    ):
        record = run_cell(cell, lambda done, total: None)
        assert record.status == "ok", record.reason
        found[record.mechanism] = record.environment["deterministic"]
    assert found == dict.fromkeys(names, True)


def test_matching_by_time_measures_what_will_train(cells, monkeypatch):
    (cell,) = cells(match="{by: time}", mechanisms="[kope]")
    seen, said = [], []
    monkeypatch.setattr(worker, "_begin", lambda gpus: None)
    monkeypatch.setattr(worker, "measure", lambda *given: seen.append(strictly()) or {"step_s": 1.0})
    worker.measure_for(cell, SimpleNamespace(send=said.append, close=lambda: None))
    assert seen == [True]
    assert said == [("measured", {"step_s": 1.0})]

    def cannot(*given):
        seen.append(strictly())
        if strictly():
            raise RuntimeError("put_ does not have a deterministic implementation, but you set …")
        return {"step_s": 2.0}

    monkeypatch.setattr(worker, "measure", cannot)
    worker.measure_for(cell, SimpleNamespace(send=said.append, close=lambda: None))
    assert seen == [True, True, False]
    assert said[1] == ("measured", {"step_s": 2.0})


class Unrepeatable(Measure):
    """Puts numbers where several may belong, after the training."""

    label = "unrepeatable"

    def after(self, subject):
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
        return Findings()


class LooksAgain(Measure):
    """What follows computes as before."""

    label = "looks again"
    seen: ClassVar[list[bool]] = []

    def after(self, subject):
        self.seen.append(strictly())
        return Findings()


def test_a_measure_that_cannot_repeat_itself_costs_no_training(cells, monkeypatch):
    (cell,) = cells()
    LooksAgain.seen.clear()
    measures = {"unrepeatable": Unrepeatable(Unrepeatable.Config()), "looks": LooksAgain(LooksAgain.Config())}
    monkeypatch.setattr(kind, "_measures", lambda spec: measures)
    steps = []
    record = run_cell(cell, lambda done, total: steps.append(done))
    assert record.status == "ok", record.reason
    assert steps == [1, 2], "each step is taken once"
    assert "measure unrepeatable may not come out the same twice" in record.flags
    assert record.environment["deterministic"]
    assert LooksAgain.seen == [True]


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_too_little_memory_for_what_is_no_tensor_is_too_little_memory(cells, error):
    (cell,) = cells()
    assert _failure(error, cell)[0] == "oom"
    assert _failure(RuntimeError("CUDA error: an illegal memory access"), cell)[0] == "failed"


@pytest.fixture
def recorder(monkeypatch):
    """A recorder whose captures end as told."""

    class Graph:
        ends: Exception | None = None

        def __init__(self, graph=None):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            if self.ends:
                raise self.ends

    modes = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda other: None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(wait_stream=lambda other: None))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=None))
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    return CudaRecorder(), Graph, modes


def raises(error):
    def step():
        raise error

    return step


def test_too_little_memory_while_a_step_is_captured_is_no_refusal(recorder):
    capture, graph, _ = recorder
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        capture.record(raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")))
    graph.ends = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        capture.record(raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")))


def test_a_capture_that_breaks_says_what_broke_it(recorder):
    capture, graph, _ = recorder
    graph.ends = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    with pytest.raises(UnsupportedError, match="operation not permitted when stream is capturing"):
        capture.record(raises(RuntimeError("CUDA error: operation not permitted when stream is capturing")))


def test_the_last_step_before_a_capture_must_not_wait_for_the_gpu(recorder):
    capture, _, modes = recorder
    assert capture.warm(lambda: 1) == 1
    assert modes == []
    with pytest.raises(
        UnsupportedError, match=r"train\.graph: the step cannot be captured \(called a synchronizing"
    ):
        capture.warm(raises(RuntimeError("called a synchronizing CUDA operation")), proves=True)
    assert modes == ["error", "default"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("put_ does not have a deterministic implementation, but you set …"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    ],
)
def test_a_step_that_breaks_while_it_warms_up_is_no_refusal(recorder, error):
    capture, graph, _ = recorder
    for proves in (False, True):
        with pytest.raises(RuntimeError) as caught:
            capture.warm(raises(error), proves=proves)
        assert caught.value is error
    graph.ends = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    if "shapes" not in str(error):
        with pytest.raises(RuntimeError) as caught:
            capture.record(raises(error))
        assert caught.value is error
