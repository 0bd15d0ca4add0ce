"""Peak memory: a fresh child sees what a call takes, and says why where it cannot."""

from __future__ import annotations

import functools

import pytest
import torch
from measure_subjects import make_subject

from oscbench.instruments import peak_memory
from oscbench.instruments.peak_memory import Peak, PeakError, peak_in_child
from oscbench.measures import memory
from oscbench.measures.memory import Memory, MemoryConfig

MEBIBYTE = 2**20


def test_a_child_sees_what_a_call_takes_and_not_what_was_there_before():
    # The product is 64 MiB and made by the call; its factor of 64 MiB was there before.
    there = torch.ones(16 * MEBIBYTE)
    peak = peak_in_child(functools.partial, torch.mul, there, 2.0)
    assert peak.above == pytest.approx(64 * MEBIBYTE, rel=0.1)
    assert peak.level > 64 * MEBIBYTE


def test_a_child_that_fails_is_told():
    with pytest.raises(PeakError, match="ended with code 1: ZeroDivisionError"):
        peak_in_child(divmod, 1, 0)


def test_an_earlier_peak_that_hides_this_one_is_noticed(monkeypatch):
    monkeypatch.setattr(peak_memory, "status_bytes", lambda key: 100 if key == "VmRSS" else 900)
    with pytest.raises(PeakError, match="hides"):
        peak_memory.peak_here(lambda: None)


def test_both_passes_with_weights_apart(monkeypatch):
    asked = []

    def fake(build, *arguments, threads):
        asked.append((arguments[0], threads))
        return Peak(1000, 50 if arguments[0] == "forward" else 200)

    monkeypatch.setattr(memory, "peak_in_child", fake)
    subject = make_subject()
    found = Memory(MemoryConfig(batch_size=4)).after(subject).measures
    assert {name: found[name].value for name in found} == {
        "forward_peak_memory_bytes": 50,
        "step_peak_memory_bytes": 200,
    }
    details = found["step_peak_memory_bytes"].details
    assert details["batch_size"] == 4
    assert details["weights_bytes"] == 4 * sum(p.numel() for p in subject.model.parameters())
    assert [name for name, _ in asked] == ["forward", "step"]


def test_gradients_are_part_of_a_steps_peak():
    """Of one example they are most of it; weights and moments, twice and once as large again, are not."""
    subject = make_subject(width=256)
    found = Memory(MemoryConfig(batch_size=1)).after(subject).measures
    weights = found["step_peak_memory_bytes"].details["weights_bytes"]
    assert 0.9 * weights < found["step_peak_memory_bytes"].value < 2.0 * weights
    assert found["forward_peak_memory_bytes"].value < 0.5 * weights


def test_where_it_cannot_be_measured_there_is_no_number(monkeypatch):
    def fails(*arguments, threads):
        raise PeakError("this system does not tell VmHWM")

    monkeypatch.setattr(memory, "peak_in_child", fails)
    for measurement in Memory(MemoryConfig()).after(make_subject()).measures.values():
        assert measurement.value is None
        assert "VmHWM" in measurement.reason
