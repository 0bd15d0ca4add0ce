"""Published numbers beside ours: the same quantity is compared, anything else is shown with the reason why it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published_records import RECIPE, measured, record
from synthetic_records import make_record

from oscbench.analysis.costs.growth import TimingRow
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.published.matches import Beside, beside, verdict
from oscbench.analysis.published.numbers import PublishedError, find_published, read_published
from oscbench.analysis.published.rules import read_answers
from oscbench.analysis.statistics.seeds import welch_interval
from oscbench.analysis.study import assemble
from oscbench.records import Record
from oscbench.reporting.sections.environment import unanswered_table
from oscbench.reporting.sections.published import beside_table
from oscbench.reporting.sections.published_times import ratios_table


def experiment(records: list[Record]) -> Experiment:
    (only,) = assemble(Loaded(tuple(records), (), ()), ()).experiments
    return only


def agreement(values: list[float], mechanism: str = "fixed_query", d_osc: int = 2, **spec: Any) -> Experiment:
    settings = {"d_osc": d_osc, "exponent": 1, "anchors": "free", "mask_readout": False}
    sentences = {"training_sentences": 40_000, "distractors": 0.6}
    return experiment(
        [
            record(
                "agreement",
                mechanism,
                seed,
                {
                    "accuracy": measured(v),
                    "validation_accuracy": measured(v),
                    "validation_accuracy_hard": measured(v - 0.005),
                },
                given=sentences,
                settings=settings if mechanism == "fixed_query" else {},
                **spec,
            )
            for seed, v in enumerate(values)
        ]
    )


def one(found: tuple[Beside, ...], quantity: str) -> Beside:
    (chosen,) = [b for b in found if b.rule.quantity == quantity and b.same] or [
        b for b in found if b.rule.quantity == quantity
    ]
    return chosen


def test_every_published_number_has_one_place() -> None:
    answers = read_answers()
    for row in read_published():
        held = [pick for rule in (*answers.rules, *answers.timings) if (pick := rule.published).holds(row)]
        reasons = [pick for pick in answers.unanswered if pick.holds(row)]
        assert len(held) + len(reasons) == 1, (row.task, row.metric, row.config)


def test_the_same_quantity_gets_a_verdict_against_our_interval() -> None:
    found = beside(agreement([0.977, 0.978, 0.979, 0.9785]))
    accuracy = one(found, "accuracy, all sentences")
    assert accuracy.measure == "validation_accuracy"
    assert accuracy.theirs == pytest.approx(0.9781)
    assert accuracy.seeds == 5
    assert verdict(accuracy) == "inside our interval"
    away = one(beside(agreement([0.90, 0.901, 0.902])), "accuracy, all sentences")
    assert (
        verdict(away)
        == "differs by \u22127.71 points, outside our interval and beyond the spread of both over seeds"
    )
    # Theirs is 92.19 % with a standard deviation of 7.8 points: five points are well within what their seeds do.
    softmax = one(beside(agreement([0.975, 0.976, 0.977], "softmax")), "accuracy, all sentences")
    assert verdict(softmax).endswith(
        "outside our interval, but the spread of both over seeds leaves that open"
    )


def test_one_seed_of_ours_gives_no_interval() -> None:
    found = one(beside(agreement([0.97])), "accuracy, all sentences")
    assert verdict(found) == "differs by \u22120.81 points; one seed of ours gives no interval"


def test_another_recipe_is_noted_and_another_model_is_not_comparable() -> None:
    noted = one(beside(agreement([0.978, 0.979], train={**RECIPE, "warmup": 0.1})), "accuracy, all sentences")
    assert verdict(noted).endswith("; noted: warm-up share: ours 0.1, theirs 0")
    other = one(beside(agreement([0.978, 0.979], d_osc=8)), "accuracy, all sentences")
    assert verdict(other) == "not comparable: d_osc: ours 8, theirs 2"


def test_the_test_split_is_not_their_validation_split() -> None:
    given = {"training_sentences": 40_000, "distractors": 0.6}
    cells = [record("agreement", "softmax", s, {"accuracy": measured(0.92)}, given=given) for s in range(2)]
    only_test = experiment(cells)
    found = one(beside(only_test), "accuracy, all sentences")
    assert verdict(found) == "not comparable: ours is on the test split, theirs on validation"


def test_failures_are_counted_and_a_diverged_seed_is_one() -> None:
    cells = list(agreement([0.80, 0.95, 0.96, 0.97], "softmax").standings[0].cells)
    cells.append(
        cells[0].model_copy(update={"seed": 9, "identity": "x", "status": "diverged", "measures": {}})
    )
    found = one(beside(experiment(cells)), "failed seeds (hard accuracy below 85 %)")
    assert (found.ours, len(found.values), found.theirs, found.seeds) == (2.0, 5, 1.0, 5)
    assert "inside our 95 % interval" in verdict(found)


def test_characters_compare_only_on_enwik8_and_at_their_size() -> None:
    def bits(path: str | None, params: int, mechanism: str = "torus") -> tuple[Beside, ...]:
        measures = {"bits_per_character": measured(1.7, "bits/character"), "params": measured(params, "1")}
        given = {"path": path}
        return beside(experiment([record("char_lm", mechanism, s, measures, given=given) for s in range(2)]))

    python = one(bits(None, 1_000_000), "test bits per character")
    assert verdict(python) == "not comparable: data: ours Python's standard library, theirs enwik8"
    wiki = one(bits("data/enwik8", 1_040_000), "test bits per character")
    assert wiki.same
    assert wiki.theirs == 1.637
    baseline = one(bits("enwik8", 1_000_000, "rope"), "test bits per character")
    assert baseline.theirs == 1.616
    assert "activation" in verdict(baseline)
    small = one(bits("enwik8", 200_000), "test bits per character")
    assert "parameters: ours 200" in verdict(small)


def test_words_are_the_same_quantity_on_their_corpus_alone() -> None:
    def words(corpus: str, size: int) -> Beside:
        name = f"best_validation_perplexity_{corpus}_words{size}_len50"
        given = {"corpus": corpus, "words": size, "length": 50, "stories": None}
        model = {"width": 128, "heads": 4, "layers": 2}
        train = {**RECIPE, "epochs": 30}
        cells = [
            record(
                "word_lm",
                "softmax",
                s,
                {name: measured(99.0 + s, "1")},
                given=given,
                model=model,
                train=train,
                hidden=512,
            )
            for s in range(3)
        ]
        found = [b for b in beside(experiment(cells)) if b.published.dataset == "WikiText-2"]
        return one(tuple(found), "validation perplexity, best epoch")

    assert verdict(words("wikitext2", 10_000)).startswith("inside our interval")
    assert "data: ours python_docs, theirs WikiText-2; vocabulary: ours 4000" in verdict(
        words("python_docs", 4_000)
    )


def test_keywords_of_a_machine_are_not_those_of_people_and_positions_are_looked_up() -> None:
    def heard(path: str | None, needs_position: bool) -> Beside:
        model = {"width": 32, "heads": 2, "layers": 1, "position": "auto", "dropout": 0.1}
        train = {**RECIPE, "epochs": 30, "learning_rate": 1e-3}
        cells = []
        for s in range(3):
            made = record(
                "keywords",
                "softmax",
                s,
                {"validation_accuracy": measured(0.90)},
                given={"path": path},
                model=model,
                train=train,
            )
            card = made.card.model_copy(update={"traits": {"needs_position": needs_position}})
            cells.append(made.model_copy(update={"card": card}))
        return beside(experiment(cells))[0]

    assert heard("speech_commands", True).published.config["pe"] == "learned_abs"
    assert heard("speech_commands", False).published.config["pe"] == "none"
    assert "data: ours espeak-ng's, theirs people's words" in verdict(heard(None, True))


def test_closed_forms_are_equal_or_differ() -> None:
    def counted(value: int) -> Beside:
        details = {"tokens": 9, "mechanism_counts": {"multiply_adds": value}}
        measures = {
            "accuracy": measured(0.5),
            "operations": measured(1.0, "multiply-add equivalents", details=details),
        }
        found = beside(experiment([record("any", "softmax", s, measures) for s in range(2)]))
        return one(found, "multiply-adds of one layer of the mechanism, all digital")

    assert verdict(counted(42048)) == "equal"
    assert verdict(counted(42049)).startswith("differs by +1")


def test_the_table_names_source_interval_and_seeds() -> None:
    shown = agreement([0.977, 0.978, 0.979])
    table = beside_table(shown, beside(shown))
    assert table is not None
    row = table.rows[0]
    assert row[0].text == "fixed_query"
    assert row[2].text.startswith("97.8 % ± 0.2")
    assert row[3].text == "97.8 % ± 0.15 (5 seeds)"
    assert "sva_paper_final.json" in row[6].text
    assert "same_quantity" in table.raw[0]


def test_published_ratios_stand_beside_ours_by_tokens() -> None:
    def row(contender: str, value: float) -> TimingRow:
        more = {"suite": "t", "device": "cpu", "setting": "x", "batch": 1, "unit": "1", "reason": None}
        return TimingRow(
            family="blocks",
            contender=contender,
            quantity="forward_ratio",
            tokens=128,
            value=value,
            rounds=1,
            details={},
            **more,
        )

    table = ratios_table("slug", [row("softmax", 1.0), row("ssa", 2.5)])
    assert table is not None
    assert [cell.text for cell in table.rows[0][:3]] == ["128", "1.56×", "2.50×"]
    assert table.rows[1][2].text == "n/a"
    assert "Not comparable as times (other hardware" in table.caption
    assert ratios_table("slug", [row("softmax", 1.0)]) is None


def discovered(mechanism: str, path: str = "tetrominoes", **settings: Any) -> Experiment:
    values = {"fg_ari": measured(0.88), "mbo": measured(0.56)}
    recipe = {"epochs": 50, "batch_size": 256, "learning_rate": 1e-3}
    return experiment(
        [
            record(
                "stored_discovery",
                mechanism,
                seed,
                values,
                given={"path": path, "temperature": 0.1},
                settings=settings,
                model={"width": 128, "layers": 1, "pool": "max"},
                train=recipe,
            )
            for seed in range(3)
        ]
    )


def test_objects_found_stand_beside_akorns_where_the_scenes_are_the_same() -> None:
    found = beside(discovered("akorn", steps=8, condition="none"))
    same = {b.rule.quantity: b.theirs for b in found if b.same}
    assert same == {"FG-ARI, Tetrominoes": pytest.approx(0.886), "MBO, Tetrominoes": pytest.approx(0.564)}
    fewer_steps = beside(discovered("akorn", "multi_dsprites", steps=4, condition="none"))
    assert not any(b.same for b in fewer_steps)
    softmax = [b for b in beside(discovered("softmax")) if b.rule.quantity == "MBO, Tetrominoes"]
    assert [b.same for b in softmax] == [False]
    assert "theirs softmax in one block that runs eight times" in softmax[0].reasons[0]


def test_what_nothing_answers_says_why() -> None:
    table = unanswered_table([make_record()])
    reasons = {row[3].text for row in table.rows}
    assert "no records of the task agreement here" in reasons
    assert "no task reads these scenes" in reasons
    assert "no records of the task stored_discovery here" in reasons
    here = {row[3].text for row in unanswered_table([make_record(task="agreement")]).rows}
    assert "no records of the task agreement here" not in here


def test_welch_interval_of_known_numbers() -> None:
    # Two groups of equal size and spread: Welch is then Student's with 2n - 2 degrees of freedom, t = 2.306 at 8.
    ours = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = welch_interval(ours, 1.0, 2.5**0.5, 5)
    assert (found.low, found.high) == (
        pytest.approx(2 - 2.306004, abs=1e-5),
        pytest.approx(2 + 2.306004, abs=1e-5),
    )
    assert not welch_interval([1.0], 1.0, 1.0, 5).exists


@pytest.mark.parametrize(
    ("text", "message"),
    [("rules: [", "not readable"), ("ruls: []", "mechanisms"), (None, "not readable")],
)
def test_a_broken_mapping_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "answers.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PublishedError, match=message) as caught:
        read_answers(path)
    assert "\n" not in str(caught.value)


def test_the_mapping_lies_beside_the_numbers() -> None:
    assert find_published().with_name("answers.yaml").is_file()
