"""Health sees a mixing that is the identity, a read-out that hears nobody, and a dead gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from measure_subjects import make_subject

from oscbench.measures import MeasureConfig, Subject
from oscbench.measures.health import Health, _flags, attention_quantities, phase_quantities
from oscbench.mechanisms.softmax import Softmax, SoftmaxConfig
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.records import HealthRow
from oscbench.tasks import Batch, SequenceInputs

NOBODY = torch.zeros(6, dtype=torch.bool)


def quantities(rows: torch.Tensor, special: torch.Tensor = NOBODY) -> dict[str, float]:
    return attention_quantities(rows.expand(2, 3, -1, -1), special)


def test_identity_and_uniform_are_the_two_ends() -> None:
    alone, alike = quantities(torch.eye(6)), quantities(torch.full((6, 6), 1 / 6))
    assert alone["attention_entropy"] == pytest.approx(0.0)
    assert alike["attention_entropy"] == pytest.approx(1.0)
    assert alone["attention_gini"] == pytest.approx(1.0)
    assert alike["attention_gini"] == pytest.approx(0.0)
    assert alone["identity_distance"] == 0.0
    assert alike["uniform_distance"] == pytest.approx(0.0)
    assert alone["uniform_distance"] == alike["identity_distance"] == pytest.approx(5 / 6)
    assert alone["alone_share"] == 1.0
    assert alike["alone_share"] == 0.0


def test_gini_and_entropy_of_a_known_row() -> None:
    row = torch.tensor([0.5, 0.25, 0.25, 0.0])
    found = attention_quantities(row.expand(1, 1, 4, 4), torch.zeros(4, dtype=torch.bool))
    assert found["attention_entropy"] == pytest.approx(1.5 * math.log(2) / math.log(4))
    # Σ (2i - N - 1) p_(i) / (N - 1), ascending: (-3·0 - 0.25 + 0.25 + 3·0.5) / 3
    assert found["attention_gini"] == pytest.approx(0.5)


def test_special_tokens_are_looked_at_apart() -> None:
    rows = torch.full((6, 6), 1 / 6)
    rows[0] = torch.eye(6)[0]
    first = torch.arange(6) == 0
    found = quantities(rows, first)
    assert found["special_alone_share"] == 1.0
    assert found["alone_share"] == pytest.approx(1 / 6)
    row = HealthRow(when="start", layer=0, quantities=found)
    assert any("CLS token hears only itself" in flag for flag in _flags([row], 0.0, "start"))


def test_phases_are_weighted_by_what_a_receiver_hears() -> None:
    phases = torch.tensor([0.0, 0.0, math.pi, math.pi])[None, None, :, None]
    weights = torch.block_diag(torch.full((2, 2), 0.5), torch.full((2, 2), 0.5))[None, None]
    found = phase_quantities(phases, weights)
    assert found["order_parameter"] == pytest.approx(0.0, abs=1e-6)
    assert found["synchrony"] == pytest.approx(1.0)


def test_words_that_the_probe_lacks_are_no_dead_parameters() -> None:
    """Most rows of a large table of embeddings have no gradient, and nothing is wrong; a frozen layer still is told."""

    class Task:
        def loss(self, prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(prediction.flatten(0, 1), batch.targets.flatten())

    inputs = SequenceInputs(vocabulary=5_000, length=6, num_outputs=7, is_causal=True)
    model = Sequence(
        SequenceConfig(width=16, heads=2, layers=1), inputs, Softmax, SoftmaxConfig(), hidden=None, seed=0
    )
    ids = torch.arange(12).reshape(2, 6) % 7
    subject = Subject(model, Task(), Batch(ids, ids), torch.device("cpu"), 2)  # type: ignore[arg-type]
    found = Health(Health.Config()).after(subject)
    assert found.measures["zero_gradient_share_end"].value > 0.9
    assert found.flags == []
    with torch.no_grad():
        model.head.weight.zero_()  # so that nothing before the head has a gradient
    dead = Health(Health.Config()).after(subject)
    assert [
        flag for flag in dead.flags if flag.endswith("of parameters have exactly zero gradient at the end")
    ]


def test_flags_name_layers_and_shares() -> None:
    rows = [
        HealthRow(when="end", layer=n, quantities={"identity_distance": d}) for n, d in enumerate((0.0, 0.5))
    ]
    assert _flags(rows, 0.4, "end") == [
        "mixing is the identity at the end (layers 0): tokens hear only themselves",
        "40% of parameters have exactly zero gradient at the end",
    ]
    assert _flags(rows[1:], 0.0, "end") == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"position": "none", "embedding_spread": 1.0, "pool": "mean"}, True),
        ({"position": "none", "pool": "mean"}, False),
        ({"position": "learned", "embedding_spread": 1.0, "pool": "mean"}, False),
        ({"position": "none", "embedding_spread": 1.0, "pool": "cls"}, False),
    ],
)
def test_a_start_that_starts_nothing_is_told(settings: dict[str, Any], told: bool) -> None:
    flags = Health(MeasureConfig()).before(make_subject(**settings)).flags
    words = "embedding_spread 1 changes nothing: this model has no embeddings"
    assert (words in flags) is told
    assert any("embedding_spread" in flag for flag in flags) is told


def row(layer=0, **quantities):
    return HealthRow(when="end", layer=layer, quantities=quantities)


def test_flags_are_raised_where_their_limits_are():
    assert _flags([row(identity_distance=0.019)], 0.0, "end")
    assert not _flags([row(identity_distance=0.021)], 0.0, "end")
    assert _flags([], 0.26, "end")
    assert not _flags([], 0.25, "end")
    # A token that hears others in one layer is not alone.
    assert not _flags([row(0, special_alone_share=1.0), row(1, special_alone_share=0.2)], 0.0, "end")
    assert _flags([row(0, special_alone_share=1.0), row(1, special_alone_share=1.0)], 0.0, "end")


@pytest.mark.parametrize(("own", "share"), [(0.985, 1.0), (0.975, 0.0)])
def test_a_token_is_alone_that_keeps_nearly_all_of_its_attention(own, share):
    rows = torch.full((1, 1, 2, 2), 1 - own, dtype=torch.float64)
    rows[..., [0, 1], [0, 1]] = own
    assert attention_quantities(rows, torch.zeros(2, dtype=torch.bool))["alone_share"] == share
