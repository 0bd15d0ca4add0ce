"""Suites damaged in every way are run or refused in a line: no traceback, no hang, no filled memory."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import yaml
from amount import EXAMPLES, Watch, examples
from command_line import TINY
from hypothesis import given
from hypothesis import strategies as st
from mutations import NUMBERS, TEXTS, restructure, scribble, values

from oscbench.errors import UserError
from oscbench.runner import session
from oscbench.suite import SuiteError, expand, load_points, suite_names
from oscbench.suite.schema import Suite

TUNED = TINY | {
    "tune": "{trials: 2, space: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}",
    "vary": "{task.fraction: [0.5, 1.0]}",
}
SMALL = ["\n".join(f"{key}: {value}" for key, value in suite.items()) for suite in (TINY, TUNED)]
SHIPPED = [path.read_text(encoding="utf-8") for path in suite_names().values()]
SUITES = {"all": SHIPPED + SMALL, "small": SMALL}
"""By a word, since a failure shows what strategies were given."""

FAST = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LEAVES = st.one_of(st.none(), NUMBERS, TEXTS, st.dates(), st.binary(max_size=5))
VALUES = values(LEAVES)
PIECES = st.sampled_from(
    [b"&a ", b"*a", b"<<: *a", b"!!python/object/apply:os.system ['true']", b"!!int ", b"!!float ", b"!!pairs ", b"!!omap ", b"!!set ",
     b"!!binary ", b"!!timestamp ", b"!!merge ", b"? ", b"- ", b": ", b"[", b"]", b"{", b"}", b"'", b'"', b"|\n", b"# ", b"\t", b"\n",
     b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"0x" + b"f" * 500, b"1:1:1", b".inf",
     b"9" * 5000, b"\\uD800", b"\x85", b"\xe2\x80\xa8"]
)  # fmt: skip
"""What YAML gives a meaning, and bytes that are no text."""


@cache
def _content_of(text):
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@st.composite
def restructured(draw, which):
    """A suite in which some values and keys are others, as YAML."""
    content = copy.deepcopy(_content_of(draw(st.sampled_from(SUITES[which]))))
    for _ in range(draw(st.integers(1, 3))):
        restructure(draw, content, VALUES)
    how = {"allow_unicode": draw(st.booleans()), "sort_keys": False}
    try:
        dumped = yaml.dump(content, Dumper=FAST, **how)
    except UnicodeEncodeError:  # libyaml writes no lone surrogate
        dumped = yaml.safe_dump(content, **how)
    return dumped.encode("utf-8", "surrogatepass")


@st.composite
def scribbled(draw, which):
    """A suite with bytes changed, cut off, doubled or in another encoding."""
    content = draw(st.sampled_from(SUITES[which])).encode()
    for _ in range(draw(st.integers(1, 4))):
        content = scribble(draw, content, PIECES)
    coding = draw(st.sampled_from([None, None, None, "utf-16", "utf-32", "latin-1", "utf-7"]))
    return content if coding is None else content.decode("utf-8", "replace").encode(coding, "replace")


def refused_in_a_line(watch, call, path):
    """Whether a call refuses a suite; it does so in one line that can be written anywhere, or not at all."""
    with watch.one():
        try:
            call()
            refused = False
        except UserError as error:
            said = str(error)
            assert "\n" not in said
            assert len(said) < 3000, said[:3000]
            said.encode()
            assert str(path) in said
            refused = True
    watch.end("refused" if refused else "read")
    return refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed")


@pytest.fixture(scope="module")
def watch():
    watch = Watch()
    yield watch
    watch.close()


@examples()
@given(content=st.one_of(restructured("all"), scribbled("all")))
def test_a_damaged_suite_is_read_or_refused_in_a_line(folder, watch, content):
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)

    def read():
        for loaded in load_points(str(path)):
            loaded.label.encode()
            if isinstance(loaded.suite, Suite):
                assert len(expand(loaded.suite, loaded.source)) <= 100_000

    refused_in_a_line(watch, read, path)


@examples(0.1)
@given(content=restructured("small"))
def test_a_damaged_suite_is_planned_or_refused_in_a_line(folder, watch, content):
    path = folder / "planned.yaml"
    path.write_bytes(content)
    refused_in_a_line(watch, lambda: session.validate(str(path)), path)


@examples(0.3)
@given(
    key=st.sampled_from(["seeds", "train.epochs", "model.width", "mechanisms.0", "task", "description", "name", "vary", "tune.trials"]),
    value=st.one_of(TEXTS, VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True))),
)  # fmt: skip
def test_whatever_is_set_is_taken_or_refused_in_a_line(folder, key, value):
    path = folder / "plain.yaml"
    path.write_text(SMALL[1])
    said = None
    try:
        load_points(str(path), [f"{key}={value}"])
    except SuiteError as error:
        said = str(error)
    assert said is None or len(said.splitlines()) == 1 or "--set" in said


def test_the_generators_make_both_what_is_refused_and_what_is_not(folder, watch):
    """Otherwise the tests above would try nothing."""
    seen = set()

    @examples(most=100)
    @given(content=restructured("small"))
    def look(content):
        path = folder / "looked.yaml"
        path.write_bytes(content)
        seen.add(refused_in_a_line(watch, lambda: load_points(str(path)), path))

    look()
    assert seen == {True, False} or EXAMPLES < 20
    assert Path(folder).is_dir()
