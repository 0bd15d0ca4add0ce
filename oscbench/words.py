"""Numbers as people read them: percent and points, SI prefixes, p values.

One place, so that page and tables agree.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

MINUS = "\u2212"
TIMES = "\u00d7"
TO = "\u2013"
MISSING = "n/a"
LONGEST_NAME = 150
"""Bytes of a name of a file or anchor, but for what tells it from others; a file system has room for 255 with what is put around it."""

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SMALL = ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


MATCHED_IN = {"params": "parameters", "flops": "FLOPs", "time": "training time"}
"""What models are made alike in, by the word that a suite says it with."""


def signed(text: str) -> str:
    """A typographic minus instead of the hyphen."""
    return text.replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """A plain number to some significant digits, never in the 1e+05 style below a million."""
    if not math.isfinite(value):
        return MISSING if math.isnan(value) else signed(f"{value:+}".replace("+inf", "∞").replace("inf", "∞"))
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if -5 < magnitude < 7:
        return signed(f"{value:,.{max(0, digits - 1 - magnitude)}f}".replace(",", "\u202f"))
    return signed(f"{value:.{digits - 1}e}")


def mark(text: str) -> str:
    """Eight digits that tell a text from others whose names are spelled alike."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def slug(text: str) -> str:
    """A text as the name of an anchor or a file; of a long one its beginning, and a hash that tells it from others that begin so."""
    signed_apart = re.sub(r"(?<![^\W_])-(?=\.?\d)", " minus ", text.lower())  # -1 is not 1
    whole = "-".join("".join(c if c.isalnum() else " " for c in signed_apart).split())
    if len(whole.encode()) <= LONGEST_NAME:
        return whole
    start = whole.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip("-")
    return f"{start}-{mark(text)}"


def capitalised(label: str) -> str:
    """A label as a heading: its first letter large, the rest as it is."""
    return label[:1].upper() + label[1:]


def lowered(label: str) -> str:
    """A label inside a sentence: its first letter small, unless it begins a name, such as FLOPs, KoPE or F1."""
    rest = label.split(" ", 1)[0][1:]
    is_name = rest != rest.lower() or any(map(str.isdigit, rest))
    return label if is_name or not rest else label[:1].lower() + label[1:]


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """A value with its unit: fractions in percent, times and counts with SI prefixes.

    Args:
        value: In `unit`; NaN reads as n/a.
        unit: As in the record; `1` and the empty text mean a pure number.
        digits: Significant digits; fractions always have one decimal of a percent.
    """
    if not math.isfinite(value):
        return MISSING
    if unit == "fraction":
        return signed(f"{100 * value:.1f} %")
    if unit in ("1", ""):
        return significant(value, digits) if abs(value) < 1e4 else _prefixed(value, "", digits)
    if unit in ("s", "J", "W", "FLOP", "B", "byte", "bytes", "FLOP/s"):
        return _prefixed(value, unit, digits)
    return f"{significant(value, digits)} {unit}"


def _prefixed(value: float, unit: str, digits: int) -> str:
    if unit == "s" and abs(value) >= 120:
        return f"{significant(value / 60, digits)} min"
    scales = [(scale, prefix) for scale, prefix in _PREFIXES if unit != "s"] + [(1.0, ""), *_SMALL]
    for scale, prefix in scales:
        if abs(value) >= scale:
            return f"{significant(value / scale, digits)} {prefix}{unit}".strip()
    return f"{significant(value, digits)} {unit}".strip()


def difference(value: float, unit: str, with_unit: bool = True) -> str:
    """A signed difference: fractions in percentage points, everything else in its own unit."""
    if not math.isfinite(value):
        return MISSING
    if unit == "fraction":
        digits = 2
        # On which side of 0 an end of an interval lies is what a reader looks for; floating point alone is on none.
        while abs(100 * value) > 1e-6 and round(100 * value, digits) == 0:
            digits += 1
        return signed(f"{_no_negative_zero(100 * value, digits):+.{digits}f}") + (
            " points" if with_unit else ""
        )
    text = significant(value)
    text = text if value <= 0 else f"+{text}"
    return f"{text} {unit}" if with_unit and unit not in ("1", "") else text


def _no_negative_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0


def interval(low: float, high: float, unit: str) -> str:
    """`[+0.10, +1.50]`, in points for fractions."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "none"
    return f"[{difference(low, unit, False)}, {difference(high, unit, False)}]"


def estimate(mean: float, low: float, high: float, unit: str) -> str:
    """A mean difference with its interval, `+0.21 points [+0.04, +0.37]`; without one where there is none."""
    exists = math.isfinite(low) and math.isfinite(high)
    return difference(mean, unit) + (f" {interval(low, high, unit)}" if exists else "")


def half_width(low: float, high: float, unit: str) -> str:
    """`± 0.7`, in points for fractions, empty where there is no interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    half = (high - low) / 2
    return f"± {100 * half:.1f}" if unit == "fraction" else f"± {significant(half, 2)}"


def margin(value: float, unit: str) -> str:
    """What counts as no difference: `±0.5 points`, `±0.01 bits/character`."""
    number, shown = (100 * value, "points") if unit == "fraction" else (value, unit)
    return f"±{number:g}" + (f" {shown}" if shown not in ("1", "") else "")


def spread(std: float, unit: str) -> str:
    """A standard deviation, in points for fractions."""
    if not math.isfinite(std):
        return MISSING
    return f"{100 * std:.2f}" if unit == "fraction" else significant(std, 2)


def p_value(p: float) -> str:
    """Three decimals; below a thousandth says so."""
    if not math.isfinite(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def relative(ratio: float) -> str:
    """A cost ratio as a signed percentage: 1.21 -> +21 %."""
    if not math.isfinite(ratio):
        return MISSING
    percent = 100 * (ratio - 1)
    digits = 1 if abs(percent) < 10 else 0
    return signed(f"{_no_negative_zero(percent, digits):+.{digits}f} %")


def times(ratio: float) -> str:
    """A speed ratio: 0.7×."""
    if not math.isfinite(ratio):
        return MISSING
    return f"{ratio:.2f}{TIMES}" if ratio < 10 else f"{significant(ratio, 2)}{TIMES}"


def difference_unit(unit: str) -> str:
    """The unit of a difference: points between fractions."""
    return "points" if unit == "fraction" else unit


def in_unit(unit: str) -> str:
    """`, percentage points`, to stand behind what a table holds differences of; empty where there is no unit."""
    shown = "percentage points" if unit == "fraction" else unit
    return f", {shown}" if shown not in ("", "1") else ""


def reached(value: float) -> str:
    """What it took to get somewhere, without a unit; infinite is never."""
    return f"{value:g}" if math.isfinite(value) else "never"


def reached_between(low: float, high: float) -> str:
    """Two quartiles of what it took."""
    return f"{reached(low)} to {reached(high)}"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def many(count: int, what: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {what}{'s' * (count != 1)}"


def ranges(numbers: list[int]) -> str:
    """Seeds in few words: 0–3, 7."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}{TO}{run[-1]}" for run in runs]
    return ", ".join(parts) if parts else "none"
