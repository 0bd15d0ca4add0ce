"""The data room: named data sets filed by content, found by name or path, and tensors prepared from them (no torch but in `prepared`).

Nothing here opens a socket. A person brings a data set once, `oscbench data add enwik8 --from PATH`; suites then name it.
"""

from oscbench.data.known import KNOWN, Known
from oscbench.data.store import Entry, Located, add, data_root, entries, locate, verify
from oscbench.data.used import contents, observe_data

__all__ = [
    "KNOWN",
    "Entry",
    "Known",
    "Located",
    "add",
    "contents",
    "data_root",
    "entries",
    "locate",
    "observe_data",
    "verify",
]
