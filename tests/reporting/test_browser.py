"""The page in a real browser: accessible by axe-core, on phone and desktop, light and dark, by keyboard, without scripts, in print.

Needs a Chromium on PATH and nothing from a network; skipped, with the reason, where there is none.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from published_records import measured
from published_records import record as published_record
from synthetic_records import make_record, toy_suite
from timing_records import SIZES, timing_record
from varied_records import LAWS
from varied_records import records as varied_records

from oscbench.records import Store
from oscbench.reporting import build_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on PATH; `apt-get install chromium` makes these tests run"
)

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
PAGES = ("index.html", "suite-toy.html", "suite-data.html", "records.html")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
# Rows are all alike to axe, and its time grows with them. The widths are measured with every row.
FEWER_ROWS = "document.querySelectorAll('tbody tr:nth-child(n+4)').forEach(row => row.remove())"


def agreement_records() -> list[Any]:
    """A task of which there are published numbers: some are the same quantity, others are not."""
    settings = {"d_osc": 2, "exponent": 1, "anchors": "free", "mask_readout": False}
    given = {"training_sentences": 40_000, "distractors": 0.6}
    return [
        published_record(
            "agreement",
            mechanism,
            seed,
            {"accuracy": measured(0.97 + seed / 1000), "validation_accuracy": measured(0.977)},
            given=given,
            settings=settings if mechanism == "fixed_query" else {},
        ).model_copy(update={"suite": "reading"})
        for mechanism in ("fixed_query", "softmax")
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a section of every kind, built once."""
    base = tmp_path_factory.mktemp("browser")
    store = Store(base / "results")
    long = "a_reason_without_any_space_" * 12
    records = [*toy_suite(3), *varied_records(LAWS, shares=(0.25, 1.0), seeds=2), *map(timing_record, SIZES)]
    records += [*agreement_records(), make_record("ring", 9, status="failed", reason=f"{long}<b>&")]
    for record in records:
        store.write(record)
    store.write(make_record("plain", 0, later=-30, identity="older"))
    (base / "results" / "toy" / "torn.json").write_text("{")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("oscbench.reporting.report.MAX_FIGURES", 10)  # drawing takes longest
        build_report(base / "results", base / "report")
    html = "".join(path.read_text() for path in (base / "report").glob("*.html"))
    kinds = (
        "Paired",
        "over share of training data",
        "timing_toy",
        "Failures",
        "Published beside measured",
        "torn.json",
    )
    assert all(words in html for words in kinds)
    return base / "report"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def visit(browser: Any, address: Path, **options: Any) -> Any:
    """The page, which must not complain and must ask for nothing but itself."""
    page = browser.new_context(**{"viewport": DESKTOP} | options).new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(address.as_uri())
    return page


@pytest.fixture(scope="module")
def desktop(browser: Any, folder: Path) -> Any:
    """The page of a suite on a desktop, for tests that leave it as they found it."""
    return visit(browser, folder / "suite-toy.html")


def table_texts(page: Any) -> list[str]:
    return page.eval_on_selector_all("table", "all => all.map(one => one.textContent)")


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_juts_out(browser: Any, folder: Path, name: str) -> None:
    page = visit(browser, folder / name)
    page.evaluate(OPEN_ALL)
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.evaluate(FEWER_ROWS)
    for size, scheme in ((DESKTOP, "light"), (PHONE, "dark")):  # no colour depends on the width
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
        found = axe.Axe().run(page, options=options).response["violations"]
        assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == [], (scheme, size)
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_it_complains_of_nothing_and_asks_for_nothing_else(browser: Any, folder: Path, name: str) -> None:
    page = visit(browser, folder / name)
    assert page.complaints == []
    elsewhere = [url for url in page.requests if not url.startswith("data:image/png")]
    assert elsewhere == [(folder / name).as_uri()]
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_every_word_is_there(browser: Any, folder: Path, name: str) -> None:
    with_scripts, bare = (visit(browser, folder / name, java_script_enabled=on) for on in (True, False))
    assert with_scripts.locator("th button").count() > 5
    assert bare.locator("th button").count() == 0
    assert len(table_texts(bare)) >= 3
    assert table_texts(bare) == table_texts(with_scripts)
    assert bare.locator("body").text_content() == with_scripts.locator("body").text_content()
    assert bare.locator("tbody tr:visible").count() > 3
    for page in (with_scripts, bare):
        page.context.close()


