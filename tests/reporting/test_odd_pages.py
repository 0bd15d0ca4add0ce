"""What seldom stands in a page and must not break it or say more than it knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded, load
from oscbench.analysis.study import assemble
from oscbench.errors import ReportError
from oscbench.records import Curve
from oscbench.reporting import build_report
from oscbench.reporting.documents import picture
from oscbench.reporting.documents.support.standings import comparison_cells, standings_table
from oscbench.reporting.documents.support.suites import report_of
from oscbench.reporting.documents.support.tables import gain
from oscbench.reporting.page.table import Table
from oscbench.reporting.render.latex import escaped
from oscbench.reporting.render.markdown import cell
from oscbench.reporting.report import study_of
from oscbench.reporting.sections.curves import _End, _finding
from oscbench.reporting.sections.health import health_table
from oscbench.reporting.sections.solved_grids import Tile, rule_picture
from oscbench.reporting.sections.targets import targets_table

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
CURVE = Curve(label="accuracy", unit="fraction", x=(1.0,), y=(0.5,), direction="higher")


@pytest.mark.parametrize(
    ("direction", "other", "told"),
    [
        ("higher", (0.80, 0.79, 0.81), "\nwave ends best at every seed, at 90.0 %"),
        ("higher", (0.90, 0.88, 0.92), ""),
        ("higher", (0.87, 0.80, 0.89), ""),
        ("lower", (0.95, 0.94, 0.96), "\nwave ends best at every seed, at 90.0 %"),
        ("lower", (0.95, 0.90, 0.99), ""),
        ("none", (0.1, 0.1, 0.1), ""),
    ],
)
def test_a_curves_title_names_the_best_only_where_no_seed_of_another_comes_up_to_it(direction, other, told):
    ends = [
        _End("plain", "k", *(100 * x for x in other)),
        _End("wave", "k", 90.0, 89.0, 91.0),
    ]
    assert _finding(ends, CURVE.model_copy(update={"direction": direction})) == told


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("+ better, − worse", "\\+ better, − worse"),
        ("# 3", "\\# 3"),
        ("2. second", "2\\. second"),
        ("2.5 points", "2.5 points"),
        ("-1 is not 1", "-1 is not 1"),
        ("_x_ and __init__", "\\_x\\_ and \\_\\_init\\_\\_"),
        ("scene_segmentation", "scene_segmentation"),
        ("[a](b) ~~c~~", "[a]\\(b) \\~\\~c\\~\\~"),
        ("[+0.1, +0.2]", "[+0.1, +0.2]"),
    ],
)
def test_markdown_takes_no_text_for_a_sign_of_its_own(text, safe):
    assert cell(text) == safe


def test_tables_of_targets_hold_no_sign_that_pdflatex_does_not_know():
    told = {sign for suite in ("sudoku", "gamma") for sign in signs(suite)}
    assert {sign for sign in told if not escaped(sign).isascii()} == set()


def signs(suite):
    experiments = study_of(REFERENCE, [suite], ()).experiments
    tables = [table for e in experiments if (table := targets_table(e)) is not None]
    return {sign for table in tables for text in texts(table) for sign in text}


def texts(table):
    return [table.caption, *(c.heading for c in table.columns), *(c.text for row in table.rows for c in row)]


def test_pages_only_with_latex_is_refused(tmp_path):
    with pytest.raises(ReportError, match="--pages-only writes no tables beside the pages"):
        build_report(REFERENCE, tmp_path / "page", ["gamma"], formats=["html", "latex"], pages_only=True)
    assert not (tmp_path / "page").exists()


def test_layers_count_from_one_in_the_table_of_health():
    cells = [make_record(name, seed, layers=2) for name in ("plain", "wave") for seed in range(2)]
    (experiment,) = assemble(Loaded(tuple(cells), (), ()), ()).experiments
    table = health_table(experiment)
    assert {row[1].text for row in table.rows} == {"1", "2"}


def test_grids_that_are_not_drawn_leave_no_axes(monkeypatch):
    cells = [make_record("plain", seed) for seed in range(2)]
    (experiment,) = assemble(Loaded(tuple(cells), (), ()), ()).experiments
    drawn = []
    monkeypatch.setattr(
        "oscbench.reporting.sections.solved_grids.finish", lambda figure, *_: drawn.append(figure)
    )
    with matplotlib.rc_context():
        rule_picture(experiment, "mirror", [Tile("no grid", None)] * 7)
    assert [axes.axison for axes in drawn[0].axes] == [True] * 7 + [False]


@pytest.fixture(scope="module")
def concentrated():
    return report_of(load(REFERENCE, ["concentration", "agreement"]), ("concentration", "agreement"))


def test_a_comparison_that_was_not_made_hides_no_other(concentrated):
    experiment = next(
        e for e in concentrated.experiments if len({c.pair.baseline for c in e.comparisons}) == 1
    )
    first = experiment.comparisons[0]
    sides = (first.pair.treatment, first.pair.baseline)
    other = next(s.entry for s in experiment.standings if s.entry not in sides)
    absent = replace(first, paired=None, pair=replace(first.pair, baseline=other))
    more = replace(experiment, comparisons=(*experiment.comparisons, absent))
    assert standings_table(more, first.pair.baseline) == standings_table(experiment, first.pair.baseline)


def test_what_was_not_declared_is_marked_beside_an_equivalence_too(concentrated):
    equivalent = [
        c for e in concentrated.experiments for c in e.comparisons if c.equivalence and c.equivalence.shown
    ]
    assert equivalent
    for one in equivalent:
        told = comparison_cells(replace(one, role="explores"))[2]
        assert "equivalent within" in told
        assert told.endswith("(not declared beforehand)")


def test_entries_without_a_seed_in_common_have_no_difference(concentrated):
    one, other = concentrated.experiments[0].standings[:2]
    moved = replace(one, cells=tuple(r.model_copy(update={"seed": r.seed + 1000}) for r in one.cells))
    assert gain(moved, other, moved.finished[0].metric, "") == "n/a"


def test_a_level_above_one_is_none_of_a_fraction():
    study = study_of(REFERENCE, ["gamma", "language_small"], (), [95.0])
    by_unit = {e.unit: targets_table(e, study.targets) for e in study.experiments}
    assert by_unit["fraction"] is None or "95" not in "".join(texts(by_unit["fraction"])[1:])
    assert len(by_unit) > 1


def test_words_of_a_picture_end_no_attribute():
    assert 'alt="KoPE &quot;best&quot; &lt;b&gt;"' in picture("x", "<svg/>", 'KoPE "best" <b>')[0]


def test_a_table_for_spreadsheets_computes_nothing():
    assert Table("n", "", (), (), ({"entry": "=1+1", "mean": -1.5},)).csv() == "entry,mean\n'=1+1,-1.5\n"
