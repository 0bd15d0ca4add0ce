"""Which backend of an op runs: asked for by name it runs or raises with the reason, never falls back in silence.

A backend is a name, a function with the op's own arguments, and a question: "why can you not run this call?"
Backends are imported when first used, so that `import oscbench.ops` loads neither triton nor xformers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Call:
    """What a backend may look at before it says whether it can run: where, in what, how large, with which options.

    Attributes:
        device: the inputs' device.
        dtype: the inputs' floating type, or None when only the device is asked about.
        tokens: N, or None.
        width: d of the queries (or n of the angles), or None.
        options: the op's keyword options as given (`is_causal`, `top_k`, `include_self`, …).
    """

    device: torch.device
    dtype: torch.dtype | None = None
    tokens: int | None = None
    width: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


class UnsupportedError(ValueError):
    """A call that is well formed but cannot be computed this way or here; inside a suite it is a result, not a failure."""


_observed: dict[str, set[str]] | None = None


def observing() -> bool:
    """Whether somebody collects what runs."""
    return _observed is not None and not torch.compiler.is_compiling()


def observed(op_name: str, backend: str) -> None:
    """Note which backend runs, where somebody collects that."""
    if _observed is not None and observing():
        _observed.setdefault(op_name, set()).add(backend)


@contextlib.contextmanager
def observe_choices() -> Iterator[dict[str, set[str]]]:
    """While inside, collect which backend each op really ran: op name -> backend names."""
    global _observed
    before, _observed = _observed, {}
    try:
        yield _observed
    finally:
        _observed = before


def constant_to_compilers(function: Callable[[], bool]) -> Callable[[], bool]:
    """Have a compiler call a function when it traces, and take the answer for a constant."""
    # All that `torch.compiler.assume_constant_result` does after it has imported the compiler, and Triton with it.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def anything_goes(call: Call) -> str | None:
    """The answer of a backend that runs everywhere."""
    del call
    return None


@dataclass(frozen=True)
class Backend:
    """One way to compute an op.

    Attributes:
        name: as written in `backend=`.
        load: imports and returns the function; called on first use only.
        why_not: the reason this call cannot run here, or None when it can.
        note: what a reader must know about it, for example which kernel it really runs; a function where that must be
            found out first.
    """

    name: str
    load: Callable[[], Callable[..., Any]]
    why_not: Callable[[Call], str | None] = anything_goes
    note: str | Callable[[], str] = ""

    def described(self) -> str:
        """The note as text."""
        return self.note if isinstance(self.note, str) else self.note()


class BackendName(str):
    """The name of a backend that runs here (a `str`, so it goes into `backend=`), with its `note`."""

    note: str

    def __new__(cls, name: str, note: str = "") -> BackendName:
        """A plain string with a note attached."""
        made = super().__new__(cls, name)
        made.note = note
        return made


def call_of(x: Tensor, **options: Any) -> Call:
    """The `Call` of an op whose leading tensor is `x`, shaped (B, H, N, d)."""
    return Call(x.device, x.dtype, x.shape[-2], x.shape[-1], options)
