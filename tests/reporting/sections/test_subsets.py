"""The headline metric in parts: subsets of the test split, and longer inputs with their refusals."""

from __future__ import annotations

from synthetic_records import make_record, replaced

from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.records import Measurement, Record
from oscbench.reporting.sections.subsets import lengths_table, subsets_table


def fraction(value: float | None, **more: object) -> Measurement:
    return Measurement(value=value, unit="fraction", label="made up", direction="higher", **more)  # type: ignore[arg-type]


def experiment(records: list[Record]) -> Experiment:
    (only,) = assemble(Loaded(tuple(records), (), ()), ()).experiments
    return only


def test_subsets_stand_beside_the_whole() -> None:
    cells = [
        replaced(
            make_record("plain", s, value=0.9),
            {"accuracy_hard": fraction(0.8 + 0.01 * s, n=1200), "accuracy_at_2x": fraction(0.7)},
        )
        for s in range(3)
    ]
    table = subsets_table(experiment(cells))
    assert table is not None
    assert [column.heading for column in table.columns] == ["Mechanism", "All (n 540)", "Hard (n 1200)"]
    assert table.rows[0][2].text == "81.0 % ± 2.5"
    assert subsets_table(experiment([make_record()])) is None


def test_seeds_that_a_paper_calls_failed_are_counted_for_every_entry() -> None:
    def agreement(mechanism: str, seed: int, hard: float) -> Record:
        cell = make_record(mechanism, seed, suite="agreement").model_copy(update={"task": "agreement"})
        return replaced(cell, {"accuracy_hard": fraction(hard)})

    cells = [agreement("wave", seed, hard) for seed, hard in enumerate((0.84, 0.9, 0.6))]
    table = subsets_table(experiment([*cells, *(agreement("plain", seed, 0.85) for seed in range(3))]))
    assert table is not None
    assert table.columns[-1].heading == "Seeds below 85.0 % in Hard"
    assert {row[0].text: row[-1].text for row in table.rows} == {"wave": "2 of 3", "plain": "0 of 3"}


def test_subsets_stand_in_the_order_of_their_numbers() -> None:
    counts = {f"accuracy_{n}_pairs": fraction(0.5) for n in (16, 0.1, 2, 0.01, 8, 0.001)}
    table = subsets_table(experiment([replaced(make_record("plain"), counts)]))
    assert table is not None
    assert [column.heading.split(" (")[0] for column in table.columns[2:]] == [
        f"{n} pairs" for n in ("0.001", "0.01", "0.1", "2", "8", "16")
    ]


def test_a_refused_length_says_why_and_is_not_a_number() -> None:
    why = "unsupported: learned positions end at 64 tokens"
    refused = fraction(None, method="unavailable", reason=why)
    cells = [
        replaced(
            make_record(m, s),
            {"accuracy_at_1x": fraction(0.9), "accuracy_at_2x": refused if m == "plain" else fraction(0.6)},
        )
        for m in ("plain", "wave")
        for s in range(2)
    ]
    table = lengths_table(experiment(cells))
    assert table is not None
    shown = {row[0].text: row[2] for row in table.rows}
    assert (shown["plain"].text, shown["plain"].value) == (why, None)
    assert shown["wave"].text.startswith("60.0 %")
    assert [column.heading for column in table.columns][1:] == ["1× as long", "2× as long"]
    assert (
        next(row for row in table.raw if row["mechanism"] == "plain" and row["measure"] == "accuracy_at_2x")[
            "reason"
        ]
        == why
    )
    assert lengths_table(experiment([make_record()])) is None
