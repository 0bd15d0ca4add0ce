"""Which measures a machine can be trusted with, judged from facts that are handed in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oscbench import catalog
from oscbench.machine.trust import Machine, _real_cores, rows, this_machine, trust

LAB = Machine(8, 8, False, "performance", 7.5, 0.2, True, None)


def test_a_quiet_machine_with_a_fixed_clock_is_trusted() -> None:
    assert trust("latency", None, LAB)[0] == "yes"
    assert trust("memory", None, LAB)[0] == "yes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"real_cores": 4}, "8 cores are 4 with shared units"),
        ({"is_virtual": True}, "virtual"),
        ({"clock": None}, "neither read nor fixed"),
        ({"clock": "schedutil"}, "governor schedutil"),
    ],
)
def test_each_doubt_leaves_ratios_only(change: dict[str, object], words: str) -> None:
    word, why = trust("training_time", None, replace(LAB, **change))  # type: ignore[arg-type]
    assert word == "ratios only"
    assert words in why


def test_a_busy_machine_asks_for_patience() -> None:
    word, why = trust("latency", None, replace(LAB, idle=0.3, load=9.0))
    assert word == "with care"
    assert "only 0.3 of 8 cores idle now (load 9.0)" in why


def test_what_cannot_be_read_is_not_trusted() -> None:
    assert trust("memory", None, replace(LAB, has_marks=False))[0] == "no"
    assert trust("energy", "no RAPL counter", LAB) == ("no", "unavailable: no RAPL counter")


def test_counts_are_trusted_on_any_machine() -> None:
    busy = replace(LAB, idle=0.0, is_virtual=True, has_marks=False)
    assert trust("flops", None, busy)[0] == "yes"


def test_siblings_are_counted_once(tmp_path) -> None:
    for cpu, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert _real_cores(tmp_path) == 2
    assert _real_cores(tmp_path / "nowhere") == 0


def test_every_measure_has_a_row_with_a_reason() -> None:
    machine = this_machine(look=lambda: 1.0)
    assert machine.cores >= machine.real_cores >= 1
    found = rows(machine)
    assert [row["measure"] for row in found] == sorted(catalog.names("measures"))
    assert all(row["why"] for row in found)
    assert {row["trust"] for row in found} <= {"yes", "ratios only", "with care", "no"}
