"""Numbers as text, and figures that everyone can read."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from oscbench import catalog, words
from oscbench.analysis.selection import Entry
from oscbench.analysis.statistics.seeds import Interval
from oscbench.reporting.page.figure import focus, line_of_means, name_ends
from oscbench.reporting.page.style import PALETTE, look_of
from oscbench.reporting.render.latex import escaped
from oscbench.reporting.sections.curves import mean_curve, thin

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9234, "fraction", "92.3 %"),
        (123_456, "1", "123 k"),
        (512, "1", "512"),
        (2.5e9, "FLOP", "2.50 GFLOP"),
        (0.0123, "s", "12.3 ms"),
        (754.0, "s", "12.6 min"),
        (45.0, "s", "45.0 s"),
        (1.5, "nats", "1.50 nats"),
        (math.nan, "s", "n/a"),
        (0, "1", "0"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert words.quantity(value, unit) == text


def test_signed_numbers() -> None:
    assert words.difference(0.008, "fraction") == "+0.80 points"
    assert words.difference(-0.5, "nats") == "\u22120.500 nats"
    assert words.difference(-1e-9, "fraction") == "+0.00 points"
    assert words.interval(math.nan, math.nan, "1") == "none"
    assert words.relative(1.21) == "+21 %"
    assert words.relative(0.984) == "\u22121.6 %"
    assert words.times(0.7) == "0.70\u00d7"
    assert words.p_value(0.0001) == "< 0.001"
    assert words.ranges([3, 0, 1, 2, 7]) == "0\u20133, 7"
    assert words.lowered("FLOPs") == "FLOPs"
    assert words.lowered("F1 of matching") == "F1 of matching"
    assert words.lowered("KoPE spends more") == "KoPE spends more"
    assert words.lowered("Few seeds for KoPE") == "few seeds for KoPE"
    assert words.significant(math.inf) == "∞"
    assert words.significant(1.5e9) == "1.50e+09"


def test_latex_escapes() -> None:
    assert escaped("50 % of a_b & c") == r"50 \% of a\_b \& c"


def linear(hexa: str) -> np.ndarray:
    channels = np.array([int(hexa[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(hexa: str) -> float:
    return float(linear(hexa) @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_from_their_paper() -> None:
    for light, dark in PALETTE:
        assert contrast(light, "#ffffff") >= 3
        assert contrast(dark, "#14171b") >= 3


# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(rgb: np.ndarray) -> np.ndarray:
    scaled = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", DEFICIENCIES)
@pytest.mark.parametrize("shade", [0, 1])
def test_neighbours_in_the_palette_are_told_apart(kind: str, shade: int) -> None:
    seen = [lab(DEFICIENCIES[kind] @ linear(pair[shade])) for pair in PALETTE]
    nearest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))
    assert nearest > 18  # a just noticeable difference is about 2.3; the markers differ as well


def test_a_colour_belongs_to_a_mechanism_and_no_two_of_this_package_share_one() -> None:
    colours = [look_of(Entry(name, "default")).colour for name in catalog.names("mechanisms")]
    assert len(set(colours)) == min(len(colours), len(PALETTE))
    assert (
        look_of(Entry("m", "a")).colour
        == look_of(Entry("m", "b")).colour
        == look_of(Entry("m", "default")).colour
    )
    assert look_of(Entry("m", "default")).line == "-"
    variants = {look_of(Entry("m", f"v{i}"))[1:] for i in range(40)}
    assert len(variants) > 15, "variants are told apart by marker and line"


@pytest.mark.parametrize("path", sorted((ROOT / "suites").rglob("*.yaml")), ids=lambda path: path.stem)
def test_no_two_variants_that_a_suite_sets_beside_each_other_share_a_line(path: Path) -> None:
    """Entries that a suite writes down; what it varies by value or position is not drawn over training together."""
    entries = [
        Entry(one["name"], one.get("variant", "default"))
        for one in yaml.safe_load(path.read_text(encoding="utf-8")).get("mechanisms", ())
        if isinstance(one, dict)
    ]
    for name, group in itertools.groupby(sorted(entries), lambda entry: entry.mechanism):
        variants = sorted({entry.variant for entry in group})
        lines = {look_of(Entry(name, variant)).line for variant in variants}
        assert len(lines) == len(variants), f"{name}: {variants}"


def test_an_outlier_does_not_squeeze_the_others() -> None:
    near = [np.array([0.90, 0.91]), np.array([0.91, 0.92]), np.array([0.89, 0.90]), np.array([0.92, 0.93])]
    assert focus(near, "higher") is None
    ends = focus([*near, np.array([0.1, 0.11])], "higher")
    assert ends is not None
    assert 0.8 < ends[0] < 0.89
    assert ends[1] > 0.93
    ends = focus([*near, np.array([-9.0])], "higher", include=0.0)
    assert ends is not None
    assert ends[0] < 0.0
    assert focus(near[:2], "higher") is None


def test_no_row_is_left_out_for_being_good_or_where_nothing_is_better() -> None:
    rows = [np.array([0.10]), np.array([0.11]), np.array([0.12]), np.array([0.99])]
    assert focus(rows, "higher") is None
    assert focus(rows, "lower") is not None
    assert focus(rows, "none") is None


def test_long_curves_are_thinned_in_blocks_and_keep_their_mean() -> None:
    x, y = thin(np.arange(6000.0), np.arange(6000.0) * 2)
    assert len(x) == 120
    assert y.mean() == pytest.approx(np.arange(6000).mean() * 2)
    x, y = thin([0, 1, 2], [1.0, math.nan, 3.0])
    assert x.tolist() == [0, 2]


def test_mean_curve_goes_only_as_far_as_every_seed() -> None:
    x, y = mean_curve(
        [(np.array([0.0, 1, 2]), np.array([0.0, 1, 2])), (np.array([0.0, 1]), np.array([2.0, 3]))]
    )
    assert x.tolist() == [0, 1]
    assert y.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_numbers_near_the_largest_leave_an_axis_its_ends(direction):
    """Which a damaged record may hold, and nobody else's figure may break of."""
    most = np.array([1.7e308])
    for rows in ([most, -most], [0 * most, 1 + 0 * most, -most], [np.array([1.7e308, -1.7e308]), 0 * most]):
        for spread in (rows, [*rows, *rows, *rows], [*rows, *(np.array([0.5 + 0.01 * k]) for k in range(5))]):
            ends = focus(spread, direction, 0.0)
            assert ends is None or np.isfinite(ends[1] - ends[0])


