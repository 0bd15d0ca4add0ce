"""Values that nobody expects, and how they come into a structure or into bytes; suites and records are damaged alike."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

HUGE = st.sampled_from([10**k for k in (3, 6, 9, 12, 15, 18, 19, 30, 400)]).map(lambda n: n + 1)
NUMBERS = st.one_of(st.integers(-3, 3), HUGE, HUGE.map(lambda n: -n), st.floats(), st.booleans())
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["1:30", "1e10", "~", "all", "softmax", "$\\badcmd$", "../x", "os:getcwd", "\0", "\ud800", "a" * 300]),
)  # fmt: skip


def values(leaves):
    """Small structures of such leaves, which hold texts and numbers as keys."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.one_of(TEXTS, NUMBERS), inner, max_size=4)
        ),
        max_leaves=8,
    )


def places(value, path=()):
    """Paths to everything in a structure."""
    found = [path]
    if isinstance(value, dict):
        found += [place for key, inner in value.items() for place in places(inner, (*path, key))]
    elif isinstance(value, list):
        found += [place for index, inner in enumerate(value) for place in places(inner, (*path, index))]
    return found


def holder_of(content, path):
    """What holds the last part of a path."""
    for part in path[:-1]:
        content = content[part]
    return content


def restructure(draw, content, others):
    """Change one place of a structure: another value, gone, another key, a list around it, or all of it inside itself."""
    path = draw(st.sampled_from(places(content)))
    if not path:
        return
    holder = holder_of(content, path)
    how = draw(st.sampled_from(["other", "drop", "rename", "wrap", "copy"]))
    if how == "other":
        holder[path[-1]] = draw(others)
    elif how == "wrap":
        holder[path[-1]] = [holder[path[-1]]]
    elif how == "copy":
        holder[path[-1]] = copy.deepcopy(content)
    elif isinstance(holder, dict):
        kept = holder.pop(path[-1])
        if how == "rename":
            holder[draw(st.one_of(TEXTS, NUMBERS))] = kept


def scribble(draw, content, pieces):
    """Bytes with a stretch of at most forty replaced by a piece, by any few bytes, or by itself twice."""
    at = draw(st.integers(0, len(content)))
    end = draw(st.integers(at, min(len(content), at + 40)))
    piece = draw(st.one_of(pieces, st.binary(max_size=4), st.just(content[at:end] * 2)))
    return content[:at] + piece + content[end:]
