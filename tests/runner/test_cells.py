"""What a run leaves behind: computed once, the same again, and a record for whatever breaks."""

from __future__ import annotations

import json
import platform

import pytest
import torch
from command_line import TINY, records, run, values

BROKEN = ("Raises", "Nan", "Unsupported", "OutOfMemory", "Exits", "NoRecord")


def stamps(results):
    return {
        path.name: path.stat().st_mtime_ns
        for path in results.rglob("*.json")
        if ".set_aside" not in path.parts
    }


def set_aside(results):
    return [path for path in results.rglob("*.json") if ".set_aside" in path.parts]


def reproduce(finished, results, **options):
    """The finished suite, run again elsewhere."""
    assert run(finished.parent / "tiny.yaml", results, **options) == 0
    return records(results)


def test_second_run_computes_nothing(finished, capfd):
    before = stamps(finished)
    assert run(finished.parent / "tiny.yaml", finished) == 0
    assert stamps(finished) == before
    assert capfd.readouterr().err.count("already there") == len(before) == 4


def test_cells_are_bitwise_the_same_again_whatever_runs_beside_them(finished, tmp_path):
    there = records(finished)
    again = reproduce(finished, tmp_path / "results", jobs=1)
    assert there.keys() == again.keys()
    for key, record in there.items():
        assert values(record) == values(again[key])
    assert len({json.dumps(values(record)["curves"]["train_loss"].y) for record in there.values()}) == 4


def test_record_says_what_was_asked_resolved_and_found(finished):
    record = records(finished)["kope", "default", 1]
    assert record.status == "ok"
    assert record.spec["train"]["beta2"] == 0.99, "defaults are filled in"
    assert record.spec_given["train"] == {"epochs": 1, "batch_size": 128}
    assert record.environment["threads"] == record.spec["threads"] == 1
    assert record.environment["backends_ran"]
    softmax = records(finished)["softmax", "default", 1].environment["backends_ran"]
    assert softmax["softmax_attention"] == ["sdpa"]
    # Diagnostics ask for values as wide as there are tokens, which no fused kernel takes.
    assert softmax["scaled_dot_product_attention"] == ["flash_attention", "math"]
    assert record.measures["accuracy"].n == 500
    assert record.matching.reference == "softmax"
    assert abs(record.matching.residual) < 0.01
    assert record.card.label == "KoPE"
    assert {row.when for row in record.health} == {"start", "end"}


def test_denormals_are_zero_where_cells_run(finished):
    """On x86 they cost a step up to ten times its time; the smallest normal number halved is one."""
    from oscbench.machine.process import prepare_process

    prepare_process(records(finished)["kope", "default", 1].spec)
    halved = torch.full((40,), torch.finfo(torch.float32).tiny) * 0.5
    assert platform.machine() != "x86_64" or not halved.any()


def training_inputs(cell):
    """The first batch as calibration sees it, and every batch of training."""
    from oscbench.machine.process import prepare_process
    from oscbench.measures import Subject
    from oscbench.runner.training.kind import _first_batch
    from oscbench.runner.training.loop import train
    from oscbench.runner.training.specs import match_spec, parts_of

    spec, batches = cell.spec, []
    prepare_process(spec)
    parts = parts_of(spec)
    task = parts.task_class(parts.task_config)
    loss = task.loss

    def noting(prediction, batch):
        batches.append(batch.inputs)
        return loss(prediction, batch)

    task.loss = noting
    model = parts.build(spec["mechanism"], match_spec(spec, task.inputs).hidden, spec["seed"], task.inputs)
    subject = Subject(model, task, next(task.batches("validation", 8)), torch.device("cpu"), 128)
    first = _first_batch(task, spec).inputs
    train(subject, spec["train"], spec["seed"], lambda done, total: None)
    return first, batches


