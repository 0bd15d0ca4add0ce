"""Settings that seldom meet: no biases and a calibrated start, repeats and counted evaluations, other grids, generation under autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from oscbench import catalog
from oscbench.measures import Subject
from oscbench.measures.evaluations import Evaluations
from oscbench.models.backbones.dense import Dense, DenseConfig
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.models.generation import generate
from oscbench.ops.dispatch import UnsupportedError
from oscbench.tasks import Batch, ImageInputs, SequenceInputs

TEXT = SequenceInputs(vocabulary=65, length=24, num_outputs=65, is_causal=True)


def text_model(name: str, settings: dict[str, Any], **model: Any) -> Sequence:
    mechanism = catalog.load("mechanisms", name)
    config = SequenceConfig.model_validate({"width": 32, "heads": 2, "layers": 3, **model})
    return Sequence(config, TEXT, mechanism, mechanism.Config(**settings), hidden=None, seed=0)


def test_a_locked_start_needs_no_bias() -> None:
    model = text_model("ssa", {"init_locked": 0.5, "position": "learned"}, bias=False)
    found = model.calibrate(torch.randint(65, (4, 24)))
    assert all(abs(sum(one["locked_share"]) / 2 - 0.5) < 0.1 for one in found)


@pytest.mark.parametrize("repeats", [1, 3])
def test_evaluations_are_those_of_all_repeats(repeats: int) -> None:
    model = text_model("akorn", {"steps": 5}, repeats=repeats, layers=2)
    ids = torch.randint(65, (2, 24))
    subject = Subject(model, None, Batch(ids, ids), torch.device("cpu"), 2)  # type: ignore[arg-type]
    assert Evaluations(Evaluations.Config()).after(subject).measures["evaluations"].value == 10 * repeats


@pytest.mark.parametrize(
    ("name", "writes", "inside"), [("softmax", "out", "q"), ("akorn", "read_out", "out")]
)
def test_a_spread_is_smaller_for_what_writes_into_the_residual_stream(
    name: str, writes: str, inside: str
) -> None:
    mechanism = text_model(name, {}, width=64, layers=4, weight_spread=0.02).trunk.mechanism
    spreads = {
        end: torch.cat(
            [m.weight.detach().flatten() for n, m in mechanism.named_modules() if n.endswith(f".{end}")]
        ).std()
        for end in (writes, inside)
    }
    assert float(spreads[writes]) == pytest.approx(0.02 / 8**0.5, rel=0.05)
    assert float(spreads[inside]) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("name", "reads"), [("fixed_query", False), ("rope", True)])
def test_what_has_something_of_its_own_at_every_place_reads_no_other_grid(name: str, reads: bool) -> None:
    mechanism = catalog.load("mechanisms", name)
    config = DenseConfig(width=16, heads=2, layers=1, patch=4, position="none")
    model = Dense(config, ImageInputs(1, 16, 16, 3), mechanism, mechanism.Config(), hidden=None, seed=0)
    assert model(torch.zeros(1, 1, 16, 16)).prediction.shape == (1, 3, 16, 16)
    if reads:
        assert model(torch.zeros(1, 1, 12, 12)).prediction.shape == (1, 3, 12, 12)
        return
    with pytest.raises(UnsupportedError, match="something of its own at each of 4 × 4 patches"):
        model(torch.zeros(1, 1, 12, 12))


@pytest.mark.parametrize("dynamics", ["kuramoto", "averaged", "frozen"])
def test_kope_generates_under_autocast(dynamics: str) -> None:
    model = text_model("kope", {"dynamics": dynamics, "gamma": 0.3}).eval()
    ids = torch.randint(65, (1, 6), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = generate(model, ids, 8, generator=torch.Generator(), temperature=0.0)
    assert found.shape == (1, 14)
    assert torch.equal(found[:, :6], ids)
