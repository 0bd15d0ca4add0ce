"""Write the pages of `docs/results/` anew."""

from __future__ import annotations

from oscbench.reporting.documents import write

for path in write():
    print(path)