def test_all_mechanisms_of_a_seed_see_the_same_data(finished):
    from oscbench.runner.plan import make_plan
    from oscbench.suite import load_suite

    found = records(finished)
    assert len({record.data_hash for record in found.values()}) == 1
    assert len({record.protocol for record in found.values()}) == 1
    seen = {}
    for cell in make_plan(load_suite(str(finished.parent / "tiny.yaml")), only=[], device="cpu"):
        first, batches = training_inputs(cell)
        assert torch.equal(first, batches[0]), "calibration sees the first batch of training"
        seen[cell.spec["mechanism"]["name"], cell.spec["seed"]] = torch.cat(batches)
    for seed in (0, 1):
        assert torch.equal(seen["softmax", seed], seen["kope", seed])
    assert not torch.equal(seen["kope", 0], seen["kope", 1])


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """(suite, results, exit code) of a run in which each cell breaks in its own way but one."""
    folder = tmp_path_factory.mktemp("broken")
    names = ", ".join(["softmax", *(f"throwaway_mechanisms:{name}" for name in BROKEN)])
    lines = TINY | {"mechanisms": f"[{names}]"}
    suite = folder / "broken.yaml"
    suite.write_text("\n".join(f"{key}: {value}" for key, value in lines.items()))
    return suite, folder / "results", run(suite, folder / "results")


def test_cell_that_cannot_repeat_itself_runs_all_the_same_and_says_so(tmp_path):
    lines = TINY | {
        "mechanisms": "[softmax, 'throwaway_mechanisms:CannotRepeat']",
        "seeds": "[0]",
        "match": "{by: none}",
    }
    suite = tmp_path / "unrepeatable.yaml"
    suite.write_text("\n".join(f"{key}: {value}" for key, value in lines.items()))
    assert run(suite, tmp_path / "results") == 0
    softmax, other = sorted(records(tmp_path / "results").values(), key=lambda record: record.mechanism)
    assert (softmax.environment["deterministic"], other.environment["deterministic"]) == (True, False)
    assert softmax.measures["accuracy"].value == other.measures["accuracy"].value
    assert len(softmax.curves["train_loss"].y) == len(other.curves["train_loss"].y)


def test_cell_that_breaks_is_a_record_with_status_and_reason(broken):
    _, results, code = broken
    assert code == 1
    found = {name: (record.status, record.reason) for (name, _, _), record in records(results).items()}
    assert found.pop("softmax") == ("ok", None)
    assert found.pop("Raises") == ("failed", "RuntimeError: broken on purpose (throwaway_mechanisms.py:22)")
    assert found.pop("Exits") == ("failed", "its process ended with code 3 before it left a record")
    status, reason = found.pop("Nan")
    assert (status, reason) == ("diverged", "the loss is nan at step 1 of 9")
    assert found.pop("Unsupported") == ("unsupported", "not made for this machine")
    status, reason = found.pop("OutOfMemory")
    assert status == "oom"
    assert "can't allocate memory" in reason
    status, reason = found.pop("NoRecord")
    assert status == "failed"
    assert reason.startswith("no record could be made")
    assert found == {}


def test_diverged_cell_keeps_the_curve_that_led_there(tmp_path):
    lines = TINY | {
        "train": "{epochs: 3, batch_size: 128, learning_rate: 1e30, clip: null}",
        "mechanisms": "[softmax]",
    }
    suite = tmp_path / "hot.yaml"
    suite.write_text("\n".join(f"{key}: {value}" for key, value in lines.items()))
    assert run(suite, tmp_path / "results") == 0
    (record,) = records(tmp_path / "results").values()
    assert record.status == "diverged"
    assert len(record.curves["train_loss"].y) >= 1


def test_diverged_and_unsupported_are_results_and_failures_are_tried_again(broken, capfd):
    suite, results, _ = broken
    before = stamps(results)
    only = "mechanism=softmax,throwaway_mechanisms:Nan,throwaway_mechanisms:Unsupported"
    assert run(suite, results, only=[only]) == 0
    told = capfd.readouterr().err
    assert stamps(results) == before
    assert "1 ok, 1 diverged, 1 unsupported" in told
    assert "throwaway_mechanisms:Nan:default seed 0: the loss is nan" in told
    assert run(suite, results, only=["mechanism=softmax,throwaway_mechanisms:Raises"]) == 1
    after = stamps(results)
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if "Raises" in name
    }
    assert len(set_aside(results)) == 1, "the old failure is kept"


