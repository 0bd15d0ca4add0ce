"""Records damaged in every way are told of in a line or reported; none keeps those beside it from a report, hangs or fills memory."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import shutil
from pathlib import Path

import pytest
from amount import Watch, examples
from hypothesis import given
from hypothesis import strategies as st
from mutations import NUMBERS, TEXTS, holder_of, places, restructure, scribble, values
from synthetic_records import toy_suite

from oscbench.records import Record, Store, packed
from oscbench.reporting import build_report, export_frame, report

AT_ONCE = 50
"""Damaged records in a folder; a report of all of them takes little longer than of one."""
FIGURES = [0, 0, 3, 3, 60]
"""Most that a report draws, of which the last is all that a real one would: drawing takes nine tenths of the time."""
COMMITTED = Path(__file__).parents[2] / "results/reference/cpu"
VALUES = values(st.one_of(st.none(), NUMBERS, TEXTS))
PIECES = st.sampled_from(
    [b"[", b"]", b"{", b"}", b'"', b",", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"1e-999", b"-0", b"9" * 5000, b"\\ud800",
     b"\\u0000", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"[" * 5000, b'{"a":' * 5000, b"\n", b"//", b"true"]
)  # fmt: skip
"""What JSON gives a meaning, and bytes that are no text."""
TIMES = [
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "2026-11-26T00:00:00",
    "2026-11-26",
    0,
    1e300,
]
WORDS = [
    "",
    " ",
    "ok",
    "diverged",
    "higher",
    "none",
    "params",
    "$\\badcmd$",
    "a/b",
    "..",
    "\u202e",
    "x[y]",
    "x" * 200,
    "tiny[tune]",
]
WHOLE = [-1, 0, 1, 2**31, 2**53 + 1, 2**62]
REAL = [0.0, -0.0, -1.0, 5e-324, 1e308, -1e308, float("nan"), float("inf"), float("-inf")]


def alike(value):
    """Values of the same type, which a schema does not mind and arithmetic may."""
    if isinstance(value, bool) or value is None:
        return [True, False, None]
    if isinstance(value, str):
        return WORDS + (TIMES if value[:4].isdecimal() and "T" in value else [])
    if isinstance(value, list):
        return [[], value[:1]]
    return [{}] if isinstance(value, dict) else WHOLE + REAL


def unlikely(draw, content):
    """Put a value of the same type in one place, or in one of the measures' numbers, which reports compute with."""
    found = places(content)[1:]
    numbers = [
        path for path in found if path[0] in ("measures", "curves", "matching", "health") and len(path) < 5
    ]
    path = draw(st.sampled_from(draw(st.sampled_from([found, numbers or found]))))
    holder = holder_of(content, path)
    holder[path[-1]] = draw(st.sampled_from(alike(holder[path[-1]])))


@st.composite
def damaged(draw, originals):
    """The bytes of a record that is not as it was."""
    content = copy.deepcopy(draw(st.sampled_from(originals)))
    if draw(st.booleans()):  # a cell of its own, so that the whole one does not take its place
        content["seed"] = draw(st.integers(100, 103))
        content["identity"] = f"{content['seed']:016x}"
    how = draw(st.sampled_from(["other", "alike", "alike", "bytes"]))
    for _ in range(draw(st.integers(1, 3))):
        if how == "other":
            restructure(draw, content, VALUES)
        elif how == "alike":
            unlikely(draw, content)
    text = json.dumps(content).encode()
    return scribble(draw, text, PIECES) if how == "bytes" else text


def committed(name, count):
    """The first records of a file that is committed."""
    lines = (
        line for line in packed.lines(COMMITTED / f"{name}.jsonl.gz") if not line.startswith(packed.LEDGER)
    )
    return [json.loads(line) for _, line in zip(range(count), lines, strict=False)]


