"""The looped backbone: one loop is the plain trunk, gradients and state go through all of them, and memory grows by the same for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oscbench import catalog
from oscbench.models.backbones.grid import Grid, GridConfig, unit_members
from oscbench.ops.flops import flop_counter
from oscbench.tasks import GridInputs

INPUTS = GridInputs(rows=4, columns=6, vocabulary=5, num_outputs=4, unknown=0, boxes=(2, 3))
MECHANISMS = catalog.names("mechanisms")


def grid(name: str = "softmax", settings: dict[str, Any] | None = None, **model: Any) -> Grid:
    found = catalog.load("mechanisms", name)
    config = GridConfig(**{"width": 16, "heads": 2, "layers": 2, "loops": 3, **model})
    made = Grid(config, INPUTS, found, found.Config(**(settings or {})), hidden=None, seed=0)
    return made.double()


def cells(batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randint(0, 5, (batch, 24), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("state", ["restart", "carry"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_one_loop_is_the_plain_trunk(name: str, state: Any) -> None:
    model = grid(name, loops=1, state=state)
    features, _ = model.trunk(model.embed(cells()), model.context(cells()))
    found = model(cells()).prediction
    assert found.shape == (2, 1, 24, 4)
    assert torch.equal(found[:, 0], model.head(features))


@pytest.mark.parametrize("state", ["restart", "carry"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_more_loops_go_on_where_fewer_end(name: str, state: Any) -> None:
    model = grid(name, state=state).eval()
    few, many = model(cells()).prediction, model(cells(), loops=5).prediction
    assert torch.equal(few, many[:, :3])
    assert not torch.allclose(many[:, 2], many[:, 4], atol=1e-6)


@pytest.mark.parametrize("state", ["restart", "carry"])
@pytest.mark.parametrize("name", ["softmax", "kope", "torus", "akorn"])
def test_gradient_of_the_last_loop_is_the_slope_of_its_loss(name: str, state: Any) -> None:
    model = grid(name, state=state)
    weights = torch.randn(2, 24, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameter = next(
        p for n, p in model.trunk.named_parameters() if p.shape[:2] == (16, 16) or n.endswith("up.weight")
    )
    direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def loss() -> Tensor:
        total: Tensor = (model(cells()).prediction[:, -1] * weights).sum()
        return total

    (gradient,) = torch.autograd.grad(loss(), [parameter])
    step = 1e-6
    with torch.no_grad():
        parameter += step * direction
        above = loss()
        parameter -= 2 * step * direction
        below = loss()
    assert ((above - below) / (2 * step)).item() == pytest.approx(
        (gradient * direction).sum().item(), rel=1e-5
    )


def saved_bytes(model: Grid) -> int:
    """Memory that a training step keeps for its backward pass; a tensor that is kept twice counts once."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = model(cells(8)).prediction  # alive, so that no storage is freed and taken twice
    del out
    return sum(kept.values())


@pytest.mark.parametrize("name", ["softmax", "kope"])
def test_memory_of_a_step_is_linear_in_the_loops(name: str) -> None:
    two, four, eight = (saved_bytes(grid(name, loops=loops)) for loops in (2, 4, 8))
    assert two > 0
    assert (eight - four) / (four - two) == pytest.approx(2.0, rel=0.05)


def test_carrying_matters_to_those_that_have_a_state_of_their_own() -> None:
    for name, matters in (("softmax", False), ("rope", False), ("kope", True), ("akorn", True)):
        restart, carry = grid(name).eval(), grid(name, state="carry").eval()
        carry.load_state_dict(restart.state_dict())
        (first, *_, last), (first_too, *_, last_too) = (
            m(cells()).prediction.unbind(1) for m in (restart, carry)
        )
        assert torch.equal(first, first_too)
        assert torch.allclose(last, last_too, atol=1e-9) != matters


def test_where_the_state_is_carried_the_last_block_steps_too() -> None:
    assert grid("kope").trunk.mechanism.num_steps == 1
    assert grid("kope", state="carry").trunk.mechanism.num_steps == 2
    assert grid("kope", state="carry", loops=1).trunk.mechanism.num_steps == 1
    frozen = grid("kope", {"dynamics": "frozen"}, state="carry")
    assert frozen.trunk.mechanism.num_steps == 0


def test_blank_cells_are_told_apart_from_known_ones() -> None:
    unknown = grid().context(cells()).positions.unknown
    assert unknown is not None
    assert torch.equal(unknown, cells() == 0)


def test_units_are_rows_columns_and_boxes() -> None:
    row, column, box = unit_members(4, 6, (2, 3))
    assert row.view(4, 6)[2].tolist() == [2] * 6
    assert column.view(4, 6)[:, 4].tolist() == [4] * 4
    assert box.view(4, 6).tolist() == [[0] * 3 + [1] * 3] * 2 + [[2] * 3 + [3] * 3] * 2
    assert len(unit_members(4, 6, None)) == 2
    model = grid(units=True, position="none")
    assert [len(table.weight) for table in model.units] == [4, 6, 4]
    swapped = cells().view(2, 4, 6)[:, [1, 0, 2, 3]].flatten(1)  # equal up to the two rows' embeddings
    assert not torch.allclose(model(swapped).prediction, model(cells()).prediction)


def test_flops_count_every_loop() -> None:
    one, three = grid(loops=1), grid(loops=3)
    assert three.flops() == 3 * one.flops()
    with flop_counter() as counter, torch.no_grad():
        three.float()(cells(1))
    assert counter.get_total_flops() == three.flops()


def test_a_model_of_one_loop_goes_on_from_its_oscillators_in_more() -> None:
    restart, carry = grid("akorn", loops=1).eval(), grid("akorn", loops=1, state="carry").eval()
    first, second = (m(cells(), loops=3).prediction for m in (restart, carry))
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 2], second[:, 2], atol=1e-6)
