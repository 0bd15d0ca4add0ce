"""The three laws (causality, padding, exactness) for every op and every backend that runs here.

A new backend is tested without writing a test. Calls that it cannot run are skipped by asking dispatch.
"""

from __future__ import annotations

import draws
import pytest
import torch
from ops_cases import CASES, Size, gradient_floor, grid

from oscbench import ops

everywhere = pytest.mark.parametrize(("case", "backend", "variant", "causal"), grid())
RAGGED = (1, 2, 67, 261)


def touched(case, inputs, where, change):
    """Copies of the inputs with `change` applied to the tokens `where` of every (B, H, N, ·) tensor."""
    copies = {name: x.clone() for name, x in inputs.items()}
    for x in copies.values():
        if x.shape[:3] == inputs[case.leading].shape[:3]:
            x[..., where, :] = change(x[..., where, :])
    return copies


def kept(case, inputs, keep):
    """Inputs with only the tokens `keep`; anchors belong to positions and are kept with them."""
    tokens = inputs[case.leading].shape[-2]
    return {
        name: x[..., keep, :] if x.dim() >= 3 and x.shape[-2] == tokens else x for name, x in inputs.items()
    }


def unchanged_for_nobody(case, inputs):
    """What a token that hears nobody gets: 0, and its own phase in a Kuramoto step."""
    if case.op == "kuramoto_step":
        return torch.cat((inputs["cos"], inputs["sin"]), dim=-1)
    leading = inputs.get("v", inputs.get("theta", inputs[case.leading]))
    return torch.zeros_like(leading)


def test_every_op_has_a_case():
    assert set(CASES) == set(ops.op_names())


@pytest.mark.parametrize(("case", "backend", "variant", "causal"), grid(ways=(True,)))
def test_causality(case, backend, variant, causal):
    options = variant.options | {"is_causal": causal}
    inputs = case.inputs(Size(tokens=21), variant, torch.float32)
    case.skip_unless_runs(backend, inputs, **options)
    before = case.run(inputs, backend, **options)
    for token in (0, 1, 13, 20):
        changed = touched(case, inputs, slice(token, token + 1), lambda x: torch.randn_like(x) * 3)
        after = case.run(changed, backend, **options)
        torch.testing.assert_close(after[..., :token, :], before[..., :token, :], rtol=1e-5, atol=1e-6)


