"""From kept weights to pictures of mechanisms at work on a suite's page."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from command_line import records, run

from oscbench.models.diagnosed import diagnosed
from oscbench.records import Store
from oscbench.records.diagnostics import read_diagnostics
from oscbench.runner.trained import diagnose, task_for
from oscbench.runner.training.weights import load_trained


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with weights of what each picture needs."""
    folder = tmp_path_factory.mktemp("kept")
    suite = folder / "small.yaml"
    suite.write_text(
        "task: digits\nmodel: {width: 16, heads: 2, layers: 2, patch: 4}\ntrain: {epochs: 1, batch_size: 512}\n"
        "mechanisms: [kope, fixed_query]\nseeds: 1\nfloors: false\nmeasures: [params]\n"
    )
    assert run(suite, folder / "results", keep=["weights"], jobs=1) == 0
    return folder / "results"


def test_a_report_works_out_what_is_not_there_yet_and_shows_it(oscbench, kept, tmp_path):
    told = oscbench("report", "--results", kept, "--output", tmp_path / "page")
    assert (told.code, told.err) == (0, "")
    store, found = Store(kept), records(kept)
    paths = {name: store.diagnostics_path(found[name, "default", 0]) for name in ("kope", "fixed_query")}
    seen = {name: read_diagnostics(path) for name, path in paths.items()}
    kope = found["kope", "default", 0]
    inputs = next(task_for(kope).batches("test", 1)).inputs
    own = diagnosed(load_trained(kope, kept), inputs)
    for name in ("attention", "phases"):
        np.testing.assert_allclose(seen["kope"].of(name), own.of(name), atol=2e-3)
    assert seen["fixed_query"].of("pull")[0].shape == (2, 5, 8)
    np.testing.assert_array_equal(seen["kope"].image, inputs[0].numpy())
    html = (tmp_path / "page" / "suite-small.html").read_text()
    for title in (
        "Whom CLS hears, mean over heads",
        "Phase of the first oscillator as a hue",
        "from random starts",
    ):
        assert title in html, title
    assert "Which tokens are locked" not in html, "both hear every token"
    stamps = {path: path.stat().st_mtime_ns for path in paths.values()}
    assert diagnose(kept, [], print) == 0, "once is enough"
    assert {path: path.stat().st_mtime_ns for path in paths.values()} == stamps


def test_what_is_torn_or_none_of_ours_is_no_picture(kept, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    np.savez(tmp_path / "c.npz", places=np.zeros((2, 2)), special=np.array([{}, {}], dtype=object))
    assert [read_diagnostics(tmp_path / name) for name in ("a.npz", "b.npz", "c.npz", "none.npz")] == [
        None
    ] * 4
    said: list[str] = []
    record = next(iter(records(kept).values()))
    Store(tmp_path).write(record)
    Store(tmp_path).write_weights(record, b"torn")
    assert diagnose(tmp_path, [], said.append) == 0
    assert len(said) == 1
    assert "weights cannot be read" in said[0]


def test_long_sequences_are_cut_and_modes_stay(monkeypatch):
    import oscbench

    monkeypatch.setattr("oscbench.models.diagnosed.MOST_TOKENS", 6)
    model = oscbench.build_model(
        "rope", "char_lm", model={"width": 16, "heads": 2, "layers": 1}, task_settings={"length": 12}
    )
    seen = diagnosed(model, torch.randint(256, (2, 12)), sample=1)
    assert seen.of("attention")[0].shape == (2, 6, 6)
    assert len(seen.places) == len(seen.special) == 6
    assert model.training
    assert seen.image is None
    assert not seen.is_image
