"""A model on another device, without one: `meta` stands for it, and a dispatch mode watches what crosses over.

The mode refuses an operation between tensors of both devices, as a GPU would, and counts what would make the host wait for one:
reading a number, and copies between host and device.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.fx.experimental._config
from measure_subjects import make_subject
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oscbench import catalog
from oscbench.measures import Subject
from oscbench.measures.health import Health
from oscbench.models import generation
from oscbench.runner.training import loop
from oscbench.runner.training.loop import make_optimizer
from oscbench.tasks import Batch, ImageInputs, SequenceInputs

META = torch.device("meta")
WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique2", "aten.equal")
SETTINGS = {"width": 16, "heads": 2, "layers": 3}
RECIPE = {
    "batch_size": 512,
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "warmup": 0.1,
    "beta2": 0.99,
    "clip": 1.0,
}


class Watch(TorchDispatchMode):
    """Tensors of two devices meet nowhere; `waits` lists what a GPU would be waited for, `sent` counts what it copies by itself.

    Numbers that are read are ones, since there are none.
    """

    def __init__(self):
        super().__init__()
        self.waits: list[str] = []
        self.sent = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        name = str(func).removesuffix(".default")
        # A number in host memory may meet any tensor.
        sides = {x.device.type for x in given if x.dim() or x.device.type == "meta"}
        if len(sides) > 1 and not name.startswith("aten.copy_"):
            raise AssertionError(f"{name} between {sorted(sides)}")
        if name == "aten._to_copy" and "meta" in sides and kwargs.get("device") == torch.device("cpu"):
            out = torch.ones(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)  # read as ones
        elif name == "aten._local_scalar_dense" and "meta" in sides:
            out = 1
        else:
            out = func(*args, **kwargs)
        sides |= {x.device.type for x in tree_leaves(out) if isinstance(x, torch.Tensor)}
        crosses = len(sides) > 1
        if crosses and kwargs.get("non_blocking") and given[0].device.type == "cpu":
            self.sent += 1
        elif crosses or (name.startswith(WAITS) and "meta" in sides):
            self.waits.append(name)
        return out


def model_on_meta(name, family, settings=None):
    mechanism, backbone = catalog.load("mechanisms", name), catalog.load("backbones", family)
    if family == "vision":
        inputs, size = ImageInputs(1, 8, 8, 10), {"patch": 2}
        given = torch.zeros(2, 1, 8, 8, device=META)
    else:
        inputs, size = SequenceInputs(11, 12, 11, True, None), {}
        given = torch.zeros(2, 12, dtype=torch.int64, device=META)
    config = backbone.Config(**SETTINGS, **size)
    model = backbone(config, inputs, mechanism, mechanism.Config(**(settings or {})), hidden=None, seed=0)
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


def optimizer_of(model, settings):
    """AdamW as `meta` has it, which knows no fused kernel."""
    groups = make_optimizer(model, settings).param_groups
    given = [{key: group[key] for key in ("params", "weight_decay", "lr")} for group in groups]
    return torch.optim.AdamW(given, foreach=True)


TRAINED = [
    *((name, {"steps": 2} if name == "akorn" else {}) for name in catalog.names("mechanisms")),
    # New noise in every step is drawn by the host, and sent like a batch.
    ("akorn", {"steps": 2, "redraw": True}),
]


@pytest.mark.parametrize(("name", "settings"), TRAINED)
def test_a_training_waits_for_its_device_once_an_epoch(name, settings, monkeypatch):
    subject = make_subject(name, settings, width=16, layers=1, patch=4)
    subject.model.to(META)
    subject.device = META
    monkeypatch.setattr(loop, "make_optimizer", optimizer_of)
    steps = 2 * loop.steps_per_epoch(subject.task, RECIPE)
    waits = []
    with Watch() as watch:
        loop.train(
            subject, RECIPE | {"steps": steps}, 0, lambda *_: waits.append(list(watch.waits)), until=steps
        )
    assert len(waits) == steps == len(subject.history.losses)
    half = steps // 2
    assert waits[0] == waits[half - 1], "positions and what follows from them go over with the first step"
    assert [waits[half][len(waits[0]) :], waits[-1][len(waits[0]) :]] == [
        ["aten._to_copy"],
        ["aten._to_copy"],
    ]
    assert watch.waits[len(waits[-1]) :] == ["aten._to_copy"]
    assert watch.sent == (3 if "redraw" in settings else 2) * steps


@pytest.mark.parametrize("family", ["vision", "sequence"])
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_calibration_and_health_stay_on_their_device(name, family):
    mechanism = catalog.load("mechanisms", name)
    for settings in ({}, *mechanism.examples[:1]):
        model, given = model_on_meta(name, family, settings)
        targets = torch.zeros(
            given.shape if family == "sequence" else len(given), dtype=torch.int64, device=META
        )
        task = SimpleNamespace(loss=lambda prediction, batch: prediction.float().square().mean())
        subject = Subject(model, task, Batch(given, targets), META, 2)
        # A mask that is an index counts what it picks; here it picks all.
        with Watch(), torch.fx.experimental._config.patch(meta_nonzero_assume_all_nonzero=True):
            model.calibrate(given)
            found = Health(Health.Config()).before(subject)
        assert {row.layer for row in found.health} == set(range(SETTINGS["layers"]))


@pytest.mark.parametrize(
    "name", [n for n in catalog.names("mechanisms") if catalog.load("mechanisms", n).traits.cacheable]
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generation_stays_on_its_device(name, temperature):
    model, given = model_on_meta(name, "sequence")
    model.eval()
    generator = None if temperature == 0.0 else torch.Generator()
    with Watch():
        made = generation.generate(model, given[:, :5], 2, temperature=temperature, generator=generator)
    assert made.shape == (2, 7)
    assert made.device == META


def test_the_watch_sees_what_it_is_for():
    with Watch() as watch, pytest.raises(AssertionError, match="between"):
        torch.zeros(2, device=META) + torch.zeros(2)
    with Watch() as watch:
        torch.zeros(2).to(META)
    assert watch.waits
