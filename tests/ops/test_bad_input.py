"""What does not fit is named, with both shapes or the limit, before anything is computed."""

from __future__ import annotations

import pytest
import torch
from ops_cases import CASES, Size

from oscbench import ops


def good(name):
    case = CASES[name]
    return case.inputs(Size(tokens=5, width=8), case.variants[0], torch.float32) | case.variants[0].options


def call(name, **changed):
    return getattr(ops, name)(**(good(name) | changed))


def seconds(name):
    """The tensor beside the leading one, of its kind and shape."""
    return {"selective_synchronization": "theta", "torus_attention": "gate"}.get(name, "k")


@pytest.mark.parametrize("name", CASES)
def test_unknown_backend_names_the_nearest(name):
    with pytest.raises(ValueError, match='did you mean "reference"'):
        call(name, backend="referenc")


@pytest.mark.parametrize("name", CASES)
def test_wrong_number_of_axes(name):
    leading = CASES[name].leading
    with pytest.raises(ValueError, match=r"\(2, 5, 8\)"):
        call(name, **{leading: torch.zeros(2, 5, 8)})


@pytest.mark.parametrize("name", CASES)
def test_empty_sequences(name):
    leading = CASES[name].leading
    with pytest.raises(ValueError, match="empty"):
        call(name, **{leading: torch.zeros(2, 2, 0, 8)})


@pytest.mark.parametrize("name", CASES)
def test_unequal_shapes_are_both_named(name):
    with pytest.raises(ValueError, match=r"\(2, 2, 5, 8\).*|.*\(2, 2, 6, 8\)"):
        call(name, **{seconds(name): torch.zeros(2, 2, 6, 8)})


@pytest.mark.parametrize("name", sorted(set(CASES) - {"torus_attention"}))
def test_unequal_dtypes_are_both_named(name):
    with pytest.raises(ValueError, match="float64"):
        call(name, **{seconds(name): torch.zeros(2, 2, 5, 8, dtype=torch.float64)})


@pytest.mark.parametrize("name", CASES)
def test_integers_are_refused(name):
    leading = CASES[name].leading
    with pytest.raises(ValueError, match="int64"):
        call(name, **{leading: torch.zeros(2, 2, 5, 8, dtype=torch.int64)})


@pytest.mark.parametrize("name", CASES)
def test_unequal_devices_are_both_named(name):
    with pytest.raises(ValueError, match=r"(cpu.*meta|meta.*cpu)"):
        call(name, **{seconds(name): torch.zeros(2, 2, 5, 8, device="meta")})


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "mask", [torch.zeros(2, 6, dtype=torch.bool), torch.zeros(2, 5), torch.zeros(2, 5, 5, dtype=torch.bool)]
)
def test_padding_mask_must_fit(name, mask):
    with pytest.raises(ValueError, match=r"key_padding_mask must be bool of shape \(2, 5\)"):
        call(name, key_padding_mask=mask)


@pytest.mark.parametrize("name", CASES)
def test_padding_mask_on_another_device(name):
    with pytest.raises(ValueError, match="meta"):
        call(name, key_padding_mask=torch.zeros(2, 5, dtype=torch.bool, device="meta"))


def test_phases_must_fit():
    with pytest.raises(ValueError, match="even"):
        ops.kope_attention(
            *(torch.zeros(1, 1, 3, 7) for _ in range(3)), *(torch.zeros(3, 3) for _ in range(2))
        )
    with pytest.raises(ValueError, match=r"\(3,\).*\(2, 2, 5, 4\)"):
        call("kope_attention", cos=torch.zeros(3), sin=torch.zeros(3))
    with pytest.raises(ValueError, match="but sin is"):
        call("kuramoto_step", sin=torch.zeros(2, 2, 5, 3))


def test_torus_extras_must_fit():
    for what in ("drift", "lag", "gate"):
        with pytest.raises(ValueError, match=f"{what} is .*does not broadcast"):
            call("torus_attention", **{what: torch.zeros(3)})


def test_anchors_must_be_unit_and_enough():
    anchors = good("fixed_query_attention")["anchors"]
    with pytest.raises(ValueError, match="unit vectors; a norm is off by 1"):
        call("fixed_query_attention", anchors=anchors * 2)
    with pytest.raises(ValueError, match="4 positions"):
        call("fixed_query_attention", anchors=anchors[:, :4])
    with pytest.raises(ValueError, match="max_len"):
        call("fixed_query_attention", anchors=anchors[:1])
    free = call("fixed_query_attention", anchors=anchors * 2, validate=False)
    literal = call("fixed_query_attention", anchors=anchors * 2, validate=False, backend="reference")
    torch.testing.assert_close(free, literal)


def test_fixed_query_settings():
    with pytest.raises(ValueError, match="one of softplus, relu, elu"):
        call("fixed_query_attention", coupling="exp")
    with pytest.raises(ValueError, match="one of 1, 2, 4"):
        call("fixed_query_attention", exponent=3)
    with pytest.raises(ValueError, match="reference alone"):
        call("fixed_query_attention", mask_readout=False, backend="blocked")


def test_synchronization_settings():
    with pytest.raises(ValueError, match="alpha must be at least 0"):
        call("selective_synchronization", alpha=-0.1)
    with pytest.raises(ValueError, match="coupling must be at least 0"):
        call("selective_synchronization", coupling=torch.tensor(-1.0))
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        call("selective_synchronization", top_k=0)


def test_unknown_op_names_the_nearest():
    with pytest.raises(ValueError, match='did you mean "torus_attention"'):
        ops.backends("torus_atention")


@pytest.mark.parametrize("name", CASES)
def test_nan_is_seen_and_not_swallowed(name):
    """A broken receiver gives NaN in its own row, in every backend that runs here."""
    case = CASES[name]
    leading = good(name)[case.leading].clone()
    leading[0, 0, 4, 0] = float("nan")
    for backend in ops.backends(name):
        inputs = {k: v for k, v in good(name).items() if isinstance(v, torch.Tensor)} | {
            case.leading: leading
        }
        out = case.run(inputs, backend, **{**case.variants[0].options, "is_causal": True})
        assert out[0, 0, 4].isnan().any(), backend
        if name != "torus_attention":  # whose values are broken too, and weight 0 times NaN is NaN
            assert out[0, 0, :4].isfinite().all(), backend
