"""Which backend of an op runs: asked for by name it runs or raises with the reason, never falls back in silence.

A backend is a name, a function with the op's own arguments, and a question: "why can you not run this call?"
Backends are imported when first used, so that `import oscbench.ops` loads neither triton nor xformers.
"""

from __future__ import annotations

import contextlib
import difflib
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


@contextlib.contextmanager
def observe_choices() -> Iterator[dict[str, set[str]]]:
    """While inside, collect which backend each op really ran: op name -> backend names."""
    global _observed
    before, _observed = _observed, {}
    try:
        yield _observed
    finally:
        _observed = before


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


class Op:
    """An op's backends and the rule by which `auto` picks one.

    Args:
        name: the public function's name.
        backends: the first is the literal `reference`.
        automatic: names in order of preference for a call; the first that can run is taken.
    """

    def __init__(self, name: str, backends: list[Backend], automatic: Callable[[Call], list[str]]) -> None:
        self.name = name
        self.backends = {backend.name: backend for backend in backends}
        self.automatic = automatic

    def choose(self, wanted: str, call: Call) -> Backend:
        """The backend for this call.

        Raises:
            ValueError: there is no such backend.
            UnsupportedError: the one asked for cannot run this call; the text says why.
        """
        backend = self._automatic(call) if wanted == "auto" else self._by_name(wanted, call)
        if _observed is not None and not torch.compiler.is_compiling():
            _observed.setdefault(self.name, set()).add(backend.name)
        return backend

    def _automatic(self, call: Call) -> Backend:
        for name in self.automatic(call):
            if self.backends[name].why_not(call) is None:
                return self.backends[name]
        return self.backends["reference"]

    def _by_name(self, wanted: str, call: Call) -> Backend:
        if wanted not in self.backends:
            near = difflib.get_close_matches(wanted, [*self.backends, "auto"], n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ValueError(
                f'{self.name}: no backend "{wanted}"{hint} (there are: auto, {", ".join(self.backends)})'
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


def call_of(x: Tensor, **options: Any) -> Call:
    """The `Call` of an op whose leading tensor is `x`, shaped (B, H, N, d)."""
    return Call(x.device, x.dtype, x.shape[-2], x.shape[-1], options)


def cuda_only(call: Call) -> str | None:
    """The answer of a backend that needs an NVIDIA GPU."""
    if call.device.type != "cuda":
        return f"it needs a CUDA device, the inputs are on {call.device.type}"
    return None
