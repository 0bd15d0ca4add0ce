"""Measures say what their quantities are for, and reports read it from their files without importing them."""

from __future__ import annotations

import sys

import pytest

from oscbench import catalog
from oscbench.roles import Role, basis, costs, has_role, quantities, speed_measures


@pytest.mark.parametrize("name", catalog.names("measures"))
def test_what_is_read_from_the_file_is_what_the_class_says(name):
    declared = catalog.declared("measures", name, "roles") or {}
    assert declared == dict(catalog.load("measures", name).roles)
    for role in declared.values():
        assert set(role) <= set(Role.__annotations__)


def test_kinds_of_cost_stand_by_rank_each_with_what_can_stand_for_it():
    found = {cost.title: cost for cost in costs()}
    ours = [
        "Parameters",
        "Forward FLOPs a sample",
        "Operations a sample",
        "Training time",
        "Peak memory",
        "Energy",
    ]
    # Whoever adds a measure of one file, as CONTRIBUTING has it, may add a cost.
    assert [title for title in found if title in ours] == ours
    assert found["Training time"].names == ("training_s", "step_s")
    assert [title for title, cost in found.items() if cost.of_machine] == ["Training time", "Energy"]
    assert found["Energy"].quantities[0].measure == "energy"


def test_size_compute_and_speed():
    assert (basis("size"), basis("compute")) == ("params", "flops")
    assert speed_measures() == ["step_s", "training_s"]
    assert [one.name for one in quantities("a_step")] == ["step_s", "training_flops", "step_energy_j"]


def test_roles_of_many_quantities_go_by_how_their_names_begin_and_not_by_whose_they_are():
    assert has_role("operations_hybrid", "exact")
    assert has_role("step_peak_memory_bytes/kope", "peak")
    assert not has_role("step_s", "exact")
    assert not has_role("accuracy", "exact")


def test_a_file_of_an_installed_package_is_read_and_not_run(tmp_path, monkeypatch):
    (tmp_path / "foreign.py").write_text(
        "raise RuntimeError('imported')\nclass Waste:\n    roles = {'waste': {'cost': 'Waste'}}\n    other = open('x')\n"
    )
    metadata = tmp_path / "foreign-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[oscbench.measures]\nwaste = foreign:Waste\ngone = nowhere.at.all:Gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    catalog._entry_points.cache_clear()
    try:
        assert catalog.declared("measures", "waste", "roles") == {"waste": {"cost": "Waste"}}
        assert catalog.declared("measures", "waste", "other") is None, "it is no literal"
        assert catalog.declared("measures", "gone", "roles") is None
        assert "Waste" in [cost.title for cost in costs()]
    finally:
        catalog._entry_points.cache_clear()
    assert "foreign" not in sys.modules
