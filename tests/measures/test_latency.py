"""Latency: generation is timed where a model generates, and elsewhere the reason is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from measure_subjects import make_subject
from pydantic import ValidationError

from oscbench import catalog
from oscbench.measures import Subject
from oscbench.measures.latency import Latency, LatencyConfig, next_token, per_second, prompted
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.records.schema import Measurement
from oscbench.tasks import Batch, SequenceInputs

QUICK = {"passes": (), "seconds": 0.05, "min_rounds": 1}


def sequence_subject(name: str = "kope", settings: dict[str, Any] | None = None, **inputs: Any) -> Subject:
    found = catalog.load("mechanisms", name)
    about = SequenceInputs(**{"vocabulary": 9, "length": 16, "num_outputs": 9, "is_causal": True, **inputs})
    config = SequenceConfig(width=16, heads=2, layers=2)
    model = Sequence(config, about, found, found.Config(**(settings or {})), hidden=None, seed=0)
    ids = torch.randint(0, 9, (4, 16), generator=torch.Generator().manual_seed(0))
    task: Any = None  # generation asks nothing of it
    return Subject(model, task, Batch(ids, ids), torch.device("cpu"), 4)


def found_of(subject: Subject, **settings: Any) -> dict[str, Measurement]:
    return Latency(LatencyConfig(**{**QUICK, **settings})).after(subject).measures


def test_one_more_token_is_timed_at_several_lengths_of_the_cache() -> None:
    subject = sequence_subject()
    found = found_of(subject, generated_batch_size=2)
    assert list(found) == ["token_after_4_s", "token_after_8_s", "token_after_15_s", "generated_tokens_per_s"]
    for cached in (4, 8, 15):
        timed = found[f"token_after_{cached}_s"]
        assert (timed.unit, timed.direction) == ("s", "lower")
        assert timed.value is not None
        assert timed.value > 0
        # KoPE: 4 D numbers a token in the first layer and 2 D in the last, float32, two sequences.
        assert timed.details["cache_bytes"] == 2 * (cached + 1) * 6 * 16 * 4
        assert timed.details["flops"] == 2 * subject.model.token_flops(cached + 1)
    whole = found["generated_tokens_per_s"]
    assert (whole.unit, whole.direction) == ("tokens/s", "higher")
    assert whole.value is not None
    assert whole.value > 0
    assert whole.details["new_tokens"] == 13
    assert subject.model.training


def test_a_step_is_always_the_same_step() -> None:
    model = sequence_subject().model
    assert isinstance(model, Sequence)
    ids = torch.arange(8)[None]
    cache = prompted(model, ids[:, :7])
    contender = next_token(model, ids[:, 7:], cache)
    assert contender.prepare is not None
    for _ in range(3):
        (copied,) = contender.prepare()
        contender.run(copied)
        assert (cache.num_tokens, copied.num_tokens) == (7, 8)


def test_tokens_a_second_are_tokens_over_seconds() -> None:
    timed = Measurement(value=0.5, unit="s", label="it", samples=(0.25, 0.5, 1.0), n=3)
    found = per_second(timed, 10)
    assert found.value == 20.0
    assert found.samples == (40.0, 20.0, 10.0)


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (make_subject(), "only causal sequence models generate"),
        (sequence_subject(is_causal=False), "only causal sequence models generate"),
        (sequence_subject(num_outputs=3), "its 3 outputs are not the 9 token ids"),
        (sequence_subject("fixed_query", {"dynamics": "ode"}), "dopri5 chooses its steps for all positions"),
    ],
)
def test_elsewhere_it_says_why_not(subject: Subject, said: str) -> None:
    found = found_of(subject)
    assert list(found) == ["generated_tokens_per_s"]
    nothing = found["generated_tokens_per_s"]
    assert nothing.value is None
    assert nothing.unit == "tokens/s"
    assert nothing.reason is not None
    assert said in nothing.reason


def test_lists_of_a_suite_are_taken_as_they_stand_in_yaml() -> None:
    settings = {"passes": ["forward"], "modes": ["eager"], "cached_tokens": [3, 5]}
    config = LatencyConfig.model_validate(settings, strict=True)
    assert (config.passes, config.modes, config.cached_tokens) == (("forward",), ("eager",), (3, 5))
    with pytest.raises(ValidationError, match="'forward', 'backward' or 'step'"):
        LatencyConfig.model_validate({"passes": ["forwards"]}, strict=True)


def test_lengths_can_be_chosen_or_left_out() -> None:
    assert found_of(sequence_subject(), cached_tokens=()) == {}
    found = found_of(sequence_subject(), cached_tokens=(3, 16))
    assert found["token_after_3_s"].value is not None
    assert found["token_after_16_s"].value is None
    assert found["token_after_16_s"].reason == "the probe has 16 tokens, so 1 to 15 can be cached"
