"""Pictures of entries with long names: nothing is cut off, and the axis keeps its room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import Study, assemble
from oscbench.reporting import build_report
from oscbench.reporting.page.style import settings
from oscbench.reporting.sections import overview, seeds

NAMES = ("none", "learned", "learned+own")


def study() -> Study:
    """A suite that crosses entries with positions, on a task with a long name."""
    records = [
        make_record(mechanism, seed, variant=f"spread-1+position={position}")
        for mechanism in ("plain", "wave")
        for position in NAMES
        for seed in range(8)
    ]
    label = "spoken digits, speakers unheard in training"
    named = [record.model_copy(update={"task_label": label}) for record in records]
    ordered = sorted(named, key=lambda record: (record.mechanism, record.variant, record.seed))
    return assemble(Loaded(tuple(ordered), (), ()), ())


def drawn(monkeypatch: pytest.MonkeyPatch, section: Any, draw: Callable[[], object]) -> Figure:
    """The figure of a picture, before it becomes bytes."""
    figures: list[Figure] = []
    usual = section.finish

    def finish(figure: Figure, *rest: Any) -> object:
        figures.append(figure)
        return usual(figure, *rest)

    monkeypatch.setattr(section, "finish", finish)
    draw()
    return figures[0]


def fits(figure: Figure) -> bool:
    """Whether all that is drawn lies between the left edge and the right one, but for a hundredth of an inch."""
    with matplotlib.rc_context(settings()):
        agg = FigureCanvasAgg(figure)
        agg.draw()
        box = figure.get_tightbbox(agg.get_renderer())
    return bool(box.x0 >= -0.01 and box.x1 <= figure.get_figwidth() + 0.01)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("picture", ["seeds_picture", "differences_picture"])
def test_seeds_of_entries_with_long_names(monkeypatch: pytest.MonkeyPatch, picture: str) -> None:
    (experiment,) = study().experiments
    figure = drawn(monkeypatch, seeds, lambda: getattr(seeds, picture)(experiment))
    assert fits(figure)
    assert figure.axes[0].get_position().width > 0.3, "the axis has room beside the names"


@pytest.mark.filterwarnings("error")
def test_forest_of_entries_with_long_names(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = overview.Overview().blocks(study())
    plan = next(block for block in sections if hasattr(block, "draw"))
    figure = drawn(monkeypatch, overview, plan.draw)
    assert fits(figure)


@pytest.mark.usefixtures("undrawn")
def test_a_long_list_of_settings_is_no_name_too_long_for_a_file(
    save: Callable[..., Any], tmp_path: Any
) -> None:
    """Each of two suites that differ at the very end has its own tables."""
    many = ",".join(f"task.setting_{number}={number}" for number in range(40))
    records = [
        make_record(mechanism, suite=f"toy[{many},z={end}]")
        for mechanism in ("plain", "wave")
        for end in ("é", "ü")
    ]
    index = build_report(save(records), tmp_path / "report")
    assert len(list((index.parent / "tables").glob("toy-*-results.csv"))) == 2
