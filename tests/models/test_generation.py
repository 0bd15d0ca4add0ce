"""Stepping is the full pass: every mechanism in the catalog, with each of its examples, in whole models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oscbench import catalog
from oscbench.mechanisms.softmax import Softmax
from oscbench.models import generation
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.ops.decode import Cache
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.flops import flop_counter
from oscbench.tasks import SequenceInputs

LENGTH = 24
INPUTS = SequenceInputs(vocabulary=11, length=LENGTH, num_outputs=11, is_causal=True, padding=0)


def cases(*, cacheable: bool | None = None) -> list[Any]:
    found = []
    for name in catalog.names("mechanisms"):
        for settings in ({}, *catalog.load("mechanisms", name).examples):
            traits = build(name, settings).trunk.mechanism.traits
            if cacheable in (None, traits.cacheable):
                label = "+".join(f"{key}={value}" for key, value in settings.items()) or "default"
                found.append(pytest.param(name, settings, id=f"{name}-{label}"))
    return found


def build(name: str | type, settings: dict[str, Any], inputs: Any = INPUTS, **model: Any) -> Sequence:
    found: Any = catalog.load("mechanisms", name) if isinstance(name, str) else name
    config = SequenceConfig(**{"width": 16, "heads": 2, "layers": 3, **model})
    return Sequence(config, inputs, found, found.Config(**settings), hidden=None, seed=0).eval()


def calibrated(name: str, settings: dict[str, Any], **model: Any) -> Sequence:
    made = build(name, settings, **model)
    ids = tokens(seed=7)
    made.trunk.calibrate(made.embed(ids), made.context(ids))
    return made


def tokens(num: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randint(1, 11, (2, num), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def stepped(model: Sequence, ids: Tensor, prompt: int) -> Tensor:
    """Logits of a whole prompt, then of one token at a time."""
    cache = Cache(ids.shape[1])
    found = [model.proceed(ids[:, :prompt], cache)]
    found += [model.proceed(ids[:, i : i + 1], cache) for i in range(prompt, ids.shape[1])]
    return torch.cat(found, dim=1)


def relative(out: Tensor, expected: Tensor) -> float:
    """Largest error of a position's logits over the size of its logits."""
    return float(((out - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize(("prompt", "position"), [(1, "learned"), (9, "sinusoidal")])
@pytest.mark.parametrize(("name", "settings"), cases(cacheable=True))
def test_stepping_gives_the_logits_of_the_full_pass(
    name: str, settings: dict[str, Any], prompt: int, position: str, dtype: torch.dtype, limit: float
) -> None:
    """With positions, so that no two tokens are equal: among equals, top_k takes any."""
    model = calibrated(name, settings, position=position).to(dtype)
    ids = tokens()
    with torch.no_grad():
        full = model(ids).prediction
    assert relative(stepped(model, ids, prompt), full) < limit


@torch.no_grad()
@pytest.mark.parametrize(("name", "settings"), cases(cacheable=True))
def test_stepping_through_repeated_blocks_gives_the_logits_of_the_full_pass(
    name: str, settings: dict[str, Any]
) -> None:
    model = calibrated(name, settings, layers=2, repeats=3, position="learned").double()
    ids = tokens(12)
    assert relative(stepped(model, ids, 5), model(ids).prediction) < 1e-9


@torch.no_grad()
@pytest.mark.parametrize(("name", "settings"), cases(cacheable=True))
def test_half_precision_steps_as_near_as_its_full_pass(name: str, settings: dict[str, Any]) -> None:
    model = calibrated(name, settings, position="learned")
    ids = tokens()
    exact = model.double()(ids).prediction
    near = stepped(model.bfloat16(), ids, 9)
    assert near.dtype == torch.bfloat16
    assert float((near.double() - exact).norm() / exact.norm()) < 2e-2


@torch.no_grad()
def test_after_the_prompt_one_token_comes_at_a_time() -> None:
    model, cache = build("torus", {}), Cache(9)
    model.proceed(tokens(4), cache)
    with pytest.raises(ValueError, match="one token at a time, got 2"):
        model.proceed(tokens(2), cache)


class Forgetful(Softmax):
    """Says that it can be cached, and keeps nothing."""

    def _attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, context: Any) -> Tensor:
        from dataclasses import replace

        return super()._attend(layer, q, k, v, replace(context, cache=None))


def test_a_mechanism_that_says_so_and_keeps_nothing_fails_that_test() -> None:
    model = build(Forgetful, {}).double()
    assert model.trunk.mechanism.traits.cacheable
    ids = tokens()
    with torch.no_grad():
        full = model(ids).prediction
    assert relative(stepped(model, ids, 9), full) > 1e-2


@pytest.mark.parametrize(("name", "settings"), cases(cacheable=False))
def test_what_cannot_be_cached_is_refused_with_its_reason(name: str, settings: dict[str, Any]) -> None:
    model = build(name, settings)
    reason = model.trunk.mechanism.why_not_cached
    assert len(reason.split()) >= 5
    with pytest.raises(UnsupportedError, match=reason):
        generation.generate(model, tokens(3), 2)


def test_what_cannot_be_cached_are_adaptive_solvers_alone() -> None:
    assert [case.id for case in cases(cacheable=False)] == ["fixed_query-dynamics=ode"]


@pytest.mark.parametrize(("name", "settings"), cases(cacheable=True))
def test_greedy_generation_is_that_of_full_passes(name: str, settings: dict[str, Any]) -> None:
    model = calibrated(name, settings).double()
    prompt = tokens(5, seed=3)
    text = prompt
    for _ in range(12):
        with torch.no_grad():
            logits = model(text).prediction[:, -1]
        logits[:, 0] = -torch.inf  # padding
        text = torch.cat((text, logits.argmax(-1, keepdim=True)), dim=1)
    assert torch.equal(generation.generate(model, prompt, 12), text)


def test_draws_come_from_the_generator_and_never_are_padding() -> None:
    model = build("softmax", {}).train()
    draw = [
        generation.generate(
            model, tokens(4), LENGTH - 3, generator=torch.Generator().manual_seed(seed), temperature=3.0
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert draw[0].shape == (2, LENGTH + 1)
    assert (draw[0] > 0).all()
    assert torch.equal(draw[0][:, :4], tokens(4))
    assert model.training


def test_dropout_is_off_while_generating() -> None:
    model = build("softmax", {}, dropout=0.5).train()
    assert torch.equal(
        generation.generate(model, tokens(4), 8), generation.generate(model.eval(), tokens(4), 8)
    )


LIMITED = [
    ("softmax", {}),
    ("rope", {"position": "learned"}),
    ("fixed_query", {}),
    ("kope", {"dynamics": "random_walk"}),
]


@pytest.mark.parametrize(("name", "settings"), LIMITED)
def test_beyond_positions_anchors_and_walks_is_refused_at_once(name: str, settings: dict[str, Any]) -> None:
    position = "none" if name == "kope" else "auto"
    model = build(name, settings, position=position)
    assert generation.generate(model, tokens(4), LENGTH - 3).shape == (2, LENGTH + 1)
    with pytest.raises(UnsupportedError, match=f"{LENGTH}.*got {LENGTH + 1}|{LENGTH}.*has {LENGTH + 1}"):
        generation.generate(model, tokens(4), LENGTH - 2)


@pytest.mark.parametrize("name", ["rope", "kope", "torus", "ssa"])
def test_others_generate_beyond_their_training_length(name: str) -> None:
    model = build(name, {}, position="none")
    assert generation.generate(model, tokens(4), 2 * LENGTH).shape == (2, 2 * LENGTH + 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": torch.zeros(2, 0, dtype=torch.long)}, r"N of at least 1, got \(2, 0\)"),
        ({"prompt": torch.tensor([[3, 0]])}, r"holds padding \(token 0\)"),
        ({"num_tokens": -1}, "at least 0 and finite, got -1"),
        ({"temperature": float("nan")}, "at least 0"),
        ({"temperature": 0.5}, "a generator must be given"),
    ],
)
def test_bad_requests_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generation.generate(build("softmax", {}), **{"prompt": tokens(4), "num_tokens": 2, **change})


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (SequenceInputs(11, LENGTH, 11, is_causal=False), "only causal sequence models generate"),
        (SequenceInputs(11, LENGTH, 4, is_causal=True), "its 4 outputs are not the 11 token ids"),
    ],
)
def test_models_that_do_not_predict_the_next_token_are_refused(inputs: SequenceInputs, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        generation.generate(build("softmax", {}, inputs), tokens(4), 2)


def counted(model: Sequence, senders: int) -> int:
    """FLOPs that PyTorch's counter sees in one step."""
    cache, ids = Cache(senders), tokens(senders)[:1]
    model.proceed(ids[:, :-1], cache)
    with flop_counter() as counter:
        model.proceed(ids[:, -1:], cache)
    return counter.get_total_flops()


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "settings", "unseen"),
    [
        ("softmax", {}, 0),
        ("rope", {}, 0),
        ("kope", {}, 0),
        ("fixed_query", {}, 0),
        ("fixed_query", {"exponent": 2}, None),
        ("ssa", {}, 2),
        ("torus", {"include_self": True}, 2),
    ],
)
def test_flops_of_a_token_are_those_that_are_counted(
    name: str, settings: dict[str, Any], unseen: int | None
) -> None:
    """`unseen` FLOPs a pair and channel stand outside matrix products: frequency gaps, and sums of gated cosines."""
    model = build(name, settings)
    for senders in (2, LENGTH):
        # With p = 2 the rule counts the read-out's row sums, a multiply-add a pair and head.
        apart = 2 * 2 if unseen is None else unseen * 16
        assert model.token_flops(senders) == counted(model, senders) + 3 * senders * apart


def test_a_token_costs_what_it_adds_to_a_text() -> None:
    """A full pass is its tokens' own parts and N rows of N pairs."""
    for name in catalog.names("mechanisms"):
        mechanism = build(name, {}).trunk.mechanism
        own = mechanism.token_flops(0)
        assert own > 0
        assert mechanism.token_flops(64) - own == 64 * (mechanism.token_flops(1) - own)


def test_caches_are_as_large_as_their_files_say() -> None:
    """Numbers a token and layer in widths D: softmax and RoPE 2, torus 1, fixed query 1, SSA 2, KoPE 4 and 2 in the last."""
    widths = {"softmax": 6, "rope": 6, "torus": 3, "fixed_query": 3, "ssa": 6, "kope": 10}
    for name, expected in widths.items():
        sizes = []
        for capacity in (8, 16):
            cache = Cache(capacity)
            build(name, {}).proceed(tokens(4)[:1], cache)
            sizes.append(cache.num_bytes())
        drift = 8 * 8 if name == "torus" else 0  # float64, n = 8 angles
        assert (sizes[1] - sizes[0]) / 8 == expected * 16 * 4 + drift
