"""How a step is taken: in which precision, compiled, in parts, captured; and what it leaves for the device to finish."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from measure_subjects import make_subject
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oscbench import catalog
from oscbench.machine.process import prepare_process
from oscbench.measures import History
from oscbench.models.step import take_step
from oscbench.models.trunk import named_seed
from oscbench.runner.plan import make_plan
from oscbench.runner.training import preview
from oscbench.runner.training.checkpoint import Training
from oscbench.runner.training.graph import WARM_UP, rates_on_device
from oscbench.runner.training.learner import Compiled, learner, stepper
from oscbench.runner.training.loop import (
    data_generators,
    learning_rate_factor,
    make_optimizer,
    make_schedule,
    train,
)
from oscbench.runner.training.pending import DivergedError, Pending
from oscbench.runner.training.specs import request_key
from oscbench.suite import load_suite

RECIPE = {
    "steps": 12,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup": 0.1,
    "beta2": 0.99,
    "clip": 1.0,
}
NEUTRAL = {"precision": "fp32", "compile": False, "accumulate": 1, "graph": False}
MECHANISMS = catalog.names("mechanisms")
SMALL = {"width": 16, "heads": 2, "layers": 2, "patch": 4}
VARIANTS = [
    (name, settings) for name in MECHANISMS for settings in ({}, *catalog.load("mechanisms", name).examples)
]


def trained(subject, **changes):
    """Losses of a short training."""
    train(subject, RECIPE | changes, 0, lambda done, total: None, until=RECIPE["steps"])
    return subject.history.losses


@pytest.mark.parametrize("settings", [{}, NEUTRAL], ids=["as before", "spelled out"])
def test_at_neutral_values_a_training_is_the_plain_loop_bit_for_bit(settings):
    subject = make_subject("kope", dropout=0.1)
    model, task = copy.deepcopy(subject.model), subject.task
    losses = trained(subject, **settings)
    assert learner(model, RECIPE | settings, 64) is model
    optimizer = make_optimizer(model, RECIPE)
    schedule = make_schedule(optimizer, RECIPE, RECIPE["steps"])
    torch.manual_seed(named_seed(0, "dropout"))
    plain = []
    for batch, _ in zip(task.training_batches(64, *data_generators(0)), range(RECIPE["steps"]), strict=False):
        plain.append(float(take_step(model, task, batch, optimizer, RECIPE["clip"])))
        schedule.step()
    assert losses == plain


def gradients(subject, batch, **settings):
    """The gradient of a batch, whole, and its loss."""
    model = subject.model
    torch.manual_seed(1)
    loss = subject.task.loss(
        learner(model, RECIPE | settings, len(batch.inputs))(batch.inputs).prediction, batch
    )
    model.zero_grad(set_to_none=True)
    loss.backward()
    parts = {name: x.grad for name, x in model.named_parameters() if x.grad is not None}
    return loss.detach(), parts


def off(found, expected):
    """Relative distance of two gradients."""
    assert found.keys() == expected.keys()
    apart = torch.stack([(found[name].double() - expected[name].double()).norm() for name in expected]).norm()
    return float(apart / torch.stack([x.double().norm() for x in expected.values()]).norm())


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(name, parts):
    subject = make_subject(name, **SMALL)
    batch = next(subject.task.training_batches(30, *data_generators(0)))  # 8 parts of 4 and 3
    subject.model.calibrate(batch.inputs)
    whole_loss, whole = gradients(subject, batch)
    loss, found = gradients(subject, batch, accumulate=parts)
    assert float(loss) == pytest.approx(float(whole_loss), rel=1e-5)
    assert off(found, whole) < 1e-4


def test_a_loss_that_relates_examples_and_one_of_unlike_counts_are_those_of_the_whole_batch():
    captions = catalog.load("tasks", "captions")
    task = captions(
        captions.Config(images_per_meaning=1, validation_images=1, test_images=1, single_digits=10)
    )
    subject = make_subject("softmax")
    recall = catalog.load("tasks", "recall")
    unlike = recall(
        recall.Config(num_pairs=(2, 8), length=32, train_examples=64, validation_examples=8, test_examples=8)
    )
    for own, family, more in ((task, "dual", {"patch": 8}), (unlike, "sequence", {})):
        backbone, mechanism = catalog.load("backbones", family), catalog.load("mechanisms", "softmax")
        config = backbone.Config(width=16, heads=2, layers=1, **more)
        model = backbone(config, own.inputs, mechanism, mechanism.Config(), hidden=None, seed=0)
        subject = replace(subject, model=model, task=own)
        batch = next(own.training_batches(16, *data_generators(0)))
        whole_loss, whole = gradients(subject, batch)
        loss, found = gradients(subject, batch, accumulate=4)
        assert float(loss) == pytest.approx(float(whole_loss), rel=1e-5)
        assert off(found, whole) < 1e-5


def test_parts_predicted_again_draw_the_same_dropout():
    subject = make_subject("softmax", dropout=0.5)
    batch = next(subject.task.training_batches(32, *data_generators(0)))
    subject.model.train()
    _, found = gradients(subject, batch, accumulate=4)
    model, parts = subject.model, []
    torch.manual_seed(1)
    predictions = torch.cat([model(part).prediction for part in batch.inputs.tensor_split(4)])
    model.zero_grad(set_to_none=True)
    subject.task.loss(predictions, batch).backward()
    parts = {name: x.grad for name, x in model.named_parameters() if x.grad is not None}
    assert off(found, parts) < 1e-5


class Dtypes(TorchDispatchMode):
    """Narrow tensors that meet operations which are to stay wide, and whether a matrix product was narrow."""

    WIDE = (
        "aten.cos",
        "aten.sin",
        "aten.atan2",
        "aten.exp",
        "aten.sqrt",
        "aten.rsqrt",
        "aten._softmax",
        "aten.logsumexp",
    )

    def __init__(self):
        super().__init__()
        self.narrow = set()
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        if any(x.dtype == torch.bfloat16 for x in given):
            name = str(func).rpartition(".")[0]
            if name.removesuffix("_") in self.WIDE:
                self.narrow.add(name)
            self.products += name in ("aten.mm", "aten.addmm")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_narrow_products_leave_phases_angles_and_locking_wide(name, settings):
    subject = make_subject(name, settings, **SMALL)
    batch = next(subject.task.training_batches(16, *data_generators(0)))
    subject.model.calibrate(batch.inputs)
    wide_loss, wide = gradients(subject, batch)
    with Dtypes() as seen:
        loss, found = gradients(subject, batch, precision="bf16")
    assert seen.narrow == set()
    assert seen.products > 0
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(wide_loss), rel=2e-2)
    assert all(x.dtype == torch.float32 and bool(x.isfinite().all()) for x in found.values())
    # Who is just locked, or the k-th strongest, is decided by the last bits of the layer before.
    assert off(found, wide) < (0.5 if name == "ssa" else 0.2)


def test_a_whole_batch_goes_through_the_compiled_model_and_a_smaller_one_does_not(monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **how: compiled(model, backend="eager", **how))
    subject = make_subject("kope", **SMALL)
    made = Compiled(subject.model, 32)
    calls = []
    inner = made._compiled[0]
    made._compiled[0] = lambda inputs: calls.append(len(inputs)) or inner(inputs)
    batches = list(subject.task.training_batches(32, *data_generators(0)))
    for batch in (batches[0], batches[-1]):
        expected = subject.model(batch.inputs).prediction
        torch.testing.assert_close(made(batch.inputs).prediction, expected, rtol=1e-4, atol=1e-5)
    assert len(batches[-1].inputs) < 32
    assert calls == [32]
    assert isinstance(
        learner(subject.model, RECIPE | {"compile": True, "precision": "bf16"}, 64).own, Compiled
    )


def test_compiled_narrow_training_learns_as_eager_does(monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **how: compiled(model, backend="eager", **how))
    eager, made = (
        trained(make_subject("kope", **SMALL), precision="bf16", compile=how) for how in (False, True)
    )
    assert made == pytest.approx(eager, rel=1e-2)


class Recorder:
    """A graph that is no graph: a replay takes the step again on what was captured, and sees that it is all still there."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.warmed = self.recorded = self.replayed = 0

    def warm(self, step, *, proves=False):
        self.warmed += 1
        assert proves == (self.warmed == WARM_UP), (
            "the last step before the capture proves that it can be captured"
        )
        return step()

    def record(self, step):
        self.recorded += 1
        rates = [group["lr"] for group in self.optimizer.param_groups]
        assert all(isinstance(rate, torch.Tensor) for rate in rates)
        assert all(x.grad is None for group in self.optimizer.param_groups for x in group["params"])
        loss = torch.zeros(())

        def replay():
            self.replayed += 1
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                assert group["lr"] is rate, "a graph reads the tensor that it was captured with"
            loss.copy_(step())

        return replay, loss


