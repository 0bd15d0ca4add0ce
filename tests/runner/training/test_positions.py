"""Position is a factor: one vocabulary for every entry, one spelling in a spec, and what a mechanism cannot have is refused or left out."""

from __future__ import annotations

import pytest
import torch

from oscbench import catalog
from oscbench.positions import POSITIONS, joined, parted
from oscbench.records.identity import identity
from oscbench.runner.plan import make_plan
from oscbench.runner.session import dry_run
from oscbench.runner.training.entries import position_of
from oscbench.runner.training.search import searches, with_choices
from oscbench.runner.training.space import given_values, with_values
from oscbench.runner.training.specs import match_spec, parts_of
from oscbench.suite import SuiteError, load_suite

SOFTMAX = ("none", "learned", "sinusoidal")
OWN = ("own", "learned+own", "sinusoidal+own")


@pytest.fixture
def plan(tiny):
    def make(mechanisms, **changes):
        loaded = load_suite(str(tiny(mechanisms=mechanisms, **changes)))
        return make_plan(loaded, only=[], device="cpu")

    return make


def built(cell):
    parts = parts_of(cell.spec)
    inputs = parts.task_class.describe(parts.task_config)
    with torch.device("meta"):
        hidden = match_spec(cell.spec, inputs).hidden
        return parts.build(cell.spec["mechanism"], hidden, 0, inputs)


def test_vocabulary_parts_and_joins():
    assert [joined(*parted(position)) for position in POSITIONS] == list(POSITIONS)
    assert parted("own") == ("none", True)
    assert parted("sinusoidal+own") == ("sinusoidal", True)


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_every_mechanism_runs_at_each_position_that_it_allows_and_at_no_other(name, plan):
    allowed = catalog.load("mechanisms", name).positions({})
    assert allowed in (SOFTMAX, OWN, POSITIONS)
    cells = plan(f"[{{name: {name}, grid: {{position: [{', '.join(allowed)}]}}}}]")
    assert [cell.given["position"] for cell in cells] == list(allowed)
    assert len({cell.identity for cell in cells}) == len(allowed)
    assert len({cell.protocol for cell in cells}) == 1
    for cell, position in zip(cells, allowed, strict=True):
        model = built(cell)
        added, own = parted(position)
        assert model.added.mode == added
        assert model.trunk.mechanism.has_own_position(model.trunk.mechanism.config) == own
        assert model.trunk.mechanism.traits.order_sensitive >= own
    for position in set(POSITIONS) - set(allowed):
        with pytest.raises(SuiteError, match=r"mechanisms\[0\].position: .* cannot have") as caught:
            plan(f"[{{name: {name}, position: {position}}}]")
        assert "\n" not in str(caught.value)


def test_default_position_is_said_and_written_out_it_is_the_same_cell(plan):
    usual = {
        "softmax": "learned",
        "rope": "own",
        "kope": "learned+own",
        "torus": "own",
        "ssa": "none",
        "fixed_query": "own",
    }
    for name, position in usual.items():
        (as_given,) = plan(f"[{name}]")
        (written,) = plan(f"[{{name: {name}, variant: default, position: {position}}}]")
        assert as_given.given["position"] == position_of(as_given.spec) == position
        assert written.identity == as_given.identity
        assert "own_model" not in written.spec


def test_settings_that_said_a_position_before_are_the_same_cells(plan):
    for name, settings, position in (
        ("rope", "{position: learned}", "learned+own"),
        ("ssa", "{position: learned}", "learned"),
        ("torus", "{drift: false}", "learned"),
    ):
        (earlier,) = plan(f"[{{name: {name}, variant: x, settings: {settings}}}]")
        (now,) = plan(f"[{{name: {name}, variant: x, position: {position}}}]")
        assert earlier.identity == now.identity, name


def test_suite_that_says_what_all_add_leaves_an_entry_its_own(plan):
    cells = plan("[softmax, {name: softmax, position: sinusoidal}]", model="{position: none}")
    assert [cell.given["position"] for cell in cells] == ["none", "sinusoidal"]
    assert cells[1].spec["own_model"] == {"position": "sinusoidal"}
    assert cells[0].protocol == cells[1].protocol


