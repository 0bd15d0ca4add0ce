"""Tables for a paper: plain LaTeX with booktabs."""

from __future__ import annotations

from oscbench import words
from oscbench.reporting.page.table import Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    words.MINUS: r"$-$",
    words.TIMES: r"$\times$",
    "→": r"$\rightarrow$",
    "µ": r"$\mu$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "σ": r"$\sigma$",
    "γ": r"$\gamma$",
    "Δ": r"$\Delta$",
    "√": r"$\surd$",
    "²": r"$^2$",
    "\u202f": r"\,",
    "\u00a0": "~",
    "<": r"$<$",
    ">": r"$>$",
}


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def latex(table: Table) -> str:
    """A `table` environment; it needs the package booktabs."""
    sides = "".join("l" if column.align == "left" else "r" for column in table.columns)
    lines = [" & ".join(escaped(cell.text) for cell in row) + r" \\" for row in table.rows]
    head = " & ".join(escaped(column.heading) for column in table.columns) + r" \\"
    body = "\n".join(["\\toprule", head, "\\midrule", *lines, "\\bottomrule"])
    return (
        f"% \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{escaped(table.caption)}}}\n\\label{{tab:{table.name}}}\n"
        f"\\begin{{tabular}}{{{sides}}}\n{body}\n\\end{{tabular}}\n\\end{{table}}\n"
    )
