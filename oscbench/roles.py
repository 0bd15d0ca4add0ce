"""What a measure's quantities are for. A measure says it in its file, so that whoever reads records names none of them.

    roles = {"step_s": {"cost": "Training time", "rank": 31, "of_machine": True, "a_step": "Seconds"}}

stands in the class as plain literals: reports read it from the file (`catalog.declared`), without importing it and what it imports.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Role(TypedDict, total=False):
    """Of one quantity, or of all whose names begin so where its name ends in `*`.

    Attributes:
        rank: where it stands among others of a role; small numbers first. Of several quantities for one cost, the first that cells
            have stands for it.
        cost: the kind of cost that it stands for, as a heading.
        of_machine: it belongs to the machine that it was taken on, and is not held against another machine's.
        basis: what is usually made equal: a model's `size`, or the `compute` of its forward pass.
        speed: it stands for the speed of training.
        a_step: it is spent again in every training step; its heading where steps are counted.
        energy: it is energy; its place in a table of energies and its heading there.
        column: its heading in narrow tables, which always have it.
        exact: it is counted and not taken, so that any change of it is one of the code.
        peak: it is a peak of memory.
    """

    rank: int
    cost: str
    of_machine: bool
    basis: Literal["size", "compute"]
    speed: bool
    a_step: str
    energy: tuple[int, str]
    column: str
    exact: bool
    peak: bool