@pytest.fixture(scope="module")
def bases(finished):
    """Folders' worth of whole records: trained here, made up, of a sweep, of searches and of timings."""
    records, _ = Store(finished).read_all()
    return [
        [json.loads(record.model_dump_json()) for record in records],
        [json.loads(record.model_dump_json()) for record in toy_suite(3)],
        committed("data_efficiency", 8),
        committed("tuned_digits", 8),
        committed("timing_ops", 4),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def watch():
    watch = Watch()
    yield watch
    watch.close()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_as_large_as_they_get_are_reported_without_a_warning(oscbench, tmp_path):
    store, ends = Store(tmp_path / "results"), itertools.cycle((-1e308, 1e308, -1e308, 1e308))
    for record in toy_suite(3):
        measures = {
            name: one.model_copy(update={"value": next(ends)}) if isinstance(one.value, float) else one
            for name, one in record.measures.items()
        }
        store.write(record.model_copy(update={"measures": measures}))
    ended = oscbench("report", "--results", store.root, "--output", tmp_path / "page")
    assert ended.code == 0, ended.err
    assert "Warning" not in ended.err


# No font that we ship with has all scripts, a long name leaves a small figure no room, and a number may be as large as numbers get.
@pytest.mark.filterwarnings("ignore")
@examples(1 / AT_ONCE)
@given(data=st.data())
def test_whole_records_are_reported_whatever_lies_beside_them(bases, folder, watch, monkeypatch, data):
    monkeypatch.setattr(report, "MAX_FIGURES", data.draw(st.sampled_from(FIGURES)))
    base = data.draw(st.integers(0, len(bases) - 1))
    texts = data.draw(st.lists(damaged(bases[base]), min_size=AT_ONCE, max_size=AT_ONCE))
    results, page = folder / "results", folder / "page"
    for left in (results, page):
        shutil.rmtree(left, ignore_errors=True)
    store, told = Store(results), []
    for record in bases[base]:
        store.write(Record.model_validate(record))
    for number, text in enumerate(texts):
        (results / f"damaged-{number}.json").write_bytes(text)
    with watch.one():
        records, set_aside = Store(results, tell=told.append).read_all()
    assert len(records) + len(set_aside) == len(bases[base]) + len(texts)
    assert all("damaged-" in one.path.name for one in set_aside)
    for line in told:
        assert "\n" not in line
        assert len(line) < 3000
        line.encode()
    with watch.one(figures=report.MAX_FIGURES):
        build_report(results, page, pages_only=True)
    for kind in ("csv", "json"):
        with watch.one():
            export_frame(results, format=kind, output=folder / f"cells.{kind}")
    watch.end("set aside", len(set_aside))
    watch.end("reported", len(texts) - len(set_aside))


@examples(0.1)
@given(data=st.data())
def test_a_damaged_pack_gives_what_can_be_read_and_a_line(bases, folder, watch, data):
    lines = [json.dumps(record).encode() for record in bases[0]]
    lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(damaged(bases[0]))
    content = gzip.compress(b"".join(line + b"\n" for line in lines))
    if data.draw(st.booleans()):
        content = scribble(data.draw, content, st.sampled_from([b"", b"\0", b"\x1f\x8b"]))
    results = folder / "packed"
    results.mkdir(exist_ok=True)
    (results / f"tiny{packed.SUFFIX}").write_bytes(content)
    told = []
    with watch.one():
        records, set_aside = Store(results, tell=told.append).read_all()
    assert len(told) == len(set_aside)
    assert records or set_aside
    assert not any("\n" in line for line in told)


def test_the_generator_makes_both_what_is_set_aside_and_what_is_reported(bases, watch):
    """Otherwise the tests above would try nothing."""
    seen = set()

    @examples(most=100)
    @given(text=damaged(bases[0]))
    def look(text):
        try:
            Record.model_validate_json(text)
            seen.add(True)
        except ValueError:
            seen.add(False)

    look()
    assert seen == {True, False}