@pytest.mark.parametrize(
    "crowd", [[92.0, 92.5, 91.0, 88.0, 84.0], [0.0, 0.1, 0.2, 0.3, 0.4], [50.0, 50.1, 50.2, 50.3, 50.4]]
)
def test_names_of_lines_are_apart_beside_their_own_ends_and_within_the_axes(crowd: list[float]) -> None:
    figure = Figure(figsize=(5, 3))
    axes = figure.subplots()
    axes.set_ylim(0, 100)
    ends = [*zip(crowd, "abcde", strict=True), (70.0, "alone")]
    name_ends(figure, axes, [(y, name, "black") for y, name in ends])
    places = {text.get_text(): text.xy[1] for text in axes.texts}
    assert places["alone"] == pytest.approx(0.7)
    near = np.array([places[name] for name in "abcde"])
    assert list(np.argsort(near)) == list(np.argsort(crowd))
    assert min(np.diff(np.sort(near))) > 0.05
    assert near.min() >= 0
    assert near.max() <= 1
    if crowd[0] == 50:
        assert near.mean() == pytest.approx(0.502)


def test_intervals_of_shares_end_at_one() -> None:
    axes = Figure().subplots()
    points = [(0.9, Interval(0.7, 1.1)), (0.95, Interval(0.9, 0.99)), (-0.1, Interval(-0.3, 0.1))]
    line_of_means(axes, np.arange(3.0), points, "fraction", "a", look_of(Entry("kope", "default")))
    ends = [segment[:, 1] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(ends, [[70.0, 100.0], [90.0, 99.0], [-30.0, 10.0]])
