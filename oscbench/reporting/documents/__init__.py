"""Pages of `docs/results/`, one file each, made from the committed records: `python -m oscbench.reporting.documents`.

A file here is a page: its name is the page's, and it has `document(loaded)` and a `RANK`, its place in the list of all questions. No number
in these pages is typed; a test fails when they are stale.
"""

from __future__ import annotations

import html
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from oscbench.analysis.frame import Loaded, load
from oscbench.reporting.page.style import darkened

RESULTS = Path("results") / "reference"
FOLDER = Path("docs") / "results"


@dataclass(frozen=True)
class Document:
    """One page.

    Attributes:
        text: Markdown.
        pictures: Name of a file -> SVG; the text links to them.
    """

    text: str
    pictures: Mapping[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Every page, by the files of this folder."""
    return sorted(
        found.name
        for found in pkgutil.iter_modules(__path__)
        if not found.ispkg and not found.name.startswith("_")
    )


def make(name: str, loaded: Loaded) -> Document:
    """One page from records."""
    document: Document = importlib.import_module(f"{__name__}.{name}").document(loaded)
    return document


def contents(pages: Mapping[str, Document]) -> Document:
    """The page that a visitor of the folder sees: every question, and the page that answers it."""
    questions = {name: page.text.split("\n", 1)[0].removeprefix("# ") for name, page in pages.items()}
    ranked = sorted(questions, key=lambda name: importlib.import_module(f"{__name__}.{name}").RANK)
    links = "\n".join(f"- [{questions[name]}]({name}.md)" for name in ranked)
    return Document(f"{_CONTENTS}\n{links}\n{_GLOSSARY}")


_CONTENTS = """# What came out, question by question

Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no result is typed. The suites behind
them, and what each takes, stand in [suites](../suites.md).
"""
_GLOSSARY = """
## Words

A *suite* is a YAML file that asks a question; an *entry* of it is a mechanism with a variant's settings; a *cell* is one entry on one task
at one seed, trained and measured; its *record* is the file that says all of it. A *trial* is a short cell of a search for settings, scored
on validation. A *floor* is a cell that attends to nothing (chance, a bag of inputs, the mean of all tokens), which must be beaten. In the
ledger a *claim* is what a paper says, a *ground* is a task or setting on which it is tested, and what a ground *asks* are comparisons
there, declared in the suite before it ran or not. *Made* data (scenes, captions, Sudoku boards, rules) are synthetic, by generators of
ours. *Start* is the spread of embeddings before training. Order parameters are 1 where all phases agree; FG-ARI is the adjusted Rand index
of a grouping over the pixels of objects, 1 where it is theirs.

## Names

*RoPE* rotates queries and keys by place; *RoPE (values)* rotates values too, as KoPE does; *RoPE (learned)* has learned position vectors as
well. *KoPE (frozen)* is KoPE whose phases never move (KoPE's turn by at most arctan γ a layer but the last: with γ = 0.05 by 0.15 rad in
four layers, 0.05 in two, and 0.55 in the paper's twelve); *KoPE (frozen-unmixed)* does not mix them either, which leaves RoPE with rotated
values; *KoPE (moving)* and *(still)* have γ = 0.05 and 0, *(random-walk)* takes steps as long in random directions; *KoPE (carry)* goes on
with its phases from loop to loop in place of starting anew. *SSA (published)* starts its frequencies as the paper does, where almost no
pair locks; of *SSA (locked)* they are scaled once so that half of the pairs lock. *Fixed query (published)* is as the authors' code has it,
padding heard and anchors free; *(d_osc=n)* has oscillators on a sphere of n dimensions, where 2 is a circle. *Uniform* is the mean of all
tokens. *X at equal FLOPs* is X with a wider MLP until it spends as many FLOPs as KoPE, and so with 10 to 20 % more parameters; all others
are equal in parameters within 1 %. In other brackets stand settings or a suite's variants: *SSA (learned)* has learned positions where *SSA
(locked)* beside it has none; *AKOrN (rotary)* and *(circles)* turn queries, keys and values by place, the second with oscillators of two
dimensions; *fixed query (circle)*, *(sphere)* and *(sphere-32)* have such anchors; *softmax (units)* has vectors for row, column and box of
a Sudoku cell, *softmax (none)* no positions, *softmax (spread-1)* embeddings of twice the default's spread.

Positions: *none*; *learned*, vectors added to tokens; *sinusoidal*, fixed vectors added; *own*, the mechanism's own (rotary angles of RoPE
and KoPE, drift of torus, anchors of fixed query); *learned+own*, both. Floors (chance, a bag of inputs, an n-gram model) are what must be
beaten before a task tells mechanisms apart. A *reference* is a simple model of the whole input, such as a linear one of all pixels in
place: it withholds no verdict, and says how much of a task is had without attention.

Verdicts: *better* and *worse*, the corrected test and the interval agree; *equivalent*, within the margin by two tests; *no clear
difference*, neither is shown; *estimates only*, declared, but with too few seeds; *withheld*, nobody is clearly ahead of the floor.
"""


def write(results: Path = RESULTS, folder: Path = FOLDER) -> list[Path]:
    """Write every page and its pictures.

    Raises:
        ReportError: no records in `results`.
    """
    loaded = load(results)
    folder.mkdir(parents=True, exist_ok=True)
    pages = {name: make(name, loaded) for name in names()}
    written = []
    for name, made in {**pages, "README": contents(pages)}.items():
        for file, text in {f"{name}.md": made.text, **made.pictures}.items():
            (folder / file).write_text(text, encoding="utf-8")
            written.append(folder / file)
    return written


def picture(name: str, svg: str, alt: str) -> tuple[str, dict[str, str]]:
    """The Markdown that shows a picture, drawn for light pages and darkened for dark ones, and its two files."""
    text = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{name}-dark.svg">'
        f'<img src="{name}-light.svg" alt="{html.escape(alt)}"></picture>\n'
    )
    return text, {f"{name}-light.svg": svg, f"{name}-dark.svg": darkened(svg)}


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """A Markdown table, its last columns aligned as numbers.

    Args:
        headings: One a column.
        rows: Texts.
        numbers: How many columns, from the right, hold numbers.
    """
    sides = ["left"] * (len(headings) - numbers) + ["right"] * numbers
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(cells, headings, tablefmt="pipe", disable_numparse=True, colalign=sides if rows else None)
