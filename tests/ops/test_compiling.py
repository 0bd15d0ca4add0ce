"""What is compiled stays compiled, however many share its code."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo import config
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.testing import CompileCounter

from oscbench.ops import compiling
from oscbench.ops.compiling import compiled


@pytest.fixture
def as_it_was():
    with config.patch(
        recompile_limit=config.recompile_limit,
        accumulated_recompile_limit=config.accumulated_recompile_limit,
        fail_on_recompile_limit_hit=False,
    ):
        torch._dynamo.reset()
        yield
    torch._dynamo.reset()


NAMES = ("sin", "cos", "tan", "exp", "sinh", "cosh", "tanh", "erf", "abs", "neg", "sqrt", "log1p")
FUNCTIONS = [getattr(torch, name) for name in NAMES]


def calling(function):
    return lambda x: function(x) + 1.0


def test_what_shares_its_code_with_many_is_compiled_too(as_it_was):
    counter = CompileCounter()
    for function in FUNCTIONS:
        call = compiled(calling(function), backend=counter)
        assert torch.equal(call(torch.ones(3)), function(torch.ones(3)) + 1.0)
    assert counter.frame_count == len(FUNCTIONS)


def test_no_room_for_another_version_is_an_error(as_it_was, monkeypatch):
    monkeypatch.setattr(compiling, "MOST_VERSIONS", 3)
    calls = [compiled(calling(function), backend=CompileCounter()) for function in FUNCTIONS[:4]]
    for call in calls[:3]:
        call(torch.ones(3))
    with pytest.raises(FailOnRecompileLimitHit):
        calls[3](torch.ones(3))
