"""Energy arithmetic on a fake counter: idle subtraction, wrap-around, windows; nothing made up without one."""

from __future__ import annotations

import pytest
import torch
from measure_subjects import make_subject

from oscbench.instruments.joules import CounterError, RaplCounter, counter_for, measure_energy
from oscbench.measures import energy as energy_measure
from oscbench.measures.energy import EnergyConfig, EnergyMeasure


class Bench:
    """A machine that draws `idle` watts, and 10 joules more for each call of half a second."""

    name = "fake"

    def __init__(self, idle=30.0, wraps_at=None, first=0.0):
        self.time, self.total, self.idle, self.wraps_at = 0.0, first, idle, wraps_at

    def joules(self):
        return self.total % self.wraps_at if self.wraps_at else self.total

    def now(self):
        return self.time

    def rest(self, seconds):
        self.time += seconds
        self.total += self.idle * seconds

    def work(self):
        self.rest(0.5)
        self.total += 10.0

    def measure(self, **settings):
        return measure_energy(self.work, self, now=self.now, rest=self.rest, **settings)


def test_idle_power_is_subtracted():
    found = Bench().measure(windows=4)
    assert found.idle_watts == pytest.approx(30.0)
    assert found.joules == pytest.approx([10.0] * 4)
    assert found.gross_joules == pytest.approx([25.0] * 4)
    assert all(calls >= 4 for calls in found.calls)
    assert all(seconds >= 2.0 for seconds in found.window_s)


def test_a_counter_that_wraps_around_loses_nothing():
    found = Bench(wraps_at=64.0, first=60.0).measure(windows=3)
    assert found.joules == pytest.approx([10.0] * 3)


def test_a_counter_that_was_reset_gives_no_number():
    bench = Bench(first=500.0)
    readings = iter([500.0, 520.0, 3.0])
    bench.joules = lambda: next(readings)
    with pytest.raises(CounterError, match="backwards"):
        bench.measure()


def test_a_counter_that_stands_still_gives_no_number():
    bench = Bench()
    bench.joules = lambda: 7.0
    with pytest.raises(CounterError, match="stands still"):
        bench.measure()


def test_short_windows_are_refused():
    with pytest.raises(CounterError, match="shorter"):
        Bench().measure(window_s=1.0)
    with pytest.raises(ValueError, match="window_s"):
        EnergyConfig(window_s=0.5)


def package(root, index, reading, largest=1000):
    folder = root / f"intel-rapl:{index}"
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"package-{index}")
    (folder / "energy_uj").write_text(str(int(reading * 1e6)))
    (folder / "max_energy_range_uj").write_text(str(int(largest * 1e6)))
    (root / f"intel-rapl:{index}:0").mkdir(exist_ok=True)


def test_rapl_adds_packages_and_puts_wraps_right(tmp_path):
    package(tmp_path, 0, 990.0)
    package(tmp_path, 1, 10.0)
    package(tmp_path, 2, 1.0)
    (tmp_path / "intel-rapl:2" / "name").write_text("psys")  # the whole platform: counted once already
    counter = RaplCounter(tmp_path)
    assert [path.name for path in counter.packages] == ["intel-rapl:0", "intel-rapl:1"]
    package(tmp_path, 0, 5.0)
    package(tmp_path, 1, 12.0)
    assert counter.joules() == pytest.approx(15.0 + 2.0)


def test_without_a_counter_there_is_a_reason_and_no_number(tmp_path, monkeypatch):
    with pytest.raises(CounterError, match="no RAPL"):
        RaplCounter(tmp_path)

    def none_here(device):
        raise CounterError("no counter here")

    monkeypatch.setattr(energy_measure, "counter_for", none_here)
    found = EnergyMeasure(EnergyConfig()).after(make_subject()).measures
    assert set(found) == {"forward_energy_j", "step_energy_j"}
    for measurement in found.values():
        assert (measurement.value, measurement.method, measurement.n) == (None, "unavailable", 0)
        assert measurement.reason == "no counter here"
    assert EnergyMeasure.unavailable() == "no counter here"


def test_joules_of_a_sample(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(energy_measure, "counter_for", lambda device: bench)

    def fake(run, counter, **settings):
        del run
        return measure_energy(counter.work, counter, now=counter.now, rest=counter.rest, **settings)

    monkeypatch.setattr(energy_measure, "measure_energy", fake)
    found = EnergyMeasure(EnergyConfig()).after(make_subject()).measures
    assert found["step_energy_j"].value == pytest.approx(10.0)
    assert found["step_energy_a_sample_j"].value == pytest.approx(10.0 / 8)
    assert found["step_energy_j"].details["idle_watts"] == pytest.approx(30.0)
    assert found["step_energy_j"].method == "measured"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_counter_counts():
    assert counter_for(torch.device("cuda")).joules() > 0.0
