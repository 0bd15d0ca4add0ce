"""Sections that are there, and what each gives for a page; one that breaks is lost alone, and told in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oscbench import catalog, words
from oscbench.analysis.study import Study
from oscbench.errors import allowed, first_line, kind_and_line, kind_of
from oscbench.reporting.page.blocks import (
    FRONT,
    SUITE,
    Block,
    Facts,
    Files,
    Folded,
    Heading,
    Part,
    Prose,
    Section,
    Verdict,
    tables_of,
)
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.table import Cell, Table
from oscbench.reporting.page.verdict import Answer

PAGES = (FRONT, SUITE)


def sections() -> tuple[list[tuple[str, Section]], list[str]]:
    """File and section by rank, and a line for each that cannot be used."""
    found: list[tuple[str, Section]] = []
    lost = []
    for name in catalog.names("sections"):
        file = catalog.file_of("sections", name)
        try:
            section = catalog.load("sections", name)()
            wrong = _mistake(section)
        except Exception as error:
            wrong = first_line(error) if isinstance(error, catalog.UnknownNameError) else kind_and_line(error)
        if wrong:
            lost.append(f"{file}: {wrong}")
        else:
            found.append((file, section))
    return sorted(found, key=lambda one: one[1].rank), lost


def parts(
    found: Sequence[tuple[str, Section]], page: str, study: Study, owners: dict[str, str]
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """What the sections of a page give, and a line for each that broke.

    Args:
        found: file and section, by rank.
        page: which page.
        study: what it tells of.
        owners: whose file a table's name is, over all pages; a second section that takes it would write over the first one's CSV.
    """
    made: list[Part] = []
    lost = []
    for file, section in found:
        if section.page != page:
            continue
        try:
            blocks = section.blocks(study)
            wrong = _wrong(blocks) or _taken(file, blocks, owners)
            made += [] if wrong else [Part(words.slug(section.title), section.title, tuple(blocks), file)]
        except Exception as error:
            wrong = kind_and_line(error)
        if wrong:
            lost.append(f"{file}: blocks: {wrong}")
    return tuple(part for part in made if part.blocks), tuple(lost)


def _taken(file: str, blocks: Iterable[Block], owners: dict[str, str]) -> str | None:
    """The first table whose name is another section's, in words; the others are its own from now on."""
    names = [table.name for table in tables_of(blocks)]
    other = next((name for name in names if owners.get(name, file) != file), None)
    if other is not None:
        return f"table {other!r} is there already, by {owners[other]}; name it otherwise"
    owners.update(dict.fromkeys(names, file))
    return None


def _mistake(section: Section) -> str | None:
    """What a section does not say of itself, in words."""
    title, rank, page = (getattr(section, key, None) for key in ("title", "rank", "page"))
    if not (isinstance(title, str) and words.slug(title)):
        return f"title: {_got(title)}; wanted: a text, its heading"
    if not isinstance(rank, int | float) or isinstance(rank, bool) or rank != rank:
        return f"rank: {_got(rank)}; wanted: a number, its place on the page"
    if page not in PAGES:
        return f"page: {_got(page)}; {allowed(str(page), PAGES)}"
    return None


def _got(value: Any) -> str:
    return "missing" if value is None else f"got {value!r}"


def _wrong(blocks: Any) -> str | None:
    """The first thing that no page can show, in words."""
    if not isinstance(blocks, list | tuple):
        return f"gave {kind_of(blocks)}; wanted: a list of blocks, as in [Prose((text,))]"
    return next((wrong for block in blocks if (wrong := _wrong_block(block))), None)


def _wrong_block(block: Any) -> str | None:
    match block:
        case Folded():
            return _wrong(block.blocks)
        case Files():
            return _no_text([block.text]) or next(
                (wrong for _, table in block.tables if (wrong := _wrong_block(table))), None
            )
        case Table():
            cells = [cell for row in block.rows for cell in row]
            odd = next((cell for cell in cells if not isinstance(cell, Cell)), None)
            wrong = f"a cell is {kind_of(odd)}" if odd is not None else _no_text(cell.text for cell in cells)
            wrong = wrong or _no_text([block.name, block.caption])
            return f"table {block.name!r}: {wrong}" if wrong else None
        case Prose():
            if isinstance(block.texts, str):
                return "Prose: gave a text; wanted: texts, as in Prose((text,))"
            return _no_text(block.texts)
        case Heading():
            return _no_text([block.text])
        case Facts():
            return _no_text(text for item in block.items for text in item)
        case Plan():
            return None if callable(block.draw) else "a Plan whose draw is no function"
        case Verdict():
            return None if isinstance(block.answer, Answer) else "a Verdict without an Answer"
    return f"gave {kind_of(block)} as a block; wanted: Prose, Table, Facts, Heading, Folded, Files, Verdict or Plan"


def _no_text(texts: Iterable[Any]) -> str | None:
    return next(
        (f"{kind_of(text)} where a text is wanted" for text in texts if not isinstance(text, str)), None
    )
