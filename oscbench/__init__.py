"""oscbench: oscillator attentions against softmax and RoPE, measured fairly.

From Python: `run` a suite, `load` its records as a table, `compare` entries, read their `dynamics` while they trained, `build_model` of a
mechanism for a task; `load_model` from kept weights, `evaluate` it and let it `generate`; `oscbench.nn` for attention in a model of one's
own, and `oscbench.plot` for pictures.
Everything is found at first use, so that `import oscbench` loads neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oscbench import nn, plot
    from oscbench.api import build_model, compare, dynamics, evaluate, generate, load, load_model, run

__version__ = "0.1.0"
_FUNCTIONS = ("build_model", "compare", "dynamics", "evaluate", "generate", "load", "load_model", "run")
__all__ = [
    "__version__",
    "build_model",
    "compare",
    "dynamics",
    "evaluate",
    "generate",
    "load",
    "load_model",
    "nn",
    "plot",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in ("nn", "plot"):
        return importlib.import_module(f"oscbench.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("oscbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
