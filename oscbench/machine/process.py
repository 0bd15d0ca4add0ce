"""How this process computes: threads, determinism, denormals."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Found = TypeVar("Found")

_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""What the processor's allocator says of too little memory, and CUDA where it is no tensor that finds none: a context, a handle, a graph."""
_IMPOSSIBLE = "does not have a deterministic implementation"


def prepare_process(
    spec: dict[str, Any], *, deterministic: bool = True, strict: bool = False
) -> torch.device:
    """Threads as the spec of a cell says, its device, and how matrix products round there.

    Args:
        spec: of the cell.
        deterministic: training wants the same result twice, timing the kernels that people run.
        strict: an operation that cannot be repeated is an error (`cannot_repeat`), not a warning. Fused attention's backward pass on a GPU
            repeats itself only then, and without a word otherwise.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device(spec["device"])
    # The weights of what is hardly heard become denormals, on which a step can take ten times as long.
    torch.set_flush_denormal(True)
    torch.set_num_threads(spec["threads"])
    if device.type == "cuda":
        narrow = spec.get("train", {}).get("precision") == "tf32"
        torch.set_float32_matmul_precision("high" if narrow else "highest")
        torch.backends.cudnn.allow_tf32 = narrow
    torch.use_deterministic_algorithms(deterministic, warn_only=not strict)
    # Filling memory that is written anyway made 180 of the 700 calls of a small model's training step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def run_repeatably(spec: dict[str, Any], run: Callable[[torch.device], Found]) -> Found:
    """What `run` gives on the spec's device, computed as in training.

    That is so that it comes out the same twice, and where PyTorch has an operation in no such form, once more without.
    """
    try:
        return run(prepare_process(spec, strict=True))
    except RuntimeError as error:
        if not cannot_repeat(error):
            raise
    return run(prepare_process(spec))


def even_if_unrepeatable(run: Callable[[], Found]) -> tuple[Found, bool]:
    """What `run` gives, and whether it had to do without operations that repeat themselves.

    What has no such form in PyTorch breaks where all must repeat itself, and need not cost what came before.
    """
    try:
        return run(), False
    except RuntimeError as error:
        if not cannot_repeat(error):
            raise
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(), True
    finally:
        torch.use_deterministic_algorithms(True)


def first_word(error: BaseException) -> str:
    """The operation that such an error names."""
    return str(error).partition(" ")[0]


def no_memory(error: BaseException) -> bool:
    """Whether an error says that memory was too little, on whichever side."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in _NO_MEMORY)
    )


def cannot_repeat(error: BaseException) -> bool:
    """Whether an error says that PyTorch has an operation in no form that gives the same result twice."""
    return isinstance(error, RuntimeError) and _IMPOSSIBLE in str(error)
