"""What the gates guard: every mechanism in one small model, and softmax beside it."""

from __future__ import annotations

import torch

from oscbench import catalog
from oscbench.instruments.clock import Contender
from oscbench.instruments.passes import model_pass
from oscbench.measures import Subject
from oscbench.measures.evaluations import Evaluations
from oscbench.measures.flops import Flops
from oscbench.measures.operations import OperationCount
from oscbench.measures.params import Params
from oscbench.ops.flops import flop_counter

SETTINGS = {"width": 64, "heads": 4, "layers": 3, "patch": 1}
BATCH = 12
# Evaluations are guarded where they do not depend on rounding: with fixed steps.
VARIANTS = {"fixed_query:ode": {"dynamics": "ode", "solver": "rk4", "num_steps": 5}}


def names() -> list[str]:
    """Every mechanism of the catalog that is a file of ours, and the variants."""
    return [*catalog.names("mechanisms"), *VARIANTS]


def make_subject(name: str) -> Subject:
    """The model of a mechanism on the digits task, 65 tokens."""
    torch.set_num_threads(1)
    mechanism_class = catalog.load("mechanisms", name.partition(":")[0])
    task_class, backbone_class = catalog.load("tasks", "digits"), catalog.load("backbones", "vision")
    task = task_class(task_class.Config())
    model = backbone_class(
        backbone_class.Config(**SETTINGS),
        task.inputs,
        mechanism_class,
        mechanism_class.Config(**VARIANTS.get(name, {})),
        hidden=None,
        seed=0,
    )
    return Subject(model, task, next(task.batches("validation", BATCH)), torch.device("cpu"), BATCH)


def hard_numbers(subject: Subject) -> dict[str, float]:
    """Parameters, FLOPs in closed form and as counted, operations by kind, evaluations."""
    found = {}
    for measure_class in (Params, Flops, OperationCount, Evaluations):
        found |= measure_class(measure_class.Config()).after(subject).measures
    hard = {name: found[name].value for name in ("params", "flops", "training_flops", "evaluations")}
    hard |= {f"operations.{kind}": count for kind, count in found["operations"].details["counts"].items()}
    with flop_counter() as counter, torch.no_grad():
        subject.model(subject.probe.inputs[:1])
    return hard | {"counted_flops": counter.get_total_flops()}


def step_of(name: str) -> Contender:
    """A training step of a mechanism's model."""
    subject = make_subject(name)
    return model_pass("step", subject.model, subject.task, subject.probe)


def build_step(name: str):
    """For the child that measures peak memory."""
    return step_of(name).run
