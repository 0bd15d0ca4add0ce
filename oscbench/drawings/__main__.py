"""Write the drawings anew."""

from __future__ import annotations

from oscbench.drawings import write

for path in write():
    print(path)