@pytest.fixture
def graphs(monkeypatch):
    """Trainings capture with `Recorder`; those that did."""
    from oscbench.runner.training import loop

    made = []

    def with_recorder(model, task, optimizer, settings):
        recorder = Recorder(optimizer)
        made.append(recorder)
        return stepper(model, task, optimizer, settings, lambda: recorder)

    monkeypatch.setattr(loop, "stepper", with_recorder)
    return made


def test_captured_steps_are_steps_of_the_training(graphs):
    changes = {"steps": 60, "batch_size": 100}  # 13 batches an epoch, the last of them smaller
    plain, captured = make_subject("kope", **SMALL), make_subject("kope", **SMALL)
    seen = []
    train(plain, RECIPE | changes, 0, lambda done, total: None)
    train(captured, RECIPE | changes | {"graph": True}, 0, lambda done, total: seen.append(done))
    recorder = graphs[1]
    sizes = [len(batch.inputs) for batch in plain.task.training_batches(100, *data_generators(0))]
    ragged = sum((sizes * 60)[step] != 100 for step in range(60))
    assert ragged > 0
    assert (recorder.warmed, recorder.recorded) == (WARM_UP, 1)
    assert recorder.replayed == 60 - WARM_UP - ragged
    assert seen == list(range(1, 61))
    assert graphs[0].recorded == 0
    # Learning rates are tensors in float32 here, and Python's floats there.
    assert captured.history.losses == pytest.approx(plain.history.losses, rel=1e-3)
    assert captured.history.losses[:2] == plain.history.losses[:2]
    assert [step for step, _ in captured.history.validation] == [step for step, _ in plain.history.validation]


