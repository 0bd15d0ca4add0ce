"""Generation token by token: one full pass over the prompt, then one new token at a time from what mechanisms kept.

Exact: stepping gives the logits of the full pass over the same tokens (tests hold every mechanism to it). What a mechanism keeps,
and so the memory that a cache takes, is said in its file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from oscbench.modes import evaluating
from oscbench.ops.decode import Cache
from oscbench.ops.dispatch import UnsupportedError

if TYPE_CHECKING:
    from oscbench.models.backbones import Backbone
    from oscbench.models.backbones.sequence import Sequence


def why_not(model: Backbone) -> str | None:
    """Why a model cannot generate token by token, or None when it can."""
    inputs: Any = model.inputs
    mechanism = model.trunk.mechanism
    if not getattr(inputs, "is_causal", False):
        return "only causal sequence models generate"
    if inputs.num_outputs < inputs.vocabulary:
        return f"its {inputs.num_outputs} outputs are not the {inputs.vocabulary} token ids that it reads"
    if not mechanism.traits.cacheable:
        return f"{type(mechanism).label} cannot be cached: {mechanism.why_not_cached}"
    return None


@torch.no_grad()
def generate(
    model: Sequence,
    prompt: Tensor,
    num_tokens: int,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 0.0,
) -> Tensor:
    """Continue a prompt.

    Args:
        model: a causal sequence model; dropout is off while it generates.
        prompt: token ids, (B, N), N ≥ 1, without padding.
        num_tokens: how many to add.
        generator: source of the draws, where the temperature is above 0.
        temperature: of the distribution that tokens are drawn from; 0 takes the likeliest.

    Returns:
        Prompt and continuation, (B, N + num_tokens).

    Raises:
        UnsupportedError: the model cannot generate, or its positions or anchors do not reach so far.
        ValueError: an empty prompt, padding in it, a negative number, or draws without a generator.
    """
    _check(model, prompt, num_tokens, generator, temperature)
    if num_tokens == 0:
        return prompt
    # Nobody hears the last token any more.
    cache = Cache(prompt.shape[1] + num_tokens - 1)
    model.added.require(cache.capacity)
    with evaluating(model):
        text, new = prompt, prompt
        for _ in range(num_tokens):
            logits = model.proceed(new, cache)[:, -1]
            new = _choose(_allowed(model, logits), generator, temperature)
            text = torch.cat((text, new), dim=1)
    return text


def _check(
    model: Sequence, prompt: Tensor, num_tokens: int, generator: torch.Generator | None, temperature: float
) -> None:
    reason = why_not(model)
    if reason is not None:
        raise UnsupportedError(f"no generation: {reason}")
    if prompt.dim() != 2 or 0 in prompt.shape:
        raise ValueError(f"a prompt must be token ids (B, N) with N of at least 1, got {tuple(prompt.shape)}")
    padding = model.inputs.padding
    if padding is not None and bool((prompt == padding).any()):
        raise ValueError(f"a prompt holds padding (token {padding}); give prompts of one length together")
    if num_tokens < 0 or not 0.0 <= temperature < math.inf:
        raise ValueError(
            f"num_tokens and temperature must be at least 0 and finite, got {num_tokens} and {temperature}"
        )
    if temperature > 0.0 and generator is None:
        raise ValueError(f"temperature {temperature} draws tokens, so a generator must be given")


def _allowed(model: Sequence, logits: Tensor) -> Tensor:
    """Padding is no token to continue with, nor is an output beyond the vocabulary."""
    logits = logits[:, : model.inputs.vocabulary].clone()
    if model.inputs.padding is not None:
        logits[:, model.inputs.padding] = -torch.inf
    return logits


def _choose(logits: Tensor, generator: torch.Generator | None, temperature: float) -> Tensor:
    """Next token ids (B, 1) from logits (B, vocabulary)."""
    if temperature == 0.0:
        return logits.argmax(dim=-1, keepdim=True)
    assert generator is not None
    chances = torch.softmax(logits.double() / temperature, dim=-1).to(generator.device)
    return torch.multinomial(chances, 1, generator=generator).to(logits.device)