def test_the_first_tab_leads_past_the_header(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "index.html", viewport=PHONE)
    skip = page.locator("a.skip")
    assert skip.bounding_box()["x"] < 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = skip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    page.keyboard.press("Enter")
    page.wait_for_url("**#the-answer")  # the browser follows a link in its own time
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#the-answer') !== null")
    page.context.close()


def test_a_table_is_sorted_by_keyboard_and_says_so(desktop: Any) -> None:
    table = desktop.locator("#results table", has_text="Accuracy over seeds")
    head = table.locator("thead th").nth(1)
    value = "rows => rows.map(row => Number(row.cells[1].dataset.value)).filter(value => !isNaN(value))"
    for key, direction in (("Enter", "ascending"), ("Space", "descending")):
        head.locator("button").focus()
        desktop.keyboard.press(key)
        assert head.get_attribute("aria-sort") == direction
        values = table.locator("tbody tr").evaluate_all(value)
        assert len(set(values)) > 2
        assert values == sorted(values, reverse=direction == "descending")
    table.locator("thead th button").first.press("Enter")
    assert table.locator("th[aria-sort]").count() == 1


def test_rows_are_filtered_by_keyboard_and_counted_aloud(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "index.html")
    page.evaluate(OPEN_ALL)
    field, status = page.get_by_role("searchbox").last, page.get_by_role("status").last
    rows = page.locator("input.filter + output + .scroll table").last.locator("tbody tr")
    shown, every = rows.filter(visible=True), rows.count()
    word = rows.nth(every // 2).locator("td").nth(0).inner_text().split()[0].lower()
    field.press_sequentially(word)
    assert 0 < shown.count() < every
    assert all(word in text.lower() for text in shown.all_text_contents())
    assert status.inner_text() == f"{shown.count()} of {every} rows"
    field.press_sequentially(" nowhere-at-all")
    assert shown.count() == 0
    field.fill("")
    assert shown.count() == every
    assert status.inner_text() == ""
    page.context.close()


def _scrolled_to(point: Any) -> dict[str, float]:
    """Where a point stands once its page is scrolled to it and has said so.

    A browser tells of a scroll with its next frame, and the page then hides the hint: a pointer that is
    quicker than that frame would see its hint come and go.
    """
    point.evaluate(
        """async one => {
            one.scrollIntoView({block: "center", behavior: "instant"});
            for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
        }"""
    )
    return point.bounding_box()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_point_says_at_once_what_it_is(browser: Any, folder: Path, size: dict[str, int]) -> None:
    page = visit(browser, folder / "suite-toy.html", viewport=size)
    point, tip = page.locator("#every-seed svg use:has(> title)").first, page.locator(".tip")
    words = point.locator("title").text_content()
    assert re.fullmatch(r"\w+, seed \d: [\d.]+ %", words)
    assert tip.is_hidden()
    box = _scrolled_to(point)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert tip.inner_text() == words
    shown = tip.bounding_box()
    assert shown["x"] >= 0
    assert shown["x"] + shown["width"] <= size["width"]
    page.mouse.move(1, 1)
    assert tip.is_hidden()
    page.context.close()


def test_a_finger_beside_a_point_means_it(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "suite-toy.html", viewport=PHONE, has_touch=True)
    point, tip = page.locator("#every-seed svg use:has(> title)").first, page.locator(".tip")
    words = point.locator("title").text_content()
    box = _scrolled_to(point)
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] - 6)
    assert tip.inner_text() == words
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.context.close()


def test_every_point_that_nothing_covers_says_its_own(browser: Any, folder: Path) -> None:
    found = [
        _alone_and_wrong(visit(browser, folder / name)) for name in ("suite-toy.html", "suite-data.html")
    ]
    assert sum(alone for alone, _ in found) > 30
    assert [wrong for _, wrong in found] == [[], []]


