"""Made rules: each primitive does what its name says, no rule of the test is one of training, and training at test time leaves the model."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from oscbench import catalog
from oscbench.models.backbones.grid import Grid, GridConfig
from oscbench.models.trunk import Output
from oscbench.tasks.arc_made import DATA_SEED, ArcMade, ArcMadeConfig
from oscbench.tasks.support.arc import canvas as arc_canvas
from oscbench.tasks.support.arc import rules as arc_rules
from oscbench.tasks.support.arc.learned_rules import Unseen
from oscbench.tasks.support.arc.rule_floors import BestRule
from oscbench.tasks.support.arc.rules import (
    LARGEST,
    PRIMITIVES,
    STEPS,
    Step,
    applied,
    example,
    random_grid,
    rules,
)

SMALL = {
    "train_rules": 14,
    "test_rules": 3,
    "train_pairs": 4,
    "validation_pairs": 2,
    "test_pairs": 2,
    "hidden_grids": 4,
    "adaptation_steps": 2,
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def made(**settings: Any) -> ArcMade:
    return ArcMade(ArcMadeConfig.model_validate({**SMALL, **settings}))


def model_of(task: ArcMade, name: str = "softmax", task_token: str = "before", **settings: Any) -> Grid:
    found = catalog.load("mechanisms", name)
    config = GridConfig(width=16, heads=2, layers=1, loops=1, task_token=task_token)
    return Grid(config, task.inputs, found, found.Config(**settings), hidden=None, seed=0)


def grid(text: str) -> arc_rules.Grid:
    return np.array([[int(cell) for cell in row] for row in text.split()])


@pytest.mark.parametrize(
    ("primitive", "choice", "before", "after"),
    [
        ("reflect", "left-right", "12 03", "21 30"),
        ("reflect", "up-down", "12 03", "03 12"),
        ("rotate", "left", "12 03", "23 10"),
        ("rotate", "right", "12 03", "01 32"),
        ("rotate", "half", "12 03", "30 21"),
        ("transpose", "falling", "120 003", "10 20 03"),
        ("transpose", "rising", "120 003", "30 02 01"),
        ("recolour", "1", "190", "210"),
        ("gravity", "down", "12 30 00", "00 10 32"),
        ("gravity", "up", "00 10 32", "12 30 00"),
        ("gravity", "left", "012 300", "120 300"),
        ("gravity", "right", "120 300", "012 003"),
        ("outline", "2", "0000 0100 0000", "2220 2120 2220"),
        ("fill", "3", "1110 1010 1110", "1110 1310 1110"),
        ("fill", "3", "1110 1000 1110", "1110 1000 1110"),
        ("move", "1,0", "12 34", "00 12"),
        ("move", "-1,-1", "12 34", "40 00"),
        ("crop", "largest", "1100 0000 0222 0020", "222 020"),
        ("crop", "smallest", "1100 0000 0222 0020", "11"),
        ("repeat", "right", "12 03", "1212 0303"),
        ("repeat", "down", "12 03", "12 03 12 03"),
        ("symmetrise", "left-right", "12345", "12321"),
        ("symmetrise", "up-down", "12 34", "12 12"),
        ("keep", "most", "112 020 001", "110 000 001"),
        ("keep", "least", "1112 0200", "0002 0200"),
    ],
)
def test_a_primitive_does_what_its_name_says(primitive: str, choice: str, before: str, after: str) -> None:
    found = applied((Step(primitive, choice),), grid(before))
    assert found.tolist() == grid(after).tolist()


def test_a_composition_is_one_after_the_other() -> None:
    rule = (Step("reflect", "left-right"), Step("gravity", "down"))
    assert applied(rule, grid("100 020")).tolist() == grid("000 021").tolist()


def test_no_rule_is_another_and_no_pair_of_the_test_is_trained() -> None:
    train, test = rules(60, 40, seed=1)
    assert (len(train), len(test)) == (60, 40)
    assert {rule[0].primitive for rule in train if len(rule) == 1} == set(PRIMITIVES)
    alone = {rule[0] for rule in train if len(rule) == 1}
    assert {step for rule in train + test for step in rule} == alone
    assert all(len(rule) == 2 for rule in test)
    pairs = {tuple(step.primitive for step in rule) for rule in train if len(rule) == 2}
    assert not pairs & {tuple(step.primitive for step in rule) for rule in test}
    assert rules.__wrapped__(60, 40, seed=1) == (train, test)
    assert rules(60, 40, seed=2) != (train, test)
    grids = [random_grid(random.Random(index)) for index in range(60)]
    done = {
        tuple(applied(rule, one).tobytes() + bytes(applied(rule, one).shape) for one in grids)
        for rule in train + test
    }
    assert len(done) == 100


def test_the_suites_forty_compositions_put_together_steps_of_its_sixty_rules() -> None:
    train, test = rules(60, 40, DATA_SEED, 6, True)
    assert (len(train), len(test)) == (60, 40)
    assert {step for rule in test for step in rule} <= {rule[0] for rule in train if len(rule) == 1}
    assert {rule[0].primitive for rule in train if len(rule) == 1} == set(PRIMITIVES)


def like(rule: arc_rules.Rule, pairs: list[tuple[arc_rules.Grid, arc_rules.Grid]]) -> float:
    """Share of the pairs on which the rule does right."""
    return sum(np.array_equal(applied(rule, before), after) for before, after in pairs) / len(pairs)


def test_no_composition_is_a_primitive_or_another_rule_on_grids_that_show_it() -> None:
    train, test = rules(60, 40, seed=1)
    source = random.Random(7)
    for place, rule in enumerate(train + test):
        if len(rule) == 1:
            continue
        pairs = [example(rule, source) for _ in range(20)]
        assert max(like((step,), pairs) for step in STEPS) == 0.0
        others = (train + test)[:place]
        assert max(like(other, pairs) for other in others) <= 0.7, "a quarter, and the chance of twenty grids"


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("rotate half, reflect left-right", "is to reflect up-down"),
        ("transpose falling, reflect up-down", "is to rotate"),
        ("recolour 2, recolour 7", "leaves all as it was"),
        ("fill 3, reflect left-right", "mostly finds nothing to fill in grids of 3 × 3"),
        ("gravity down, recolour 2", "is the same in the other order, which is known"),
    ],
)
def test_a_composition_that_does_nothing_of_its_own_is_refused(steps: str, why: str) -> None:
    known = arc_rules._Known(1, 3 if "fill" in steps else LARGEST, True)
    rule = tuple(Step(*step.split()) for step in steps.split(", "))
    other = (Step("recolour", "2"), Step("gravity", "down"))
    assert known.new([other], 1) == [other]
    assert known.new([rule], 1) == [], why
    assert known.rules == [other]


def test_examples_show_their_rule_and_fit() -> None:
    train, test = rules(60, 40, seed=1)
    source = random.Random(0)
    for rule in train + test:
        before, after = example(rule, source)
        assert not np.array_equal(before, after)
        assert (
            len(rule) == 1
            or like((), [(before, after)]) == max(like((s,), [(before, after)]) for s in STEPS) == 0
        )
        assert after.any()
        assert max(*before.shape, *after.shape) <= LARGEST
        assert np.array_equal(applied(rule, before), after)


def test_sides_are_drawn_or_as_large_as_a_rule_leaves_room_for() -> None:
    def sides(**settings: Any) -> set[tuple[int, int]]:
        task = made(largest=6, canvas=7, train_rules=24, **settings)
        pairs = [pair for rule in task.unseen for pair in rule.demonstrations + rule.hidden]
        known = [arc_canvas.read(canvas[1:].view(7, 7).numpy()) for canvas in task.splits["train"].inputs]
        return {found.shape for found in [before for before, _ in pairs] + known if found is not None}

    assert len(sides()) > 9
    # A rule that repeats a grid doubles it.
    assert sides(sides="largest") == {(6, 6), (3, 3)}


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="are more than there are"):
        rules(60, 4000, seed=1)
    with pytest.raises(ValidationError, match="8 are too few; needs 9 or more"):
        ArcMadeConfig(canvas=8)


def test_a_canvas_is_read_back_and_anything_else_is_no_grid() -> None:
    for seed in range(30):
        one = random_grid(random.Random(seed))
        assert np.array_equal(arc_canvas.read(arc_canvas.placed(one, 12)), one)
    canvas = arc_canvas.placed(grid("12 34"), 5)
    canvas[1, 1] = arc_canvas.BACKGROUND
    assert arc_canvas.read(canvas) is None
    assert arc_canvas.read(np.zeros((5, 5), dtype=np.int64)) is None
    assert arc_canvas.read(np.full((5, 5), arc_canvas.BORDER)) is None


@pytest.mark.parametrize("view", range(arc_canvas.NUM_VIEWS))
def test_a_view_is_undone(view: int) -> None:
    one = grid("123 045")
    assert np.array_equal(arc_canvas.unviewed(arc_canvas.viewed(one, view), view), one)
    seen = {arc_canvas.viewed(one, v).tobytes() + bytes(arc_canvas.viewed(one, v).shape) for v in range(8)}
    assert len(seen) == 8


def test_moving_keeps_both_grids_whole_and_together() -> None:
    task = made()
    batch = next(task.batches("validation", 28))
    other = task.augmented(batch, torch.Generator().manual_seed(0))
    assert torch.equal(other.inputs[:, 0], batch.inputs[:, 0])
    changed = False
    for old, new in zip(range(28), range(28), strict=True):
        corners = []
        for before, after in (
            (batch.inputs[old, 1:], other.inputs[new, 1:]),
            (batch.targets[old], other.targets[new]),
        ):
            one, two = before.view(12, 12), after.view(12, 12)
            rows, columns = (two != arc_canvas.BACKGROUND).nonzero().amin(0).tolist()
            corners.append((rows, columns))
            assert torch.equal(torch.roll(one, (rows, columns), (0, 1)), two)
            assert (two != arc_canvas.BACKGROUND).sum() == (one != arc_canvas.BACKGROUND).sum()
        assert corners[0] == corners[1]
        changed |= corners[0] != (0, 0)
    assert changed


def test_votes_go_by_number_then_by_likelihood() -> None:
    one, two, three = grid("1"), grid("2"), grid("33")
    answers = [
        arc_canvas.Answer(one, -0.1),
        arc_canvas.Answer(two, -0.5),
        arc_canvas.Answer(two, -0.9),
        arc_canvas.Answer(None, 0.0),
        arc_canvas.Answer(three, -0.2),
    ]
    assert [found.tolist() for found in arc_canvas.ranked(answers)] == [[[2]], [[1]], [[3, 3]]]
    assert arc_canvas.ranked([arc_canvas.Answer(None, 0.0)]) == []


def canvas_logits(canvases: Tensor) -> Tensor:
    return 9.0 * torch.nn.functional.one_hot(canvases, arc_canvas.NUM_MARKS).float()[:, None]


def test_a_grid_counts_if_shape_and_every_cell_are_right() -> None:
    task = made()
    batch = next(task.batches("test", 28))
    assert task.scores(canvas_logits(batch.targets), batch).mean() == 1.0
    outside = batch.targets.clone()
    outside[:, -1] = 3  # the canvas's last corner, where no grid reaches
    assert task.scores(canvas_logits(outside), batch).mean() == 1.0
    wrong = batch.targets.clone()
    wrong[:, 0] = (wrong[:, 0] + 1) % 10
    assert task.scores(canvas_logits(wrong), batch).mean() == 0.0
    wide = batch.targets.clone().view(-1, 12, 12)
    wide[torch.arange(28), 0, (wide[:, 0] >= 10).int().argmax(1)] = 0  # a column more
    assert task.scores(canvas_logits(wide.flatten(1)), batch).mean() == 0.0


class Knows(torch.nn.Module):
    """Applies the rule that its parameter points to; training at test time is what points it there."""

    def __init__(self, task: ArcMade) -> None:
        super().__init__()
        self.task_tokens = torch.nn.Embedding(task.inputs.task_tokens, 4)
        self.scale = torch.nn.Parameter(torch.zeros(()))
        self.pairs = {
            arc_canvas.placed(arc_canvas.viewed(before, view), 12).tobytes(): arc_canvas.placed(
                arc_canvas.viewed(after, view), 12
            )
            for rule in task.unseen
            for before, after in rule.demonstrations + rule.hidden
            for view in range(8)
        }

    def forward(self, inputs: Tensor) -> Output:
        cells = inputs[:, 1:].numpy()
        known = [self.pairs.get(row.tobytes(), row.reshape(12, 12)) for row in cells]
        right = canvas_logits(torch.from_numpy(np.stack(known)).flatten(1))
        return Output(self.scale * right + 0.01 * canvas_logits(inputs[:, 1:]), [])


def test_training_at_test_time_is_what_solves_hidden_grids_and_leaves_the_model_as_it_was() -> None:
    task = made(adaptation_steps=3, adaptation_rate=0.5)
    model = Knows(task)
    before = copy.deepcopy(model.state_dict())
    found = task.evaluate(model, "test", torch.device("cpu"))
    name = "grids_solved"
    assert found[f"{name}_unadapted"].value < 0.1
    for key in (name, f"{name}_two_answers", f"{name}_any_view", f"{name}_single_view"):
        assert (found[key].value, found[key].count) == (1.0, 12)
    assert (found[f"{name}_demonstrations"].value, found[f"{name}_demonstrations"].count) == (1.0, 9)
    assert task.seconds["test_time_training"] > 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize("name", ["softmax", "kope", "akorn"])
def test_a_model_adapts_the_same_way_twice(name: str) -> None:
    task = made()
    model = model_of(task, name, **({"steps": 2} if name == "akorn" else {}))
    model.calibrate(next(task.batches("validation", 4)).inputs)
    first, second = (task.evaluate(model, "test", torch.device("cpu")) for _ in range(2))
    assert first == second
    assert set(task.evaluate(model, "validation", torch.device("cpu"))) == {"grids_solved"}
    assert first["grids_solved_trained_rules"].count == 28


def test_with_one_view_a_new_rule_has_one_token_and_one_answer() -> None:
    task = made(views=1, adaptation_steps=2)
    assert task.inputs.task_tokens == task.known + 1
    model = model_of(task)
    found = task.evaluate(model, "test", torch.device("cpu"))
    one = found["grids_solved"].value
    assert [found[f"grids_solved_{of}"].value for of in ("single_view", "two_answers", "any_view")] == [
        one
    ] * 3
    examples = task._views(task.unseen[0].demonstrations, task.views)
    assert set(examples.inputs[:, 0].tolist()) == {task.known}
    for before, (shown, _) in zip(examples.inputs[:, 1:], task.unseen[0].demonstrations, strict=True):
        canvas = before.view(task.config.canvas, task.config.canvas).numpy()
        assert np.array_equal(arc_canvas.read(canvas), shown), "as it is"


def test_a_rules_token_is_heard_by_its_cells() -> None:
    task = made()
    model = model_of(task).eval()
    inputs = next(task.batches("validation", 2)).inputs
    other = inputs.clone()
    other[:, 0] += 1
    assert model(inputs).prediction.shape == (2, 1, 144, arc_canvas.NUM_MARKS)
    assert not torch.allclose(model(inputs).prediction, model(other).prediction)


def test_a_rules_token_can_be_added_to_its_cells() -> None:
    task = made()
    batch, other = (task.splits["validation"].inputs[:1].clone() for _ in range(2))
    other[:, 0] = 5
    for mechanism, token, heard in (
        ("softmax", "before", False),
        ("softmax", "added", True),
        ("torus", "added", True),
    ):
        model = model_of(task, mechanism, token)
        cells = [model.embed(inputs)[:, 1:] for inputs in (batch, other)]
        assert torch.equal(*cells) != heard
        gap = (
            model.task_tokens.weight[5] - model.task_tokens.weight[batch[0, 0]] if heard else torch.zeros(16)
        )
        assert torch.allclose(cells[1] - cells[0], gap.expand(1, 144, 16), atol=1e-6)


def test_data_are_fixed() -> None:
    assert made().data_hash() == made().data_hash()
    assert made().data_hash() != made(hidden_grids=5).data_hash()


def test_a_seed_may_draw_its_own_grids_of_training_and_keeps_rules_and_test() -> None:
    config = ArcMadeConfig.model_validate({**SMALL, "draw": "per_seed"})
    one, other = (ArcMade.for_seed(config, seed) for seed in (3, 4))
    fixed = made()
    for split in ("train", "validation"):
        assert not torch.equal(one.splits[split].inputs, other.splits[split].inputs)
        assert torch.equal(one.splits[split].inputs[:, 0], other.splits[split].inputs[:, 0])
    assert one.rules == other.rules == fixed.rules
    for name, tensor in fixed.tensors().items():
        if "train" not in name and "validation" not in name:
            assert torch.equal(one.tensors()[name], tensor)
    assert torch.equal(ArcMade.for_seed(config, 0).splits["train"].inputs, fixed.splits["train"].inputs)
    assert ArcMade.for_seed(config, 3).data_hash() == one.data_hash() != other.data_hash()


def test_floors_solve_what_needs_no_other_cell_and_nothing_else() -> None:
    task = made(train_rules=20, train_pairs=60)
    assert set(ArcMade.floors(task.config)) == {"chance", "bag", "step", "rule"}
    same, own = (task.floor(name) for name in ("chance", "bag"))
    found = task.evaluate(same, "test", torch.device("cpu"))
    assert {score.value for score in found.values()} == {0.0}, "a rule changes every grid that it is shown on"
    train, _ = rules(20, 3, seed=DATA_SEED)
    alone = torch.tensor([rule[0].primitive == "recolour" and len(rule) == 1 for rule in train])
    assert alone.any()
    right = torch.cat(
        [task.scores(own(batch.inputs).prediction, batch) for batch in task.batches("test", 256)]
    )
    recoloured = alone[torch.cat([batch.inputs[:, 0] for batch in task.batches("test", 256)])]
    assert right[recoloured].mean() == 1.0, "a colour's new name is told by the colour alone"
    assert right[~recoloured].mean() < 0.2
    before = copy.deepcopy(same.state_dict())
    task._adapt(same, task.unseen[0], 0, torch.device("cpu"))
    assert all(torch.equal(value, before[key]) for key, value in same.state_dict().items())
    task.evaluate(own, "test", torch.device("cpu"))


def test_the_floors_that_try_rules_know_those_of_training_and_no_composition_of_the_test() -> None:
    task = made(train_pairs=20)
    step, rule = (task.evaluate(task.floor(name), "test", torch.device("cpu")) for name in ("step", "rule"))
    name = "grids_solved"
    assert step[name].value == step[f"{name}_any_view"].value == step[f"{name}_demonstrations"].value == 0.0
    assert rule[name].value < 0.5
    assert rule[f"{name}_trained_rules"].value == 1.0
    alone = sum(len(rule) == 1 for rule in task.rules) / len(task.rules)
    assert step[f"{name}_trained_rules"].value == pytest.approx(alone)


def test_a_floor_that_tries_rules_is_right_where_one_of_them_is() -> None:
    task = made()
    source = random.Random(0)
    for place, rule in enumerate((task.rules[3], task.rules[-1])):
        pairs = [example(rule, source) for _ in range(7)]
        task.unseen[place] = Unseen("known", pairs[:3], pairs[3:])
    floor = task.floor("rule")
    before = dict(floor.chosen)
    found = task.evaluate(floor, "test", torch.device("cpu"))
    assert found["grids_solved"].value >= 8 / 12
    assert found["grids_solved_unadapted"].value == 0.0
    assert floor.chosen == before, "a copy learned"


def test_the_best_rule_is_that_which_most_examples_bear_out() -> None:
    left, down, twice = ((Step(*words.split()),) for words in ("gravity left", "gravity down", "repeat down"))
    floor = BestRule([down, left, twice], [], side=5)
    grids = [grid("010 002 030"), grid("004 400 040"), grid("100 000 000")]
    floor.learn(0, [(one, applied(left, one)) for one in grids])
    floor.learn(1, [(one, applied(twice, one)) for one in grids])
    canvas = torch.from_numpy(arc_canvas.placed(grid("012 300 004"), 5)).flatten()
    rows = torch.stack([torch.cat((torch.tensor([token]), canvas)) for token in range(3)])
    answers = [arc_canvas.read(x.view(5, 5).numpy()) for x in floor(rows).prediction[:, -1].argmax(-1)]
    assert np.array_equal(answers[0], grid("120 300 400"))
    assert answers[1] is None, "six rows have no place"
    assert answers[2] is None, "nobody showed this token's rule"
