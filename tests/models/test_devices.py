"""A model on another device, without one: `meta` stands for it, and a dispatch mode watches what crosses over.

The mode refuses an operation between tensors of both devices, as a GPU would, and counts what would make the host wait for one:
reading a number, and copies between host and device.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oscbench import catalog
from oscbench.tasks import ImageInputs, SequenceInputs

META = torch.device("meta")
WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique2", "aten.equal")
SETTINGS = {"width": 16, "heads": 2, "layers": 3}


class Watch(TorchDispatchMode):
    """Tensors of two devices meet nowhere; `waits` lists what a GPU would be waited for."""

    def __init__(self):
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        name = str(func).removesuffix(".default")
        # A number in host memory may meet any tensor.
        sides = {x.device.type for x in given if x.dim() or x.device.type == "meta"}
        if len(sides) > 1 and not name.startswith("aten.copy_"):
            raise AssertionError(f"{name} between {sorted(sides)}")
        out = func(*args, **kwargs)
        sides |= {x.device.type for x in tree_leaves(out) if isinstance(x, torch.Tensor)}
        crosses = len(sides) > 1
        if crosses or (name.startswith(WAITS) and "meta" in sides):
            self.waits.append(name)
        return out


def model_on_meta(name, family):
    mechanism, backbone = catalog.load("mechanisms", name), catalog.load("backbones", family)
    if family == "vision":
        inputs, size = ImageInputs(1, 8, 8, 10), {"patch": 2}
        given = torch.zeros(2, 1, 8, 8, device=META)
    else:
        inputs, size = SequenceInputs(11, 12, 11, True, None), {}
        given = torch.zeros(2, 12, dtype=torch.int64, device=META)
    config = backbone.Config(**SETTINGS, **size)
    model = backbone(config, inputs, mechanism, mechanism.Config(), hidden=None, seed=0)
    return model.to(META), given


@pytest.mark.parametrize("family", ["vision", "sequence"])
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_a_step_stays_on_its_device_and_waits_for_nothing(name, family):
    model, given = model_on_meta(name, family)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True, capturable=False)

    def step():
        optimizer.zero_grad(set_to_none=True)
        model(given).prediction.float().square().mean().backward()

    step()  # positions and what follows from them go over once
    with Watch() as watch:
        step()
    assert watch.waits == []


@pytest.mark.parametrize("family", ["vision", "sequence"])
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_diagnostics_stay_on_their_device(name, family):
    model, given = model_on_meta(name, family)
    with Watch(), torch.no_grad():
        for layer in model(given, diagnostics=True).diagnostics:
            # A number of its own may stay with the host.
            assert {x.device for x in layer.values() if x.dim()} == {META}


def test_the_watch_sees_what_it_is_for():
    with Watch() as watch, pytest.raises(AssertionError, match="between"):
        torch.zeros(2, device=META) + torch.zeros(2)
    with Watch() as watch:
        torch.zeros(2).to(META)
    assert watch.waits