def test_rates_in_tensors_follow_the_schedule_and_survive_a_checkpoint(tmp_path):
    subject = make_subject("kope", {"coupling_rate": 0.5}, **SMALL)
    settings = RECIPE | {"graph": True}

    def begun(model):
        optimizer = make_optimizer(model, settings)
        schedule = make_schedule(optimizer, settings, 12)
        rates_on_device(optimizer, torch.device("cpu"))
        return Training(model, optimizer, schedule, *data_generators(0), History())

    one = begun(subject.model)
    factors = [group["lr"].item() / learning_rate_factor(0, 12, 0.1) for group in one.optimizer.param_groups]
    take = stepper(subject.model, subject.task, one.optimizer, RECIPE)
    batches = one.epoch(subject.task, 64)
    for _ in range(5):
        take(next(batches))
        one.schedule.step()
        one.stepped()
        for group, factor in zip(one.optimizer.param_groups, factors, strict=True):
            expected = factor * learning_rate_factor(one.done, 12, 0.1)
            assert float(group["lr"]) == pytest.approx(expected, rel=1e-6)
    torch.save(one.captured(), tmp_path / "kept")
    other = begun(copy.deepcopy(subject.model))
    held = [group["lr"] for group in other.optimizer.param_groups]
    other.restore(torch.load(tmp_path / "kept", weights_only=True))
    for ours, theirs, rate in zip(
        other.optimizer.param_groups, one.optimizer.param_groups, held, strict=True
    ):
        assert ours["lr"] is rate
        assert torch.equal(ours["lr"], theirs["lr"])
    other.schedule.step()
    one.schedule.step()
    assert [float(g["lr"]) for g in other.optimizer.param_groups] == [
        float(g["lr"]) for g in one.optimizer.param_groups
    ]


def test_losses_of_a_device_are_read_together_in_order():
    history = History()
    pending = Pending(history, torch.device("meta"), 3)
    for value in (3.0, 2.0, 1.0):
        pending.begin()
        pending.end(torch.tensor(value))
        assert history.losses == []
    pending.read()
    assert history.losses == [3.0, 2.0, 1.0]
    assert len(history.step_seconds) == 3
    pending.read()
    assert len(history.losses) == 3


def test_no_more_steps_than_a_few_hundred_wait_to_be_read(monkeypatch):
    from oscbench.runner.training import pending as module

    monkeypatch.setattr(module, "MOST", 4)
    history = History()
    pending = Pending(history, torch.device("meta"), 10)
    for step in range(1, 11):
        pending.begin()
        pending.end(torch.tensor(float(step)))
        assert len(history.losses) == step // 4 * 4


@pytest.mark.parametrize("ending", ["epoch", "error"])
def test_a_loss_found_late_to_be_no_number_is_dated_to_its_step(ending):
    history = History(followed={"order": [(0, 1.0), (2, 0.5), (3, 0.1), (5, 0.0)], "late": [(4, 1.0)]})

    def run():
        with Pending(history, torch.device("meta"), 9) as pending:
            for value in (3.0, 2.0, float("nan"), float("nan"), 1.0):
                pending.begin()
                pending.end(torch.tensor(value))
            if ending == "error":
                raise RuntimeError("what came of it")

    with pytest.raises(DivergedError, match="the loss is nan at step 3 of 9"):
        run()
    assert history.losses[:2] == [3.0, 2.0]
    assert len(history.losses) == len(history.step_seconds) == 3
    assert history.followed == {"order": [(0, 1.0), (2, 0.5)]}