@everywhere
def test_right_padding_is_the_same_as_cutting_off(case, backend, variant, causal):
    if not variant.padding_law:
        pytest.skip("the published read-out hears padding")
    inputs = case.inputs(Size(tokens=21), variant, torch.float32)
    mask = torch.zeros(2, 21, dtype=torch.bool)
    mask[1, 14:] = True
    options = variant.options | {"is_causal": causal}
    case.skip_unless_runs(backend, inputs, key_padding_mask=mask, **options)
    padded = case.run(inputs, backend, key_padding_mask=mask, **options)
    whole = case.run(inputs, backend, **options)
    cut = case.run(kept(case, inputs, slice(0, 14)), backend, **options)
    torch.testing.assert_close(padded[0], whole[0], rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(padded[1, :, :14], cut[1], rtol=1e-4, atol=2e-6)


@everywhere
@pytest.mark.parametrize("left", [False, True])
def test_holes_are_the_same_as_taking_tokens_out(case, backend, variant, causal, left):
    if variant.positions_enter or not variant.padding_law:
        pytest.skip("positions enter by index" if variant.padding_law else "the read-out hears padding")
    inputs = case.inputs(Size(batch=1, tokens=21), variant, torch.float32)
    mask = torch.zeros(1, 21, dtype=torch.bool)
    mask[0, [0, 1, 2] if left else [3, 4, 11, 19]] = True
    keep = torch.nonzero(~mask[0])[:, 0]
    options = variant.options | {"is_causal": causal}
    case.skip_unless_runs(backend, inputs, key_padding_mask=mask, **options)
    padded = case.run(inputs, backend, key_padding_mask=mask, **options)
    short = case.run(kept(case, inputs, keep), backend, **options)
    torch.testing.assert_close(padded[..., keep, :], short, rtol=1e-4, atol=2e-6)
    assert padded.isfinite().all()
    if left and causal:
        expected = unchanged_for_nobody(case, inputs)[..., :3, :]
        torch.testing.assert_close(padded[..., :3, :], expected, rtol=0, atol=1e-6)


@everywhere
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_what_stands_in_padding_does_not_matter(case, backend, variant, causal, garbage):
    if not variant.padding_law:
        pytest.skip("the published read-out hears padding")
    inputs = case.inputs(Size(tokens=21), variant, torch.float32)
    mask = torch.zeros(2, 21, dtype=torch.bool)
    mask[:, 15:] = True
    options = variant.options | {"is_causal": causal, "key_padding_mask": mask}
    case.skip_unless_runs(backend, inputs, **options)
    spoilt = touched(case, inputs, slice(15, 21), lambda x: torch.full_like(x, garbage))
    out, expected = (case.run(x, backend, **options)[..., :15, :] for x in (spoilt, inputs))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


@everywhere
def test_a_sequence_of_padding_alone_gives_nothing_and_never_nan(case, backend, variant, causal):
    if not variant.padding_law:
        pytest.skip("the published read-out hears padding")
    inputs = case.inputs(Size(tokens=9), variant, torch.float32)
    mask = torch.tensor([[True] * 9, [False] * 9])
    options = variant.options | {"is_causal": causal, "key_padding_mask": mask}
    case.skip_unless_runs(backend, inputs, **options)
    leaves = {name: x.requires_grad_() for name, x in inputs.items()}
    out = case.run(leaves, backend, **options)
    torch.testing.assert_close(out[0], unchanged_for_nobody(case, inputs)[0], rtol=0, atol=1e-6)
    out.square().sum().backward()
    assert out.isfinite().all()
    for name, x in leaves.items():
        assert x.grad is not None, name
        assert x.grad.isfinite().all(), name


@everywhere
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_exactness(case, backend, variant, causal, dtype):
    options = variant.options | {"is_causal": causal}
    for tokens in RAGGED if dtype == torch.float32 else (1, 67):
        inputs = case.inputs(Size(tokens=tokens), variant, dtype, seed=tokens)
        case.skip_unless_runs(backend, inputs, **options)
        out = case.run(inputs, backend, **options)
        wide = {name: x.double() for name, x in inputs.items()}
        expected = case.run(wide, "reference", **options, **quiet(case, dtype))
        assert out.dtype == dtype
        assert case.error(out, expected) < case.allowed(dtype), f"N = {tokens}"


def quiet(case, dtype):
    """Anchors rounded to half precision are unit to three digits; the same numbers go to both, unchecked."""
    narrow = dtype in (torch.bfloat16, torch.float16)
    return {"validate": False} if narrow and case.op == "fixed_query_attention" else {}


@everywhere
def test_exactness_with_padding_in_holes(case, backend, variant, causal):
    inputs = case.inputs(Size(tokens=261), variant, torch.float32)
    mask = torch.rand(2, 261, generator=draws.generator(1)) < 0.3
    options = variant.options | {"is_causal": causal, "key_padding_mask": mask}
    case.skip_unless_runs(backend, inputs, **options)
    out = case.run(inputs, backend, **options)
    expected = case.run({name: x.double() for name, x in inputs.items()}, "reference", **options)
    real = ~mask[:, None, :, None]
    assert case.error(out * real, expected * real) < case.allowed(torch.float32)


@everywhere
def test_exactness_at_large_logits(case, backend, variant, causal):
    options = variant.options | {"is_causal": causal}
    inputs = case.inputs(Size(tokens=67), variant, torch.float32, sharp=20.0)
    case.skip_unless_runs(backend, inputs, **options)
    out = case.run(inputs, backend, **options)
    expected = case.run({name: x.double() for name, x in inputs.items()}, "reference", **options)
    assert case.error(out, expected) < 3 * case.allowed(torch.float32)


def gradients(case, inputs, backend, weight, **options):
    leaves = {name: x.detach().clone().requires_grad_() for name, x in inputs.items()}
    out = case.run(leaves, backend, **options)
    return torch.autograd.grad((out.double() * weight.double()).sum(), list(leaves.values()))


@everywhere
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_gradients_against_the_reference(case, backend, variant, causal, dtype, padded):
    # Alone, a token's own score is all there is, and sdpa's difference keeps none of a torus update's digits.
    alone = case.op == "torus_attention" and backend == "sdpa" and variant.options.get("include_self", True)
    for tokens in ([] if alone else [1]) + [67 if dtype == torch.bfloat16 else 261]:
        mask = torch.rand(1, tokens, generator=draws.generator(2)) < 0.3 if padded else None
        narrow = {} if dtype == torch.float64 else case.gradient_options
        options = variant.options | {"is_causal": causal, "key_padding_mask": mask} | narrow
        inputs = case.inputs(Size(batch=1, tokens=tokens, width=8), variant, dtype, seed=3)
        case.skip_unless_runs(backend, inputs, **options)
        wide = {name: x.double() for name, x in inputs.items()}
        out = case.run(wide, "reference", **options, **quiet(case, dtype))
        weight = torch.randn(out.shape, generator=draws.generator(4)).to(dtype)
        if mask is not None:
            weight = weight.masked_fill(mask[:, None, :, None], 0.0)
        got = gradients(case, inputs, backend, weight, **options)
        expected = gradients(case, wide, "reference", weight, **options, **quiet(case, dtype))
        bound = case.allowed(dtype, gradient=True)
        for (name, x), ours, theirs in zip(inputs.items(), got, expected, strict=True):
            floor = gradient_floor(out, weight, x, bound)
            assert case.error(ours, theirs, floor) < bound, f"{name}, N = {tokens}"


@everywhere
def test_gradcheck(case, backend, variant, causal):
    if variant.options.get("edge"):
        pytest.skip("a bounded slope is not the function's own; the reference's is compared above")
    options = variant.options | {"is_causal": causal}
    inputs = case.inputs(Size(batch=1, tokens=5, width=8), variant, torch.float64, seed=5)
    case.skip_unless_runs(backend, inputs, **options)
    leaves = {name: x.requires_grad_() for name, x in inputs.items()}

    def of_tensors(*tensors):
        return case.run(dict(zip(leaves, tensors, strict=True)), backend, **options)

    assert torch.autograd.gradcheck(of_tensors, tuple(leaves.values()), eps=1e-6, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("causal", [False, True])
def test_step_size_has_a_gradient(causal):
    """γ may be learned; its gradient, also at 0, where nothing moves yet."""
    case = CASES["kuramoto_step"]
    inputs = case.inputs(Size(batch=1, tokens=5, width=8), case.variants[0])
    for start in (0.0, 0.3):
        gamma = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda g: ops.kuramoto_step(**inputs, gamma=g, is_causal=causal, backend="sdpa"), gamma
        )
