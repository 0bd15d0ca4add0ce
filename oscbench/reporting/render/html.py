"""Pages as HTML: one template, which loops over blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from oscbench.reporting.page.blocks import Block, Page
from oscbench.reporting.page.figure import Picture, Plan
from oscbench.reporting.page.style import theme
from oscbench.reporting.page.table import Bar, Table

# With more numbers than this on a page a row's name leads to its records, and each number does not.
LINKED_CELLS = 6_000
# Pictures beyond this many bytes stay files beside their page, so that it opens on a phone; and beyond those that fit a page of this size.
EMBEDDED_BYTES = 3_000_000
PAGE_BYTES = 4_800_000
# Tables with more cells than this stay tables on a phone, where others become cards.
CARD_CELLS = 240


@dataclass(frozen=True)
class Beside:
    """What else is written, and so can be linked to.

    Attributes:
        files: tables/ with every table as CSV and figures/ with every picture.
        records: records.html with every cell.
    """

    files: bool = True
    records: bool = True


@dataclass(frozen=True)
class Drawn:
    """Pictures of the plans that a report had room for, by `id` of the plan, and those of a page that stand inside it."""

    pictures: Mapping[int, Picture]
    inside: Mapping[str, str]

    def of(self, plans: Sequence[Plan]) -> list[Picture]:
        """Pictures in the order of their plans."""
        return [self.pictures[id(plan)] for plan in plans if id(plan) in self.pictures]


def render(page: Page, pictures: Mapping[int, Picture], beside: Beside, pages: Sequence[Page]) -> str:
    """A page with its pictures inside, as far as they have room.

    Args:
        page: What is shown.
        pictures: By `id` of their plans.
        beside: What can be linked to.
        pages: All pages that a reader may want to go on to.
    """
    plans = sorted(
        (b for b in page.blocks() if isinstance(b, Plan) and id(b) in pictures), key=lambda p: p.rank
    )
    every = {pictures[id(p)].name: pictures[id(p)].inline(f"f{place}-") for place, p in enumerate(plans)}
    inside = within(every, EMBEDDED_BYTES)
    html = _html(page, Drawn(pictures, inside), beside, pages)
    excess = len(html.encode()) - PAGE_BYTES
    if excess > 0:
        spent = sum(len(drawing.encode()) for drawing in inside.values())
        html = _html(page, Drawn(pictures, within(inside, spent - excess)), beside, pages)
    return html


def _html(page: Page, drawn: Drawn, beside: Beside, pages: Sequence[Page]) -> str:
    numbers = sum(block.size for block in page.blocks() if isinstance(block, Table))
    every = numbers <= LINKED_CELLS
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            pages=pages,
            drawn=drawn,
            beside=beside,
            every_number_links=every,
            card_cells=CARD_CELLS,
        )
    )


def within(drawings: Mapping[str, str], budget: int) -> dict[str, str]:
    """The first of them whose bytes the budget covers."""
    spent = accumulate(len(drawing.encode()) for drawing in drawings.values())
    return {name: drawings[name] for name, bytes_ in zip(drawings, spent, strict=True) if bytes_ <= budget}


def grouped(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Neighbours of one kind together: figures stand side by side, and cards in one list."""
    for kind, same in groupby(blocks, key=lambda block: block.kind):
        yield kind, list(same)


def bar_svg(bar: Bar, tone: str = "") -> str:
    """A mean with its interval as a small drawing that says nothing to those who read the number beside it."""
    width, height = 120, 12
    low, high = bar.ends
    scale = (width - 8) / ((high - low) or 1.0)
    inside = (min(max(value, low), high) for value in (bar.low, bar.mean, bar.high))
    x = [round(4 + scale * (value - low), 1) for value in inside]
    zero = round(4 + scale * (0.0 - low), 1)
    line = f'<path class="zero" d="M{zero} 0V{height}"/>' if low < 0 < high or low == 0 or high == 0 else ""
    return (
        f'<svg class="bar {tone}" viewBox="0 0 {width} {height}" aria-hidden="true">{line}'
        f'<path d="M{x[0]} 6H{x[2]}"/><circle cx="{x[1]}" cy="6" r="3"/></svg>'
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.j2", "html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"theme": theme, "grouped": grouped, "bar_svg": bar_svg, "Bar": Bar}
    environment.filters |= {"unbroken": unbroken, "address": address}
    return environment


def address(link: str) -> str:
    """Where a link of a table leads: an anchor in records.html, or a page or file as it stands."""
    return link if "." in link else f"records.html#{link}"


def unbroken(text: str) -> str:
    """Numbers stay on one line with what follows them, and the ends of an interval with one another."""
    text = re.sub(r"(\[[^\s\[\]]+,) (?=[^\s\[\]]+\])", "\\1\u00a0", text)
    return re.sub(r"(?<=[\d=±]) (?=[\d%]|points)", "\u00a0", text)
