"""An op as one object: its backends, what it costs by closed form, and inputs to try it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from oscbench.errors import allowed
from oscbench.ops.dispatch import Backend, BackendName, Call, UnsupportedError, observed
from oscbench.ops.operations import Operations
from oscbench.ops.precision import is_autocast, shielded


@dataclass(frozen=True)
class OpSize:
    """B, H, N, d of a call; d is n, angles per head, where an op mixes angles."""

    batch: int
    heads: int
    tokens: int
    width: int
    causal: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, N, d)."""
        return self.batch, self.heads, self.tokens, self.width


@dataclass(frozen=True)
class Sample:
    """Inputs of a call as an op usually meets them.

    Attributes:
        leaves: tensors that get gradients, by argument.
        options: other arguments, by name.
    """

    leaves: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)


Draw = Callable[..., Tensor]
"""Standard normal numbers of a shape, `draw(2, 3)`, where and in what the inputs shall be."""


ClosedForm = Callable[..., Operations]
"""Operations of one sequence's call from H, N, d and, by name, whatever else an op's cost depends on."""


def one_number(width: int) -> int:
    """Of most ops a literal backend keeps one number a pair of tokens: its score."""
    del width
    return 1


class Op:
    """An op's backends and the rule by which `auto` picks one, its cost, and sample inputs.

    A module or package of `oscbench.ops` whose last line is `op = OP` is an op: nothing lists it. The function of the op's name
    stands in the same file.

    Args:
        name: the public function's name.
        backends: the first is the literal `reference`.
        automatic: names in order of preference for a call; the first that can run is taken.
        counted: operations of one sequence.
        sampled: inputs of a call of some size.
        sample_sizes: what the closed form needs to know of these inputs beside B, H, N, d.
        pair_numbers: how many numbers a pair of tokens the literal backend keeps, from d.
        kernels_of: a backend that is PyTorch's fused attention and nothing else, whose kernels a timing can tell apart.
        rank: where it stands in lists; those of one rank by name.
    """

    def __init__(
        self,
        name: str,
        backends: list[Backend],
        automatic: Callable[[Call], list[str]],
        *,
        counted: ClosedForm,
        sampled: Callable[[OpSize, Draw], Sample],
        sample_sizes: Mapping[str, int] | None = None,
        pair_numbers: Callable[[int], int] = one_number,
        kernels_of: str | None = None,
        rank: int = 100,
    ) -> None:
        self.name = name
        self.backends = {backend.name: backend for backend in backends}
        self.automatic = automatic
        self.counted = counted
        self.sampled = sampled
        self.sample_sizes = dict(sample_sizes or {})
        self.pair_numbers = pair_numbers
        self.kernels_of = kernels_of
        self.rank = rank

    def operations(self, batch: int, heads: int, tokens: int, width: int, **sizes: Any) -> Operations:
        """Closed-form operations of one forward call, CLS and registers among the tokens.

        Raises:
            ValueError: a size is missing that the cost depends on.
        """
        return batch * self.counted(heads, tokens, width, **sizes)

    def flops(self, batch: int, heads: int, tokens: int, width: int, **sizes: Any) -> int:
        """FLOPs of the same call: its multiply-adds, each two."""
        return 2 * self.operations(batch, heads, tokens, width, **sizes).multiply_adds

    def sample(self, size: OpSize, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Sample:
        """Random inputs, equal on all devices and in all dtypes up to rounding."""
        generator = torch.Generator().manual_seed(seed)
        return self.sampled(size, lambda *shape: torch.randn(*shape, generator=generator).to(device, dtype))

    def choose(self, wanted: str, call: Call) -> Backend:
        """The backend for this call.

        Raises:
            ValueError: there is no such backend.
            UnsupportedError: the one asked for cannot run this call; the text says why.
        """
        backend = self._automatic(call) if wanted == "auto" else self._by_name(wanted, call)
        observed(self.name, backend.name)
        if is_autocast(call.device):
            return replace(backend, load=lambda: shielded(backend.load(), call.device))
        return backend

    def _automatic(self, call: Call) -> Backend:
        for name in self.automatic(call):
            if self.backends[name].why_not(call) is None:
                return self.backends[name]
        return self.backends["reference"]

    def _by_name(self, wanted: str, call: Call) -> Backend:
        if wanted not in self.backends:
            raise ValueError(
                f'{self.name}: no backend "{wanted}"; {allowed(wanted, ["auto", *self.backends])}'
            )
        backend = self.backends[wanted]
        reason = backend.why_not(call)
        if reason is not None:
            raise UnsupportedError(f'{self.name}: backend "{wanted}" cannot run here: {reason}')
        return backend

    def available(self, device: torch.device) -> list[BackendName]:
        """Names of the backends that can run on a device."""
        call = Call(device)
        return [BackendName(b.name, b.described()) for b in self.backends.values() if b.why_not(call) is None]
