"""Sequence transformer: a decoder where the task is causal, else an encoder (Vaswani et al., arXiv 1706.03762, in pre-norm form)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import Backbone, BackboneConfig
from oscbench.models.positions import sequence_positions
from oscbench.ops.decode import Cache
from oscbench.ops.dispatch import UnsupportedError


class SequenceConfig(BackboneConfig):
    """Settings of the sequence backbone.

    Attributes:
        tied: the head is the embedding's transpose (language modelling only, and only where features are D wide).
    """

    width: int = Field(default=128, ge=1)
    tied: bool = False


class Sequence(Backbone):
    """Token ids (B, N) to outputs (B, N, num_outputs)."""

    Config = SequenceConfig
    version = 1

    def build_front(self) -> Positions:
        """An embedding of each token."""
        self.embedding = nn.Embedding(self.inputs.vocabulary, self.config.width)
        return sequence_positions(self.inputs.length)

    def build_head(self, seed: int) -> None:
        """A linear map of each token, the embedding's transpose where they are tied."""
        del seed
        try:
            self.added.require(self.inputs.evaluated_length or 0)
        except UnsupportedError as error:
            raise ValueError(f"position: {error} where it is evaluated") from error
        self.head = nn.Linear(self.trunk.output_width, self.inputs.num_outputs)
        if self.config.tied:
            if self.embedding.weight.shape != self.head.weight.shape:
                raise ValueError(
                    f"tied: the embedding is {tuple(self.embedding.weight.shape)} and the head "
                    f"{tuple(self.head.weight.shape)}; they must be alike"
                )
            self.head.weight = self.embedding.weight

    @property
    def num_tokens(self) -> int:
        """N of a training sequence."""
        length: int = self.inputs.length
        return length

    def embed(self, inputs: Tensor, first: int = 0) -> Tensor:
        """Token ids (B, N), standing at positions from `first` on, to embeddings (B, N, D)."""
        embedded: Tensor = self.dropout(self.added(self.embedding(inputs), first))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Causality as the task says, padding where the padding id stands."""
        mask = None if self.inputs.padding is None else inputs == self.inputs.padding
        positions = sequence_positions(inputs.shape[1]).to(inputs.device)
        return Context(positions, self.inputs.is_causal, mask, diagnostics)

    def proceed(self, inputs: Tensor, cache: Cache) -> Tensor:
        """Outputs (B, N, num_outputs) of the tokens that follow those in the cache: the whole prompt, then one at a time.

        Raises:
            ValueError: more than one token after the prompt.
            UnsupportedError: positions or anchors do not reach as far as the cache.
        """
        first = cache.num_tokens
        if first and inputs.shape[1] != 1:
            raise ValueError(f"after the prompt there must be one token at a time, got {inputs.shape[1]}")
        positions = sequence_positions(inputs.shape[1], first).to(inputs.device)
        context = Context(positions, self.inputs.is_causal, cache=cache)
        features, _ = self.trunk(self.embed(inputs, first), context)
        return self.read_out(features)

    def read_out(self, features: Tensor) -> Tensor:
        """Outputs of every token (B, N, num_outputs)."""
        outputs: Tensor = self.head(features)
        return outputs

    def flops(self) -> int:
        """Trunk and head; looking an embedding up costs none."""
        return self.trunk.flops(self.num_tokens) + self.num_tokens * self._head_flops()

    def token_flops(self, senders: int) -> int:
        """FLOPs of generating one token that hears so many, itself counted."""
        return self.trunk.token_flops(senders) + self._head_flops()

    def _head_flops(self) -> int:
        head: int = 2 * self.trunk.output_width * self.inputs.num_outputs
        return head


backbone = Sequence
