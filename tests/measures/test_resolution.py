"""Other image sizes: larger scenes are scored, and refusals stand as null with their reason."""

from __future__ import annotations

import pytest
import torch
from measure_subjects import make_subject

from oscbench import catalog
from oscbench.measures import Subject
from oscbench.measures.resolution import Resolution, ResolutionConfig
from oscbench.tasks import LengthError
from oscbench.tasks.digits import Digits, DigitsConfig


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path_factory.getbasetemp() / "resolution-store"))


def subject(mechanism, **model):
    task_class, dense = catalog.load("tasks", "scene_segmentation"), catalog.load("backbones", "dense")
    task = task_class(task_class.Config(train_scenes=8, validation_scenes=4, test_scenes=6))
    mechanism_class = catalog.load("mechanisms", mechanism)
    config = dense.Config(width=16, heads=2, layers=1, patch=4, **model)
    made = dense(config, task.inputs, mechanism_class, mechanism_class.Config(), hidden=8, seed=0)
    return Subject(made, task, next(task.batches("validation", 4)), torch.device("cpu"), 4)


def test_the_training_size_is_the_metric_itself_and_larger_scenes_have_their_own():
    where = subject("rope")
    found = Resolution(ResolutionConfig(sizes=[32, 48])).after(where).measures
    usual = where.task.evaluate(where.model, "test", where.device)["miou"]
    assert found["miou_at_32"].value == pytest.approx(usual.value)
    larger = where.task.at_size(48).evaluate(where.model, "test", where.device)["miou"]
    assert found["miou_at_48"].value == pytest.approx(larger.value)
    assert found["miou_at_48"].label == "test mIoU, images of 48 × 48"


def test_what_has_no_other_size_says_why():
    refused = Resolution(ResolutionConfig(sizes=[48])).after(subject("softmax")).measures["miou_at_48"]
    assert refused.value is None
    assert refused.reason == (
        "unsupported: learned positions are those of 8 × 8 patches, an image has 12 × 12"
    )
    odd = Resolution(ResolutionConfig(sizes=[42])).after(subject("rope")).measures["miou_at_42"]
    assert odd.reason == "unsupported: patch 4 does not divide images of 42 × 42"
    small = Resolution(ResolutionConfig(sizes=[8])).after(subject("rope")).measures["miou_at_8"]
    assert small.reason.startswith("unavailable: scenes of 8 pixels are smaller than a digit")
    other = Resolution(ResolutionConfig()).after(make_subject()).measures["accuracy_at_48"]
    assert other.reason == "unavailable: inputs of this task have no other size"
    with pytest.raises(LengthError):
        Digits(DigitsConfig()).at_size(16)
