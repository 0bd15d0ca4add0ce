"""Which xformers may run, what it is called, and how the ops talk to it; the kernel itself needs a GPU."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from ops_cases import CASES, Size

from oscbench import ops
from oscbench.ops import memory_efficient
from oscbench.ops.dispatch import Call

SOFTMAX_FORMS = ("softmax_attention", "kope_attention", "kuramoto_step", "torus_attention")
ON_CUDA = Call(torch.device("cuda"), torch.float16, 17, 64)


class LowerTriangularMask:
    pass


def fake_attention(q, k, v, attn_bias=None, scale=None):
    """xformers' call, computed by PyTorch: (B, N, H, d)."""
    causal = isinstance(attn_bias, LowerTriangularMask)
    bias = attn_bias if isinstance(attn_bias, torch.Tensor) else None
    out = torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (q, k, v)), attn_mask=bias, is_causal=causal, scale=scale
    )
    return out.transpose(1, 2)


@pytest.fixture
def fake(monkeypatch):
    """A module `xformers` that is found and imported."""
    package, module = types.ModuleType("xformers"), types.ModuleType("xformers.ops")
    package.__spec__ = types.SimpleNamespace(name="xformers")
    package.ops = module
    module.memory_efficient_attention = fake_attention
    module.LowerTriangularMask = LowerTriangularMask
    module.fmha = types.SimpleNamespace(
        Inputs=lambda *qkv: qkv, _dispatch_fw=lambda inputs, gradient: types.SimpleNamespace(NAME="fa2F@2-pt")
    )
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", module)
    memory_efficient.operators.cache_clear()
    memory_efficient.probe.cache_clear()
    yield module
    memory_efficient.operators.cache_clear()
    memory_efficient.probe.cache_clear()


def test_reasons_not_to_run(fake, monkeypatch):
    assert "needs CUDA" in memory_efficient.why_not(Call(torch.device("cpu")))
    assert "float64" in memory_efficient.why_not(Call(torch.device("cuda"), torch.float64, 17, 64))
    assert "got 20" in memory_efficient.why_not(Call(torch.device("cuda"), torch.float16, 17, 20))
    monkeypatch.setitem(sys.modules, "xformers", None)
    monkeypatch.setattr(memory_efficient.importlib.util, "find_spec", lambda name: None)
    assert memory_efficient.why_not(ON_CUDA) == "xformers is not installed"


def test_a_kernel_that_fails_its_trial_is_a_reason(fake, monkeypatch):
    tiny = torch.zeros(1, 16, 1, 32)
    monkeypatch.setattr(memory_efficient.torch, "randn", lambda *shape, **where: tiny)
    fake.memory_efficient_attention = lambda *given, **named: (_ for _ in ()).throw(
        NotImplementedError("No operator found\nlong list")
    )
    assert memory_efficient.why_not(ON_CUDA) == "xformers does not run here: No operator found"


def test_the_note_names_the_operator_and_whose_it_is(fake, monkeypatch):
    tiny = torch.zeros(1, 16, 1, 32)
    monkeypatch.setattr(memory_efficient.torch, "randn", lambda *shape, **where: tiny)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert memory_efficient.why_not(ON_CUDA) is None
    assert memory_efficient.note().endswith("operator fa2F@2-pt, which is PyTorch's own kernel")
    memory_efficient.probe.cache_clear()
    fake.fmha._dispatch_fw = lambda inputs, gradient: types.SimpleNamespace(NAME="cutlassF")
    assert memory_efficient.note().endswith("operator cutlassF")
    memory_efficient.probe.cache_clear()
    del fake.fmha
    assert memory_efficient.note().endswith("operator unnamed")


@pytest.mark.parametrize("name", SOFTMAX_FORMS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_the_ops_ask_for_the_same_attention(fake, monkeypatch, name, causal, padded):
    monkeypatch.setattr(memory_efficient, "why_not", lambda call: None)
    case = CASES[name]
    inputs = case.inputs(Size(tokens=11), case.variants[0], torch.float32)
    mask = torch.zeros(2, 11, dtype=torch.bool)
    mask[1, 7:] = True
    options = case.variants[0].options | {"is_causal": causal, "key_padding_mask": mask if padded else None}
    function = ops.op_of(name).backends["xformers"].load()
    named = {"scale": 0.25} if name == "softmax_attention" else {}
    extras = {"torus_attention": {"drift": None, "lag": None, "include_self": True}}.get(name, {})
    extras |= {"rotate_values": True} if name == "kope_attention" else {}
    out = function(**inputs, **named, **extras, **options)
    out = torch.cat(out, dim=-1) if isinstance(out, tuple) else out
    torch.testing.assert_close(out, case.run(inputs, "sdpa", **options), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOFTMAX_FORMS)
def test_asked_for_by_name_it_says_why_not(name):
    case = CASES[name]
    inputs = case.inputs(Size(tokens=5), case.variants[0], torch.float32)
    with pytest.raises(ValueError, match='backend "xformers" cannot run here: xformers'):
        case.run(inputs, "xformers", **case.variants[0].options)
