"""`--fresh`: everything is computed again, and what was there before is kept aside."""

from __future__ import annotations

import shutil

import pytest
from command_line import breaking_suite, records, run

from oscbench.errors import UserError
from oscbench.records import Store
from oscbench.records.packing import pack
from oscbench.runner.cell_spec import Keeping


def aside(folder):
    return sorted(path.name.split("-", 1)[1] for path in folder.rglob(".set_aside/*"))


def test_it_does_not_go_on_from_a_checkpoint(tmp_path, capfd):
    slip, results = tmp_path / "slip", tmp_path / "results"
    slip.touch()
    suite = breaking_suite(tmp_path, slip)
    assert run(suite, results) == 1
    slip.unlink()
    assert run(suite, results, fresh=True) == 0
    assert "goes on from step" not in capfd.readouterr().err
    assert len(list((results / ".checkpoints" / "mine").glob("*.set_aside"))) == 1


def test_weights_and_what_was_drawn_of_them_go_with_their_record(tiny, tmp_path):
    suite, results = tiny(mechanisms="[softmax]", seeds=1), tmp_path / "results"
    assert run(suite, results, keep=["weights"]) == 0
    store, (record,) = Store(results), records(results).values()
    store.write_diagnostics(record, b"of the first")
    assert run(suite, results, fresh=True) == 0
    assert not store.weights_path(record).exists()
    assert not store.diagnostics_path(record).exists()
    stem = store.path_of(record).stem
    assert aside(results) == [f"{stem}{end}" for end in (".diagnostics.npz", ".json", ".safetensors")]


def test_pictures_of_other_weights_are_not_kept(tiny, tmp_path):
    suite, results = tiny(mechanisms="[softmax]", seeds=1), tmp_path / "results"
    assert run(suite, results, keep=["weights"]) == 0
    store, (record,) = Store(results), records(results).values()
    store.write_diagnostics(record, b"of the first")
    store.write_weights(record, store.weights_path(record).read_bytes())
    assert not store.diagnostics_path(record).exists()


def test_packed_records_are_refused_before_any_other_is_moved(finished, tmp_path):
    results, suite = tmp_path / "results", finished.parent / "tiny.yaml"
    shutil.copytree(finished, results)
    for packed in pack("tiny", finished, tmp_path / "packed"):
        shutil.copy(packed.path, results)
    loose = sorted((results / "tiny").glob("*.json"))
    loose[-1].unlink()
    with pytest.raises(
        UserError, match=r"packed records, which --fresh does not put aside; give another --results$"
    ):
        run(suite, results, fresh=True)
    assert sorted((results / "tiny").glob("*.json")) == loose[:-1]
    assert not aside(results)


def test_checkpoints_lie_by_suite_as_locks_do():
    keeping = Keeping(checkpoints="s3://bucket/cells/")
    assert keeping.checkpoints_of("one[seeds=1]") == keeping.checkpoints_of("one") == "s3://bucket/cells/one"
    assert keeping.checkpoints_of("two") == "s3://bucket/cells/two"
    assert Keeping().checkpoints_of("one") is None
