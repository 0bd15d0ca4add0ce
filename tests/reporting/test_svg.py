"""Hints over points, and drawings that stand inside a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from oscbench.reporting.page.figure import Picture, canvas, finish
from oscbench.reporting.page.style import PALETTE, theme
from oscbench.reporting.page.svg import hint

USE, TITLE = "{http://www.w3.org/2000/svg}use", "{http://www.w3.org/2000/svg}title"
NASTY = 'a "quoted" <name> & its, [list]\\ of ünits'


def drawn(points: int, texts: list[str], whole: str = "", every: int | None = None) -> Picture:
    figure, axes = canvas(2.0)
    x = np.arange(points)
    (line,) = axes.plot(x, x**2, marker="o", color=PALETTE[0][0], markevery=every)
    hint(line, whole, texts)
    return finish(figure, "toy", "seeds", "Toy", "A parabola, in points.")


def titles(svg: str) -> list[str | None]:
    return [one.text for one in ElementTree.fromstring(svg).iter(TITLE)]


def test_each_point_has_its_text_and_the_line_its_own() -> None:
    texts = [f"{NASTY} {i}" for i in range(7)]
    picture = drawn(7, texts, "the line")
    root = ElementTree.fromstring(picture.svg)
    assert [use[0].text for use in root.iter(USE) if len(use)] == texts
    assert titles(picture.svg) == ["the line", *texts]
    assert "hint:" not in picture.svg


def test_marked_points_of_a_line_are_told_in_their_order() -> None:
    texts = [f"step {i}" for i in range(0, 100, 20)]
    assert titles(drawn(100, texts, every=20).svg) == texts


def test_texts_that_are_not_one_a_point_are_not_guessed() -> None:
    assert titles(drawn(7, ["one", "two"], "the line").svg) == ["the line"]


def test_points_of_a_collection_have_hints_and_rasterised_ones_none() -> None:
    for rasterized, expected in ((False, ["a", "b", "c"]), (True, [])):
        figure, axes = canvas(2.0)
        hint(axes.scatter([0, 1, 2], [2, 0, 1], rasterized=rasterized), "", ["a", "b", "c"])
        assert titles(finish(figure, "toy", "seeds", "Toy", "Three points.").svg) == expected


def test_two_drawings_of_a_page_share_no_id_and_every_reference_has_its_own() -> None:
    picture = drawn(3, ["a", "b", "c"])
    seen: set[str] = set()
    for prefix in ("f0-", "f1-"):
        drawing = picture.inline(prefix)
        ids = re.findall(r' id="([^"]*)"', drawing)
        referred = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', drawing)
        assert len(ids) == len(set(ids))
        assert {a or b for a, b in referred} == set(ids)
        assert not seen & set(ids)
        seen |= set(ids)


def test_a_drawing_says_its_words_and_takes_its_colours_from_the_page() -> None:
    drawing = drawn(3, [], NASTY).inline("f0-")
    root = ElementTree.fromstring(drawing)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "A parabola, in points."
    assert "<style" not in drawing
    assert PALETTE[0][0] not in drawing
    variable = re.search(r"stroke: var\((--figure-0)\)", drawing)
    assert variable
    light, dark = theme().split("@media")
    assert f"{variable[1]}:{PALETTE[0][0]}" in light
    assert f"{variable[1]}:{PALETTE[0][1]}" in dark


@pytest.mark.parametrize("text", ["two\n lines", "tab\there"])
def test_a_text_survives_whatever_is_in_it(text: str) -> None:
    figure = Figure()
    hint(figure.subplots().plot([0], [0], "o")[0], text)
    assert titles(finish(figure, "toy", "seeds", "Toy", "A point.").svg) == [text]


def test_a_picture_is_no_finer_than_seen_and_its_points_stay_where_they_are() -> None:
    """Coordinates of two decimals, and a hundredth of a point from where Matplotlib puts them at most."""
    figure, axes = canvas(2.0)
    x = np.linspace(0, 1, 5)
    (line,) = axes.plot(x, np.sin(7 * x), marker="o")
    svg = finish(figure, "toy", "seeds", "Toy", "A wave.").svg
    coordinates = re.findall(r' (?:d|x|y)="([^"]*)"', svg)
    assert coordinates
    assert not re.search(r"\.\d{3}", " ".join(coordinates))
    where = line.get_transform().transform(line.get_xydata()) * 72 / figure.dpi
    uses = ElementTree.fromstring(svg).iter(USE)
    seen = {(float(one.attrib["x"]), float(one.attrib["y"])) for one in uses if "x" in one.attrib}
    height = figure.get_figheight() * 72
    for left, up in where:
        assert min(abs(left - a) + abs(height - up - b) for a, b in seen) < 0.02