def _alone_and_wrong(page: Any) -> tuple[int, list[Any]]:
    """How many points nothing covers, and those of them that say anything but their own words."""
    alone, wrong = page.evaluate(
        """() => {
            let alone = 0;
            const wrong = [];
            // A box leaves out the stroke around it, which covers as well.
            const inside = (box, x, y) => box.left - 1.5 <= x && x <= box.right + 1.5 && box.top - 1.5 <= y && y <= box.bottom + 1.5;
            for (const figure of document.querySelectorAll("figure:has(svg)")) {
                figure.scrollIntoView({block: "center", behavior: "instant"});
                const points = [...figure.querySelectorAll("use:has(> title)")]
                    .map(one => ({text: one.querySelector("title").textContent, box: one.getBoundingClientRect()}));
                for (const {text, box} of points) {
                    const [clientX, clientY] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
                    if (points.filter(other => inside(other.box, clientX, clientY)).length > 1) continue;
                    alone += 1;
                    figure.dispatchEvent(new PointerEvent("pointermove", {clientX, clientY}));
                    const told = document.querySelector(".tip");
                    if (told.hidden || told.textContent !== text) wrong.push([text, told.hidden, told.textContent]);
                }
            }
            return [alone, wrong];
        }"""
    )
    page.context.close()
    return alone, wrong


def test_a_closed_part_is_opened_by_keyboard(desktop: Any) -> None:
    part = desktop.locator("details").first
    inner = part.locator("p").first
    assert not inner.is_visible()
    part.locator("summary").press("Enter")
    assert inner.is_visible()
    part.locator("summary").press("Space")
    assert not inner.is_visible()


def test_print_shows_what_is_closed_on_the_screen(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "suite-toy.html", color_scheme="dark")
    shown = "one => one.lastElementChild.checkVisibility({contentVisibilityAuto: true})"
    assert not page.eval_on_selector_all("details", f"all => all.some({shown})")
    page.emulate_media(media="print")  # Chromium opens what was closed a frame after it matches
    page.wait_for_function(f"() => [...document.querySelectorAll('details')].every({shown})")
    assert page.locator(".skip").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")
    page.context.close()


def test_the_first_page_is_at_most_four_screens_and_answers_on_the_first(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "index.html")
    assert page.evaluate("document.documentElement.scrollHeight") <= 4 * DESKTOP["height"]
    for selector in ("#the-answer .lead >> nth=0", "#the-answer figure >> nth=0"):
        box = page.locator(selector).bounding_box()
        assert box["y"] < DESKTOP["height"] / 2
    page.context.close()


def test_on_a_phone_a_table_is_cards(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "suite-toy.html", viewport=PHONE)
    table = page.locator("#results table.cards").first
    assert page.evaluate("one => one.scrollWidth <= one.parentElement.clientWidth", table.element_handle())
    cell = table.locator("tbody td").first
    assert page.evaluate(
        "one => getComputedStyle(one, '::before').content", cell.element_handle()
    ).startswith('"Accuracy')
    page.context.close()


@pytest.mark.parametrize("name", ["index.html", "suite-toy.html", "suite-data.html"])
def test_on_a_phone_no_card_is_cut(browser: Any, folder: Path, name: str) -> None:
    page = visit(browser, folder / name, viewport=PHONE)
    page.evaluate(OPEN_ALL)
    # As long as a treatment's name gets, with its difference; blanks in it do not break.
    page.evaluate(
        "document.querySelectorAll('table.cards td.left:not(:empty)').forEach(cell => { cell.textContent ="
        " '− selective synchronization (position=learned, locked) −12.50'.replaceAll(' ', '\u00a0') })"
    )
    cut = "[...document.querySelectorAll('table.cards')].filter(one => one.scrollWidth > one.parentElement.clientWidth).length"
    assert page.locator("table.cards").count() > 0
    assert page.evaluate(cut) == 0
    page.context.close()


def test_the_contents_stay_in_sight(browser: Any, folder: Path) -> None:
    page = visit(browser, folder / "suite-toy.html")
    page.locator("nav.contents a", has_text="Learning curves").click()
    page.wait_for_url("**#learning-curves")
    assert page.locator("nav.contents").bounding_box()["y"] == 0
    page.context.close()
