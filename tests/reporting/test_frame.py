"""One tidy row a cell, exported without loss."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from synthetic_records import make_record, replaced, toy_suite

from oscbench.analysis.frame import KEY, cell_key, load, newest, tidy
from oscbench.records import Measurement, Record, Store, asked
from oscbench.reporting import ReportError, export_frame

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "cpu"
Save = Callable[..., Path]
PROMISED = [
    "suite",
    "cell",
    "task",
    "mechanism",
    "variant",
    "seed",
    "status",
    "device",
    "params",
    "flops",
    "metric",
    "value",
    "seconds",
]


def test_every_promised_column_is_there_and_rows_are_unique() -> None:
    frame = tidy(toy_suite())
    assert list(frame.columns[: len(PROMISED)]) == PROMISED
    assert len(frame) == len(toy_suite())
    assert not frame.duplicated(list(KEY)).any()


def test_measures_are_columns_and_whole_numbers_stay_whole() -> None:
    frame = tidy(toy_suite())
    assert {"accuracy", "step_s", "training_s", "energy"} <= set(frame.columns)
    assert str(frame["params"].dtype) == "Int64"
    assert frame["params"].isna().sum() == 2  # the cells that did not finish
    row = frame.iloc[0]
    assert row["value"] == row["accuracy"]


def test_what_a_cell_was_trained_with_is_in_columns() -> None:
    """As it was resolved and searched, so that whoever exports need not open records."""
    (record,) = [
        one
        for one in load(REFERENCE, ["tuned_digits"]).records
        if (one.mechanism, one.variant, one.seed) == ("kope", "default", 200)
    ]
    row = tidy([record]).iloc[0]
    assert row["position"] == record.spec_given["position"] == "learned+own"
    assert (
        row["learning_rate"] == record.spec["tuned"]["learning_rate"] != record.spec["train"]["learning_rate"]
    )
    assert json.loads(row["settings"])["gamma"] == record.spec["mechanism"]["gamma"]
    assert json.loads(row["chosen"]) == {**record.spec["tuned"], **record.spec["own_model"]}
    assert "settings.gamma" in row["searched"].split(", ")
    assert json.loads(row["versions"]) == record.versions
    assert json.loads(tidy([make_record()]).iloc[0]["chosen"]) == {}


def test_a_measure_named_like_a_fixed_column_does_not_hide_it() -> None:
    record = replaced(make_record(), {"seconds": Measurement(value=1.5, unit="s", label="Odd")})
    frame = tidy([record])
    assert frame["seconds"].iloc[0] == 60.0
    assert frame["measure_seconds"].iloc[0] == 1.5


def test_the_newest_record_of_a_cell_counts_and_the_older_is_named() -> None:
    old, new = make_record(value=0.1), make_record(value=0.2, epochs=4, later=10)
    for order in ([old, new], [new, old]):
        current, superseded = newest(order)
        assert current == (new,)
        assert superseded == (old,)


def test_what_a_suite_asked_for_last_is_shown_although_another_is_newer(save: Save) -> None:
    old, new = make_record(value=0.1), make_record(value=0.2, epochs=4, later=10)
    results = save([old, new])
    assert load(results).records == (new,)
    asked.note(Store(results), [old])
    found = load(results)
    assert (found.records, found.superseded) == ((old,), (new,))
    asked.note(Store(results), [make_record(seed=5)])
    assert load(results).records == (old,), "what a run did not ask for stays as it was asked for before"
    asked.note(Store(results), [asked.Asked(*cell_key(old), "0" * 16)])
    assert load(results).records == (new,), "what was asked for has no record yet"
    (kept,) = results.rglob(asked.FILE)
    for torn in ("{", "[]", '{"a": 3}'):
        kept.write_text(torn)
        assert load(results).records == (new,)


def test_two_records_of_one_cell_are_refused() -> None:
    with pytest.raises(ReportError, match="two records of one cell"):
        tidy([make_record(), make_record(value=0.3)])


def test_a_suites_name_means_all_its_labels_and_a_label_itself(save: Save) -> None:
    results = save(
        [make_record(), make_record(suite="toy[train.epochs=9]", epochs=9), make_record(suite="other")]
    )
    assert {r.suite for r in load(results, ["toy"]).records} == {"toy", "toy[train.epochs=9]"}
    assert {r.suite for r in load(results, ["toy[train.epochs=9]"]).records} == {"toy[train.epochs=9]"}
    assert len(load(results).records) == 3


def test_unknown_suite_names_the_nearest(save: Save) -> None:
    with pytest.raises(ReportError, match=r'suite "tooy" has no records .*did you mean "toy"'):
        load(save([make_record()]), ["tooy"])


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such results folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ReportError, match="no records"):
        load(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ReportError, match=r"no records \(1 damaged: .*bad.json"):
        load(tmp_path)


def awkward() -> list[Record]:
    return [
        make_record(value=0.1 + 0.2),
        make_record(seed=1, status="diverged", reason='loss "nan",\nat step 3'),
        replaced(make_record(seed=2), {"loss": Measurement(value=float("inf"), unit="nats", label="Loss")}),
    ]


def test_csv_keeps_every_digit(save: Save, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    export_frame(save(awkward()))
    frame = pd.read_csv(io.BytesIO(capfdbinary.readouterr().out))
    assert frame["value"].iloc[0] == 0.1 + 0.2
    assert frame["reason"].iloc[1] == 'loss "nan",\nat step 3'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", '=HYPERLINK("x")'])
def test_a_text_that_a_spreadsheet_would_compute_is_quoted_and_numbers_are_not(
    text: str, save: Save, tmp_path: Path
) -> None:
    record = make_record(value=-0.5).model_copy(update={"status": "failed", "reason": text})
    export_frame(save([replaced(record, {"-x": record.measures[record.metric]})]), output=tmp_path / "x.csv")
    frame = pd.read_csv(tmp_path / "x.csv", dtype=str)
    assert frame["reason"].iloc[0] == f"'{text}"
    assert frame["value"].iloc[0] == "-0.5"
    assert "'-x" in frame.columns


def test_json_is_valid_and_keeps_every_digit(save: Save, tmp_path: Path) -> None:
    export_frame(save(awkward()), format="json", output=tmp_path / "deep" / "frame.json")
    rows = json.loads((tmp_path / "deep" / "frame.json").read_text(), parse_constant=pytest.fail)
    assert rows[0]["value"] == 0.1 + 0.2
    assert rows[1]["value"] is None
    assert rows[2]["loss"] is None
    assert rows[0]["dirty"] is False


def test_parquet_round_trip(save: Save, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    export_frame(save(awkward()), format="parquet", output=tmp_path / "frame.parquet")
    frame = pd.read_parquet(tmp_path / "frame.parquet")
    assert frame["value"].iloc[0] == 0.1 + 0.2
    assert frame["loss"].iloc[2] == float("inf")


def test_parquet_without_pyarrow_names_the_remedy(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ReportError, match=r"pip install \"oscbench\[parquet\]\""):
        export_frame(save(awkward()), format="parquet")


def test_unknown_format_and_a_place_that_cannot_be_written(save: Save, tmp_path: Path) -> None:
    results = save(awkward())
    with pytest.raises(ReportError, match='did you mean "parquet"'):
        export_frame(results, format="parkett")
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        export_frame(results, output=tmp_path / "file" / "x.csv")
