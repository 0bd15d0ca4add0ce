"""The small drawings of mechanisms: all there, in light and dark, in the README's own words, and true."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from oscbench import catalog, drawings
from oscbench.drawings import akorn, fixed_query, kope, ssa, torus

ROOT = Path(__file__).parents[1]


def test_every_mechanism_of_the_readme_has_one() -> None:
    """One of somebody's own needs none, and stands in no table of ours."""
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = {
        name for name in catalog.names("mechanisms") if re.search(rf"^\|.*`{name}` \|", table, re.MULTILINE)
    }
    assert drawings.names() == sorted(listed)
    assert len(listed) >= 8


@pytest.mark.parametrize("name", drawings.names())
def test_the_readme_shows_it_and_says_what_is_seen(name: str) -> None:
    made = drawings.make(name)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\|.*`{name}` \|.*$", text, flags=re.MULTILINE)
    assert f'alt="{made.alt}"' in row, (
        "stale: python -m oscbench.drawings draws, and the README says what it returned"
    )
    for look in ("light", "dark"):
        file = f"docs/mechanisms/{name}-{look}.svg"
        assert f'"{file}"' in row
        assert ElementTree.parse(ROOT / file).getroot().tag.endswith("svg")
    assert made.light != made.dark


def test_one_command_writes_them(tmp_path: Path) -> None:
    written = {path.name for path in drawings.write(tmp_path)}
    assert written == {f"{name}-{look}.svg" for name in drawings.names() for look in ("light", "dark")}


def test_phases_of_those_that_attend_to_one_another_come_together_and_no_others() -> None:
    theta = kope.phases()
    for members in (slice(0, 5), slice(5, 10)):
        orders = [kope.order(at[members]) for at in theta]
        assert all(after >= before - 1e-9 for before, after in pairwise(orders))
        assert orders[-1] > 0.99
    assert kope.order(theta[-1]) < 0.5, "two bundles, not one"


def test_an_arc_joins_two_whose_frequencies_lock() -> None:
    omega, pairs = ssa.locked()
    apart = (omega[:, None] - omega).abs()
    assert torch.equal(pairs, apart <= torch.exp(-0.5 * apart**2)), "in order (r = 1), K = 1: Δ ≤ exp(-αΔ²)"
    assert not pairs.all()


def test_the_pull_on_an_angle_is_towards_what_it_hears() -> None:
    theta, pull = torus.pulled()
    scores = 2.0 * (theta[:, None] - theta).cos()
    mean = (scores.softmax(-1) * (theta - theta[:, None]).sin()).sum(-1)
    torch.testing.assert_close(pull, mean)


def test_oscillators_end_between_the_anchors_that_pull_them() -> None:
    angles, rest, _ = fixed_query.settling()
    away = (torch.remainder(angles - rest + math.pi, 2 * math.pi) - math.pi).abs()
    assert bool((away.diff(dim=0) <= 1e-9).all()), "none turns back"
    assert float(away[-1].max()) < 0.05 < float(away[0].min())


def test_oscillators_stay_on_their_sphere() -> None:
    torch.testing.assert_close(akorn.ways().norm(dim=-1), torch.ones(11, 7, dtype=torch.float64))