def planned(tiny, train, mechanisms="[softmax]", device="cpu"):
    path = tiny(train=train, mechanisms=mechanisms)
    return make_plan(load_suite(str(path)), only=[], device=device, has_gpu=lambda: True)


@pytest.mark.parametrize(
    "changed", ["precision: bf16", "precision: tf32", "compile: true", "accumulate: 4", "graph: true"]
)
def test_how_a_step_is_taken_belongs_to_the_protocol_and_a_neutral_value_to_nothing(tiny, changed):
    (usual,) = planned(tiny, "{epochs: 1, batch_size: 128}", device="cuda")
    neutral = "precision: fp32, compile: false, accumulate: 1, graph: false"
    (spelled,) = planned(tiny, f"{{epochs: 1, batch_size: 128, {neutral}}}", device="cuda")
    (other,) = planned(tiny, f"{{epochs: 1, batch_size: 128, {changed}}}", device="cuda")
    assert spelled.identity == usual.identity
    assert spelled.spec == usual.spec
    assert other.identity != usual.identity
    assert other.protocol != usual.protocol, "never compared"
    assert other.spec["train"] == usual.spec["train"] | {
        changed.partition(":")[0]: other.spec["train"][changed.partition(":")[0]]
    }
    assert request_key(other.spec) != request_key(usual.spec), "matched by the time of its own step"
    assert request_key(spelled.spec) == request_key(usual.spec)


@pytest.mark.parametrize(
    ("train", "mechanisms", "expected"),
    [
        (
            "precision: fp16",
            "[softmax]",
            'train.precision: got "fp16"; allowed: fp32, tf32, bf16; did you mean',
        ),
        ("precision: tf32", "[softmax]", "train.precision: tf32 rounds matrix products on a GPU"),
        ("graph: true", "[softmax]", "train.graph: true captures a step on a GPU, and cells run on the cpu"),
        ("accumulate: 0", "[softmax]", "train.accumulate: got 0"),
        ("accumulate: 3", "[softmax]", "batches of 64 do not divide into 3 equal parts"),
        ("graph: true, accumulate: 2", "[softmax]", "a captured step takes its batch whole"),
        ("devices: 2, accumulate: 2", "[softmax]", "accumulate is for one device"),
        ("devices: 2, compile: true", "[softmax]", "compile is for one device"),
        ("compile: maybe", "[softmax]", 'train.compile: got "maybe"'),
        (
            "accumulate: 2",
            "[{name: akorn, settings: {redraw: true}}]",
            "draws its start anew in every pass, which train.accumulate would repeat",
        ),
    ],
)
def test_what_cannot_be_is_told_in_one_line(tiny, oscbench, train, mechanisms, expected):
    path = tiny(train=f"{{epochs: 1, batch_size: 64, {train}}}", mechanisms=mechanisms)
    ended = oscbench("run", path, "--device", "cpu", "--dry-run")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert expected in ended.err


def test_matrix_products_on_a_gpu_round_as_the_cell_says(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for precision, expected in (
        ("tf32", ("high", True)),
        ("bf16", ("highest", False)),
        (None, ("highest", False)),
    ):
        train = {} if precision is None else {"precision": precision}
        prepare_process({"device": "cuda", "threads": 1, "train": train})
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == expected


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_on_a_gpu_captured_steps_learn_what_eager_ones_do(name, precision):
    changes = {"steps": 40, "batch_size": 100, "precision": precision}
    prepare_process({"device": "cuda", "threads": 1, "train": changes})

    def history(graph):
        subject = make_subject(name, **SMALL)
        subject.model.to("cuda")
        subject.device = torch.device("cuda")
        train(subject, RECIPE | changes | {"graph": graph}, 0, lambda done, total: None, until=40)
        return subject.history

    eager, captured = history(False), history(True)
    assert captured.losses[:WARM_UP] == pytest.approx(eager.losses[:WARM_UP], rel=1e-3)
    # Rounding grows in training, so the later steps are held loosely.
    assert captured.losses == pytest.approx(eager.losses, rel=0.2)
    assert all(seconds > 0.0 for seconds in captured.step_seconds)


def test_a_dry_run_times_a_replay(graphs):
    subject = make_subject("kope", **SMALL)
    preview._first_steps(subject, RECIPE | {"graph": True}, 0)
    assert (graphs[0].warmed, graphs[0].recorded) == (WARM_UP, 1)
    assert graphs[0].replayed == preview.TIMED_STEPS
