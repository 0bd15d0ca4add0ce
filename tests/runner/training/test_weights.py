"""`--keep weights`: a safetensors file beside the record, read back to the same predictions."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from command_line import records, run

from oscbench import catalog
from oscbench.errors import UserError
from oscbench.records import Store
from oscbench.runner.training.specs import parts_of
from oscbench.runner.training.weights import load_trained


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of every mechanism that keeps weights, and its records."""
    folder = tmp_path_factory.mktemp("weights")
    suite = folder / "tiny.yaml"
    suite.write_text(
        "task: digits\nmodel: {width: 16, heads: 2, layers: 1, patch: 4, dropout: 0.1}\n"
        "train: {epochs: 1, batch_size: 512}\n"
        f"mechanisms: [{', '.join(catalog.names('mechanisms'))}]\nseeds: 1\n"
    )
    assert run(suite, folder / "results", keep=["weights"]) == 0
    return suite, folder / "results"


def test_every_mechanism_is_read_back_to_the_same_predictions(kept):
    found = {key: one for key, one in records(kept[1]).items() if one.spec["kind"] == "train"}
    assert {name for name, _, _ in found} == set(catalog.names("mechanisms"))
    for record in found.values():
        model = load_trained(record, kept[1])
        assert not model.training
        parts = parts_of(record.spec)
        task = parts.task_class(parts.task_config)
        for split, prefix in (("test", ""), ("validation", "validation_")):
            score = task.evaluate(model, split, torch.device("cpu"))["accuracy"]
            assert score.value == record.measures[f"{prefix}accuracy"].value, record.mechanism


def test_the_file_stands_beside_the_record_and_says_whose_it_is(kept):
    store = Store(kept[1])
    record = records(kept[1])["softmax", "default", 0]
    path = store.weights_path(record)
    assert path == store.path_of(record).with_suffix(".safetensors")
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"identity": record.identity}


def test_weights_that_are_missing_torn_or_another_models_are_refused_in_a_line(kept, tmp_path):
    found = records(kept[1])
    store, other = Store(kept[1]), Store(tmp_path)
    softmax, kope = found["softmax", "default", 0], found["kope", "default", 0]
    with pytest.raises(UserError, match="no weights; run the suite with --keep weights"):
        load_trained(softmax, tmp_path)
    whole = store.weights_path(softmax).read_bytes()
    other.write_weights(softmax, whole[: len(whole) // 2])
    with pytest.raises(UserError, match="weights cannot be read"):
        load_trained(softmax, tmp_path)
    other.write_weights(kope, whole)
    with pytest.raises(UserError, match="weights of another model"):
        load_trained(kope, tmp_path)


def test_cells_that_ran_before_without_weights_are_told(tiny, tmp_path, capfd):
    suite, results = tiny(mechanisms="[softmax]"), tmp_path / "results"
    assert run(suite, results) == 0
    assert run(suite, results, keep=["weights"]) == 0
    assert (
        "1 of these cells ran before without --keep weights; --fresh runs them again"
        in capfd.readouterr().err
    )
    assert run(suite, results, keep=["weights"], fresh=True) == 0
    assert len(list(results.rglob("*.safetensors"))) == 1
    assert len(records(results)) == 1, "weights are no records"


def test_what_cannot_be_kept_is_one_line(tiny, tmp_path):
    with pytest.raises(UserError, match=r'--keep: got "weight".*did you mean "weights"'):
        run(tiny(), tmp_path / "results", keep=["weight"])
