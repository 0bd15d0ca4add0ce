"""A small subject for the measures: any mechanism on the digits task, without training."""

from __future__ import annotations

import torch

from oscbench import catalog
from oscbench.measures import Subject

SMALL = {"width": 32, "heads": 2, "layers": 2, "patch": 2}


def make_subject(name: str = "softmax", settings: dict | None = None, **model_settings) -> Subject:
    """An untrained model on digits with its probe batch."""
    task_class, backbone_class = catalog.load("tasks", "digits"), catalog.load("backbones", "vision")
    mechanism_class = catalog.load("mechanisms", name)
    task = task_class(task_class.Config())
    model = backbone_class(
        backbone_class.Config(**{**SMALL, **model_settings}),
        task.inputs,
        mechanism_class,
        mechanism_class.Config(**(settings or {})),
        hidden=None,
        seed=0,
    )
    return Subject(model, task, next(task.batches("validation", 8)), torch.device("cpu"), 8)
