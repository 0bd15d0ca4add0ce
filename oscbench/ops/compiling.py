"""What is compiled to be timed or trained: compiled, or an error, and never silently what it was before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

MOST_VERSIONS = 4096
"""Of one function's code in one process. All contenders of a timing share the code of a block or of a call, and PyTorch, which allows
eight, runs what comes after them uncompiled without a word."""


def compiled(call: Callable[..., Any], **options: Any) -> Any:
    """`torch.compile` of a model or a call, which raises where it would go on uncompiled for want of room.

    Args:
        call: a module or a function.
        options: of `torch.compile`.
    """
    from torch._dynamo import config

    config.recompile_limit = config.accumulated_recompile_limit = MOST_VERSIONS
    config.fail_on_recompile_limit_hit = True
    return torch.compile(call, **options)
