"""Controls: one entry matched otherwise than its suite, on purpose and out loud."""

from __future__ import annotations

import pytest
from command_line import records, run

from oscbench.records import identity
from oscbench.runner.plan import make_plan
from oscbench.runner.training.specs import as_reference, match_spec, parts_of
from oscbench.suite import SuiteError, load_suite

CONTROL = "{name: softmax, variant: kope-flops, match: {by: flops, reference: kope}}"


def planned(path):
    return {cell.spec["variant"]: cell for cell in make_plan(load_suite(str(path)), only=[], device="cpu")}


def built(cell):
    parts = parts_of(cell.spec)
    inputs = parts.task_class.describe(parts.task_config)
    matched = match_spec(cell.spec, inputs)
    return matched, parts.build(cell.spec["mechanism"], matched.hidden, 0, inputs)


def test_control_spends_what_the_suites_own_model_spends(tiny):
    deep = "{width: 16, heads: 2, layers: 3, patch: 2}"
    cells = planned(tiny(model=deep, mechanisms=f"[softmax, {{name: kope, variant: ours}}, {CONTROL}]"))
    _, kope = built(cells["ours"])
    matched, control = built(cells["kope-flops"])
    _, softmax = built(cells["default"])
    assert matched.by == "flops"
    assert matched.target == kope.flops(), "of KoPE as the suite matches it, not as wide as its settings say"
    assert abs(control.flops() / kope.flops() - 1) <= 0.01
    assert control.flops() > 1.02 * softmax.flops()


def test_control_shares_the_protocol_and_changes_nobody_elses_identity(tiny):
    with_control = planned(tiny(mechanisms=f"[softmax, {{name: kope, variant: ours}}, {CONTROL}]"))
    without = planned(tiny(mechanisms="[softmax, {name: kope, variant: ours}]"))
    for variant, cell in without.items():
        assert with_control[variant].identity == cell.identity
        assert "own_match" not in cell.spec
    assert len({cell.protocol for cell in with_control.values()}) == 1
    control = with_control["kope-flops"].spec
    other = {**control, "own_match": {**control["own_match"], "tolerance": 0.02}}
    assert identity(other) != with_control["kope-flops"].identity


def test_what_a_control_leaves_out_is_the_suites(tiny):
    match = "{by: flops, reference: {name: rope}, tolerance: 0.03}"
    path = tiny(match=match, mechanisms="[softmax, {name: kope, variant: wide, match: {tolerance: 0.05}}]")
    own = planned(path)["wide"].spec["own_match"]
    assert (own["by"], own["reference"]["name"], own["tolerance"]) == ("flops", "rope", 0.05)


def test_reference_stands_at_its_own_position(tiny):
    """A learned table of positions is parameters of the reference, and so of the target."""
    entries = "[{name: softmax, position: none}, {name: rope, position: own}]"
    usual, placed = (
        planned(tiny(mechanisms=entries, match=match))["position=none"]
        for match in ("{reference: softmax}", "{reference: {name: softmax, position: none}}")
    )
    learned, none = built(usual)[0].target, built(placed)[0].target
    parts = parts_of(usual.spec)
    inputs = parts.task_class.describe(parts.task_config)
    softmax = parts_of(as_reference(usual.spec)).build({"name": "softmax"}, None, 0, inputs)
    assert learned - none == softmax.added.table.weight.numel()
    assert "own_model" not in usual.spec["match"]
    assert placed.spec["match"]["own_model"] == {"position": "none"}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{by: flop}", 'mechanisms[0].match.by: got "flop"'),
        ("{reference: kopee}", 'mechanisms[0].match.reference.name: got "kopee"; did you mean "kope"?'),
        ("{reference: {name: kope, settings: {gama: 1}}}", "match.reference.settings.gama: unknown key"),
        ("{reference: {name: kope, position: ownn}}", 'match.reference.position: got "ownn"'),
        (
            "{reference: {name: softmax, position: own}}",
            'mechanisms[0].match.reference.position: softmax cannot have "own"',
        ),
        (
            "{referenc: kope}",
            'mechanisms[0].match.referenc: unknown key "referenc"; did you mean "reference"?',
        ),
    ],
)
def test_mistakes_in_a_control_name_its_place(tiny, match, expected):
    with pytest.raises(SuiteError) as caught:
        planned(tiny(mechanisms=f"[{{name: softmax, variant: x, match: {match}}}]"))
    assert expected in str(caught.value)


def test_record_of_a_control_says_so(tiny, tmp_path):
    suite = tiny(train="{steps: 1, batch_size: 8}", mechanisms=f"[{CONTROL}]")
    assert run(suite, tmp_path / "results", jobs=1) == 0
    (record,) = records(tmp_path / "results").values()
    assert record.matching.control
    assert (record.matching.by, record.matching.reference) == ("flops", "kope")