def test_killed_worker_costs_its_own_cell_alone_and_is_tried_again(tiny, tmp_path):
    suite = tiny(
        mechanisms=f"[softmax, {{name: 'throwaway_mechanisms:DiesOnce', settings: {{folder: {tmp_path}}}}}]"
    )
    results = tmp_path / "results"
    assert run(suite, results) == 1
    first = records(results)
    assert first["softmax", "default", 0].status == "ok"
    (dead,) = (record for (name, _, _), record in first.items() if name == "DiesOnce")
    assert dead.status == "failed"
    assert "signal 9 (SIGKILL)" in dead.reason
    before = stamps(results)
    assert run(suite, results) == 0
    after = stamps(results)
    assert [name for name in after if before.get(name) != after[name]] == [
        n for n in after if "DiesOnce" in n
    ]
    assert all(record.status == "ok" for record in records(results).values())


def test_fresh_computes_again_and_keeps_the_old_records(finished, tmp_path):
    results = tmp_path / "results"
    first = reproduce(finished, results, only=["mechanism=softmax", "seed=0"])
    second = reproduce(finished, results, only=["mechanism=softmax", "seed=0"], fresh=True)
    (key,) = first
    assert second[key].started_utc > first[key].finished_utc
    assert values(second[key]) == values(first[key])
    assert len(set_aside(results)) == 1


def test_damaged_record_is_named_set_aside_and_computed_again(finished, tmp_path, capfd):
    results = tmp_path / "results"
    only = ["mechanism=softmax", "seed=0"]
    first = reproduce(finished, results, only=only)
    (path,) = results.rglob("*.json")
    path.write_bytes(path.read_bytes()[:1000])
    second = reproduce(finished, results, only=only)
    assert [values(record) for record in first.values()] == [values(record) for record in second.values()]
    assert f"{path}: " in capfd.readouterr().err
    assert len(set_aside(results)) == 1


def test_every_label_holds_a_whole_suite_and_nothing_is_computed_twice(finished, tmp_path, capfd):
    results = tmp_path / "results"
    from oscbench.records import Store

    reproduce(finished, results, only=["mechanism=softmax"], overrides=["seeds=1"])
    capfd.readouterr()
    reproduce(finished, results, only=["mechanism=softmax"])
    assert capfd.readouterr().err.count("already there") == 1
    by_label = {}
    for record in Store(results).read_all()[0]:
        by_label.setdefault(record.suite, []).append(record.seed)
    assert {label: sorted(seeds) for label, seeds in by_label.items()} == {
        "tiny[seeds=1]": [0],
        "tiny": [0, 1],
    }


def test_dry_run_shows_sizes_and_what_is_there_and_changes_nothing(finished, tmp_path):
    from oscbench.runner.session import dry_run

    before = stamps(finished)
    suite = str(finished.parent / "tiny.yaml")
    rows, line, _ = dry_run(suite, results=finished, only=[], overrides=[], jobs=2)
    assert [row["seconds"] for row in rows] == ["there"] * 4
    assert line.startswith("0 of 4 cells to run")
    there = records(finished)
    for row in rows:
        record = there[row["mechanism"], row["variant"], row["seed"]]
        assert row["params"] == f"{record.measures['params'].value:,}"
        assert row["MFLOP/sample"] == f"{record.measures['flops'].value / 1e6:.2f}"
        assert row["residual"] == f"{record.matching.residual:+.2%}"
    nothing = tmp_path / "nothing"
    overrides = ["mechanisms.1=throwaway_mechanisms:Raises"]
    rows, line, _ = dry_run(suite, results=nothing, only=[], overrides=overrides, jobs=2)
    assert "4 of 4 cells to run" in line
    assert rows[0]["seconds"].isdigit()
    assert rows[1]["seconds"] == "RuntimeError: broken on purpose"
    assert not nothing.exists()
    assert stamps(finished) == before


