"""Where lower is better a difference is turned for the page's forests."""

from synthetic_records import make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.reporting.page.verdict import answer, improvement


def test_a_forest_shows_what_is_better_on_one_side_whatever_the_metric() -> None:
    def told(direction: str):
        records = []
        for name, values in (("plain", [2.0, 2.1, 2.2]), ("wave", [1.8, 1.95, 2.0])):
            for seed, value in enumerate(values):
                record = make_record(name, seed, value=value)
                own = record.measures["accuracy"].model_copy(
                    update={"direction": direction, "unit": "bits/character"}
                )
                records.append(record.model_copy(update={"measures": record.measures | {"accuracy": own}}))
        (comparison,) = assemble(Loaded(tuple(records), (), ()), ["wave,plain"]).comparisons
        return comparison, improvement(comparison)

    lower, span = told("lower")
    assert span == (-lower.paired.interval.high, -lower.paired.mean, -lower.paired.interval.low)
    assert span[1] > 0, "fewer bits are better"
    assert answer(lower).span == span
    higher, span = told("higher")
    assert span == (higher.paired.interval.low, higher.paired.mean, higher.paired.interval.high)
