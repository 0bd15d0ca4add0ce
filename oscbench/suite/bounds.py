"""How large a suite may be: a mistake of many zeros is answered at once instead of filling memory.

Each is far beyond what anyone has wanted, and its message says the bound; none is part of a cell.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 50_000
"""Numbers, texts, lists and mappings of a file, each as often as anchors and merges repeat it."""
MAX_TEXT = 1_000_000
"""Characters of all texts together, counted in the same way."""
MAX_NUMBER = 10**12
"""Of whole numbers, whatever they count."""
MAX_SEEDS = 10_000
MAX_SEED = 2**32 - 1
MAX_THREADS = 1_024
MAX_DEVICES = 64
"""Of one machine."""
MAX_VARIANTS = 1_000
"""Each of them is built once, without memory, before anything runs."""
MAX_POINTS = 1_000
MAX_CELLS = 100_000

RESERVED = ("published", "reference")
"""Folders of a results folder that hold something else."""
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


def _free(name: str) -> str:
    if name.lower() in RESERVED:
        raise ValueError(f'"{name}" is a folder of its own among results; give the suite another name')
    if _DEVICES.match(name):
        raise ValueError(f'"{name}" is no name for a folder on every system; give the suite another name')
    return name


NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
VARIANT = r"^[^\s,]([^\n\r,]*[^\s,])?$"
CONTENDER = r"^[A-Za-z0-9_.+=-]+$"
PATTERNS = {
    NAME: "allowed: letters a to z, digits, _, . and -, with a letter or a digit first",
    VARIANT: "allowed: one line without commas, and without blanks before and after it",
    CONTENDER: "allowed: letters a to z, digits, _, ., +, = and -",
}
"""What a pattern allows, in words."""
SuiteName = Annotated[str, Field(max_length=100, pattern=NAME), AfterValidator(_free)]
"""What a folder of records may be called, everywhere."""


def unprintable(text: str) -> str | None:
    """The first character that no record, page or picture can hold, as `U+D800`; None where there is none."""
    for character in text:
        # Cc: control characters, of which XML takes only these three; Cs: half a surrogate pair, which UTF-8 cannot write.
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t\r":
            return f"U+{ord(character):04X}"
        if ord(character) & 0xFFFE == 0xFFFE:
            return f"U+{ord(character):04X}"
    return None