def test_steps_end_a_run_within_an_epoch_and_validate_there(tiny, tmp_path):
    suite = tiny(train="{steps: 13, batch_size: 128}", mechanisms="[softmax]")
    assert run(suite, tmp_path / "results") == 0
    (record,) = records(tmp_path / "results").values()
    assert record.spec["train"]["steps"] == 13
    assert "epochs" not in record.spec["train"], "one spelling of a recipe, one identity"
    curve = record.curves["validation_accuracy"]
    assert curve.x == (9.0, 13.0), "an epoch has 9 batches here"
    best = record.measures["best_validation_accuracy"]
    assert best.value == max(curve.y)
    assert record.measures["validation_accuracy"].value == curve.y[-1]


def test_validation_every_few_steps_changes_nothing_else(tiny, tmp_path):
    mechanisms = {"mechanisms": "[softmax]"}
    plain = tiny(train="{steps: 13, batch_size: 128}", **mechanisms)
    assert run(plain, tmp_path / "plain") == 0
    often = tiny(train="{steps: 13, batch_size: 128, validate_every: 5}", **mechanisms)
    assert run(often, tmp_path / "often") == 0
    (first,), (second,) = (records(tmp_path / name).values() for name in ("plain", "often"))
    assert second.curves["validation_accuracy"].x == (5.0, 10.0, 13.0)
    assert second.curves["train_loss"].y == first.curves["train_loss"].y
    assert second.measures["accuracy"].value == first.measures["accuracy"].value
    assert "validate_every" not in first.spec["train"], "a recipe without it keeps its identity"


def test_who_hears_the_future_gets_no_score(tmp_path):
    suite, results = tmp_path / "bytes.yaml", tmp_path / "results"
    suite.write_text(
        "task: {name: char_lm, length: 16, windows: 8, evaluation_windows: 4}\n"
        "model: {width: 16, heads: 2, layers: 1}\ntrain: {steps: 1, batch_size: 4}\nseeds: 1\nfloors: false\n"
        "mechanisms: [softmax, 'lawless_mechanisms:Foresees']\n"
    )
    assert run(suite, results) == 1
    told = {name: (record.status, record.reason) for (name, _, _), record in records(results).items()}
    assert told["softmax"] == ("ok", None)
    status, reason = told["Foresees"]
    assert status == "failed"
    assert reason.startswith("mechanism Foresees hears the future: its outputs change by")


def test_epochs_of_a_single_batch_are_not_each_validated(tiny, tmp_path):
    suite = tiny(
        train="{steps: 101, batch_size: 64}", mechanisms="[softmax]", task="{name: digits, fraction: 0.05}"
    )
    assert run(suite, tmp_path / "results") == 0
    (record,) = records(tmp_path / "results").values()
    curve = record.curves["validation_accuracy"]
    assert curve.x == (*range(3, 100, 3), 101.0), "an epoch is one batch, 2 % of the run a little over two"


def test_data_that_changed_between_two_runs_are_told(tmp_path, capfd):
    text = tmp_path / "text.txt"
    suite = tmp_path / "bytes.yaml"
    suite.write_text(
        f"task: {{name: char_lm, path: {text}, length: 16, windows: 8, evaluation_windows: 4}}\n"
        "model: {width: 16, heads: 2, layers: 1}\ntrain: {steps: 1, batch_size: 4}\nmatch: {tolerance: 0.2}\n"
        "mechanisms: [softmax, rope]\nseeds: 1\n"
    )
    results = tmp_path / "results"
    text.write_bytes(b"the first text, which is short. " * 100)
    assert run(suite, results, only=["mechanism=softmax"]) == 0
    assert run(suite, results, only=["mechanism=softmax"]) == 0
    assert "data changed" not in capfd.readouterr().err
    text.write_bytes(b"another text that lies at its place " * 100)
    assert run(suite, results, only=["mechanism=softmax"]) == 0
    said = capfd.readouterr().err
    assert f"{text} (task.path) has changed since 1 of these cells ran, which count as they are" in said
    assert run(suite, results) == 0
    said = capfd.readouterr().err
    assert "the data changed since some of these cells ran (char_lm seed 0)" in said
    assert said.count("--fresh") == 1
    assert run(suite, results, fresh=True) == 0
    assert "data changed" not in capfd.readouterr().err
