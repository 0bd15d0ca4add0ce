"""Suites damaged in every way are run or refused in a line: no traceback, no hang, no filled memory."""

from __future__ import annotations

import copy
import resource
import sys
import time
from pathlib import Path

import pytest
import yaml
from amount import EXAMPLES, examples
from command_line import TINY
from hypothesis import given
from hypothesis import strategies as st

from oscbench.errors import UserError
from oscbench.runner import session
from oscbench.suite import SuiteError, expand, load_points, suite_names
from oscbench.suite.schema import Suite

SECONDS, BYTES = 10.0, 1_000_000_000

TUNED = TINY | {
    "tune": "{trials: 2, space: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}",
    "vary": "{task.fraction: [0.5, 1.0]}",
}
SMALL = ["\n".join(f"{key}: {value}" for key, value in suite.items()) for suite in (TINY, TUNED)]
SHIPPED = [path.read_text(encoding="utf-8") for path in suite_names().values()]

HUGE = st.sampled_from([10**k for k in (3, 6, 9, 12, 15, 18, 19, 30, 400)]).map(lambda n: n + 1)
NUMBERS = st.one_of(st.integers(-3, 3), HUGE, HUGE.map(lambda n: -n), st.floats(), st.booleans())
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["1:30", "1e10", "~", "all", "softmax", "$\\badcmd$", "../x", "os:getcwd", "\0", "\ud800", "a" * 300]),
)  # fmt: skip
LEAVES = st.one_of(st.none(), NUMBERS, TEXTS, st.dates(), st.binary(max_size=5))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(TEXTS, NUMBERS), inner, max_size=4)
    ),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [b"&a ", b"*a", b"<<: *a", b"!!python/object/apply:os.system ['true']", b"!!int ", b"!!float ", b"!!pairs ", b"!!omap ", b"!!set ",
     b"!!binary ", b"!!timestamp ", b"!!merge ", b"? ", b"- ", b": ", b"[", b"]", b"{", b"}", b"'", b'"', b"|\n", b"# ", b"\t", b"\n",
     b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"0x" + b"f" * 500, b"1:1:1", b".inf",
     b"9" * 5000, b"\\uD800", b"\x85", b"\xe2\x80\xa8"]
)  # fmt: skip
"""What YAML gives a meaning, and bytes that are no text."""


def places(value, path=()):
    """Paths to everything in a structure."""
    found = [path]
    if isinstance(value, dict):
        found += [place for key, inner in value.items() for place in places(inner, (*path, key))]
    elif isinstance(value, list):
        found += [place for index, inner in enumerate(value) for place in places(inner, (*path, index))]
    return found


@st.composite
def restructured(draw, texts):
    """A suite in which some values and keys are others, as YAML."""
    content = copy.deepcopy(yaml.safe_load(draw(st.sampled_from(texts))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(content)))
        if not path:
            continue
        holder = content
        for part in path[:-1]:
            holder = holder[part]
        how = draw(st.sampled_from(["other", "drop", "rename", "wrap", "copy"]))
        if how == "other":
            holder[path[-1]] = draw(VALUES)
        elif how == "wrap":
            holder[path[-1]] = [holder[path[-1]]]
        elif how == "copy":
            holder[path[-1]] = copy.deepcopy(content)
        elif isinstance(holder, dict):
            kept = holder.pop(path[-1])
            if how == "rename":
                holder[draw(st.one_of(TEXTS, NUMBERS))] = kept
    dumped = yaml.safe_dump(content, allow_unicode=draw(st.booleans()), sort_keys=False)
    return dumped.encode("utf-8", "surrogatepass")


@st.composite
def scribbled(draw, texts):
    """A suite with bytes changed, cut off, doubled or in another encoding."""
    content = draw(st.sampled_from(texts)).encode()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(len(content), at + 40)))
        piece = draw(st.one_of(PIECES, st.binary(max_size=4), st.just(content[at:end] * 2)))
        content = content[:at] + piece + content[end:]
    coding = draw(st.sampled_from([None, None, None, "utf-16", "utf-32", "latin-1", "utf-7"]))
    return content if coding is None else content.decode("utf-8", "replace").encode(coding, "replace")


def refused_in_a_line(call, path):
    """Whether a call refuses a suite; it does so in one line that can be written anywhere, or not at all."""
    started = time.process_time()
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
    assert time.process_time() - started < SECONDS
    return refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed")


@pytest.fixture(scope="module", autouse=True)
def memory():
    """All examples together stay below the bound: what one of them filled would show in the peak."""
    before = _peak()
    yield
    assert _peak() - before < BYTES


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@examples()
@given(content=st.one_of(restructured(SHIPPED + SMALL), scribbled(SHIPPED + SMALL)))
def test_a_damaged_suite_is_read_or_refused_in_a_line(folder, content):
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)

    def read():
        for loaded in load_points(str(path)):
            loaded.label.encode()
            if isinstance(loaded.suite, Suite):
                assert len(expand(loaded.suite, loaded.source)) <= 100_000

    refused_in_a_line(read, path)


@examples(0.1)
@given(content=restructured(SMALL))
def test_a_damaged_suite_is_planned_or_refused_in_a_line(folder, content):
    path = folder / "planned.yaml"
    path.write_bytes(content)
    refused_in_a_line(lambda: session.validate(str(path)), path)


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


def test_the_generators_make_both_what_is_refused_and_what_is_not(folder):
    """Otherwise the tests above would try nothing."""
    seen = set()

    @examples()
    @given(content=restructured(SMALL))
    def look(content):
        path = folder / "looked.yaml"
        path.write_bytes(content)
        seen.add(refused_in_a_line(lambda: load_points(str(path)), path))

    look()
    assert seen == {True, False} or EXAMPLES < 20
    assert Path(folder).is_dir()
