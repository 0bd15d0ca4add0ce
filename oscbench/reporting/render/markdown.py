"""A page as Markdown, short enough to be pasted into an issue: what is folded on the page is left out, but for warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oscbench.reporting.page.blocks import Block, Facts, Files, Folded, Heading, Page, Prose, Verdict
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.table import LINE, Table

_SAFE = {"\\": "\\\\", "|": "\\|", "<": "&lt;", "*": "\\*", "`": "\\`", "](": "]\\(", "~~": "\\~\\~"}
_WORD_ENDS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_BLOCK = re.compile(r"^(\d*)([-+#>.](?=\s|$)|#)")
"""What would begin a list, a heading or a quotation at the start of a line."""
MOST_ROWS = 40
"""Rows of a table beyond this are left to the page."""


def render(page: Page) -> str:
    """All of a page that does not stand behind a fold."""
    lines = [f"# {cell(page.title)}", "", *(f"{cell(line)}  " for line in page.lines), ""]
    lines += [f"**{cell(note)}**  " for note in page.notes]
    lines += [f"**Left out: {cell(line)}**  " for line in page.lost]
    for part in page.parts:
        inside = list(_blocks(part.blocks))
        if inside:
            lines += ["", f"## {cell(part.title)}", "", *inside]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading():
                yield f"\n### {cell(block.text)}\n"
            case Prose():
                yield from _prose(block)
            case Facts():
                yield from (f"- **{cell(name)}**: {cell(finding)}" for name, finding in block.items)
                yield ""
            case Verdict():
                yield _verdict(block)
            case Folded():
                yield from _warnings(block)
            case Table():
                yield from _table(block)
            case Plan() | Files():
                continue


def _prose(block: Prose) -> Iterator[str]:
    if len(block.texts) == 1:
        yield f"{cell(block.texts[0])}\n"
    else:
        yield from (f"- {cell(text)}" for text in block.texts)
        yield ""


def _warnings(block: Folded) -> Iterator[str]:
    """Whatever makes a result doubtful is said, folded or not."""
    found = [
        text for one in block.blocks if isinstance(one, Prose) and one.tone == "caveat" for text in one.texts
    ]
    if found:
        yield f"**For all of these:** {'; '.join(map(cell, found))}.\n"


def _verdict(block: Verdict) -> str:
    answer = block.answer
    careful = f" **Caveat:** {cell(answer.caveats[0])}." if answer.caveats else ""
    return f"- **{cell(answer.head)}**: {cell(answer.text)} *{answer.verdict}.*{careful}"


def _table(table: Table) -> Iterator[str]:
    sides = " | ".join("---" if column.align == "left" else "---:" for column in table.columns)
    yield f"{cell(table.caption)}:\n"
    yield f"| {' | '.join(cell(column.heading) for column in table.columns)} |"
    yield f"| {sides} |"
    for row in table.rows[:MOST_ROWS]:
        yield f"| {' | '.join(cell(one.text) for one in row)} |"
    if len(table.rows) > MOST_ROWS:
        yield f"\n{len(table.rows) - MOST_ROWS} more rows stand in the page."
    yield ""


def cell(text: object) -> str:
    """Text that cannot break a Markdown table or be taken for HTML; its lines stay apart."""
    lines = [" ".join(line.split()) for line in str(text).split(LINE)]
    flat = LINE.join(lines)
    for sign, safe in _SAFE.items():
        flat = flat.replace(sign, safe)
    flat = _WORD_ENDS.sub(r"\\_", flat)  # within a word it is no emphasis
    flat = _BLOCK.sub(r"\1\\\2", flat)
    return flat.replace(LINE, "<br>")