def test_reference_of_the_matching_keeps_the_suites_model(plan):
    added, bare = plan("[{name: softmax, grid: {position: [learned, none]}}]")
    sizes = [sum(p.numel() for p in built(cell).parameters()) for cell in (added, bare)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert built(bare).trunk.hidden > built(added).trunk.hidden


def test_suite_crosses_entries_with_positions_and_says_what_it_left_out(tiny, tmp_path, capfd):
    suite = tiny(
        mechanisms="[softmax, kope, torus, {name: rope, variant: fixed, position: own}]",
        positions="[none, learned, own]",
        train="{steps: 1, batch_size: 8}",
    )
    rows, *_ = dry_run(str(suite), results=tmp_path / "results", only=[], overrides=[])
    found = [(row["mechanism"], row["variant"], row["position"]) for row in rows]
    assert found == [
        ("softmax", "position=none", "none"),
        ("softmax", "position=learned", "learned"),
        ("kope", "position=own", "own"),
        ("torus", "position=none", "none"),
        ("torus", "position=learned", "learned"),
        ("torus", "position=own", "own"),
        ("rope", "fixed", "own"),
    ]
    told = capfd.readouterr().err
    assert "left out: softmax: own; kope: none, learned" in told


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mechanisms": "[{name: softmax, position: learn}]"}, 'no position; did you mean "learned"?'),
        ({"mechanisms": "[softmax]", "positions": "[anchors]"}, '"anchors" is no position'),
        ({"mechanisms": "[softmax]", "positions": "[own]"}, "softmax can have none of the suite's positions"),
        ({"mechanisms": "[{name: torus, settings: {drift: false}, position: own}]"}, 'cannot have "own"'),
        ({"mechanisms": "[{name: softmax, model: {width: 3}}]"}, 'an entry has no "width" of its own'),
        ({"mechanisms": "[{name: softmax, model: {embedding_spread: 0}}]"}, "embedding_spread: got 0"),
        ({"mechanisms": "[{name: softmax, model: {position: none}}]"}, "an entry says `position`"),
        (
            {"mechanisms": "[{name: softmax, position: none, grid: {position: [none]}}]"},
            "position is both fixed and in the grid",
        ),
    ],
)
def test_mistakes_are_one_line(changes, expected, tiny):
    with pytest.raises(SuiteError) as caught:
        make_plan(load_suite(str(tiny(**changes))), only=[], device="cpu")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_spread_of_embeddings_reaches_embeddings_alone(plan):
    usual, wide = plan("[softmax, {name: softmax, model: {embedding_spread: 1.0}}]")
    assert wide.spec["own_model"] == {"embedding_spread": 1.0}
    assert usual.protocol == wide.protocol
    models = []
    for cell in (usual, wide):
        parts = parts_of(cell.spec)
        inputs = parts.task_class.describe(parts.task_config)
        models.append(parts.build(cell.spec["mechanism"], 16, 0, inputs))
    one, two = (dict(model.named_parameters()) for model in models)
    for name, weights in one.items():
        factor = 2.0 if name in ("added.table.weight", "cls.weight") else 1.0
        assert torch.equal(factor * weights, two[name]), name


def test_same_spread_as_the_suites_is_no_own_value(plan):
    cells = plan("[{name: softmax, model: {embedding_spread: 1.0}}]", model="{embedding_spread: 1.0}")
    assert "own_model" not in cells[0].spec
    assert cells[0].spec["model"]["embedding_spread"] == 1.0


def test_position_and_spread_are_searched_among_what_a_mechanism_can_have(tiny):
    space = (
        "{model.position: {choices: [none, learned, own]}, model.embedding_spread: {low: 0.25, high: 1.5}}"
    )
    loaded = load_suite(
        str(
            tiny(
                mechanisms="[softmax, torus, {name: rope, position: own}]",
                tune=f"{{trials: 2, seeds: 1, space: {space}}}",
            )
        )
    )
    cells = make_plan(loaded, only=[], device="cpu")
    found = {one.cell.spec["mechanism"]["name"]: one for one in searches(loaded.suite, loaded.source, cells)}
    assert found["softmax"].space["model.position"].choices == ["none", "learned"]
    assert found["torus"].space["model.position"].choices == ["none", "learned", "own"]
    assert set(found["rope"].space) == {"model.embedding_spread"}
    torus = found["torus"]
    assert given_values(torus.cell.spec, torus.space) == {
        "model.position": "own",
        "model.embedding_spread": 0.5,
    }
    chosen = with_values(torus.cell.spec, {"model.position": "none", "model.embedding_spread": 1.0}, "tune")
    assert chosen["own_model"] == {"position": "none", "embedding_spread": 1.0}
    assert chosen["mechanism"]["drift"] is False
    assert position_of(chosen) == "none"
    back = with_values(chosen, {"model.position": "own", "model.embedding_spread": 0.5}, "tune")
    assert identity(back) == torus.cell.identity
    assert with_choices(cells, []) == cells


def test_search_over_what_all_share_is_refused(tiny):
    tune = "{trials: 2, space: {model.width: {low: 8, high: 16}}}"
    with pytest.raises(SuiteError, match=r"tune.space.model.width: all entries share it"):
        make_plan(load_suite(str(tiny(tune=tune))), only=[], device="cpu")


def test_walks_are_planned_too(plan):
    """They are drawn on the CPU, where a model that is only planned lives on the meta device."""
    walk = "{name: kope, settings: {dynamics: random_walk}}"
    (cell,) = plan(f"[{walk}]", model="{width: 16, heads: 2, layers: 3, patch: 4}")
    assert cell.spec["mechanism"]["dynamics"] == "random_walk"
