"""What measures that follow layers while a model trains share: when to look, and what was seen as curves."""

from __future__ import annotations

import numpy as np

from oscbench.measures import History
from oscbench.records.schema import Curve


def spaced(points: int, total: int) -> set[int]:
    """0, and so many steps from the first to the last, spaced evenly on a logarithmic axis; fewer where training is shorter."""
    return {0, *np.geomspace(1, max(total, 1), points).round().astype(int).tolist()}


def curves_of_layers(history: History, owner: str = "") -> dict[str, Curve]:
    """A curve for each `<quantity>/<layer>` that was followed, or each `<owner>/<quantity>/<layer>`: a history has those of all measures."""
    found = {}
    for name, seen in history.followed.items():
        *before, quantity, layer = ["", *name.split("/")][-3:]
        if layer.isdecimal() and before == [owner]:
            found[name] = Curve(
                label=f"{f'{owner} {quantity}'.strip().replace('_', ' ')}, layer {int(layer) + 1}",
                unit="1",
                layer=int(layer),
                x=tuple(step for step, _ in seen),
                y=tuple(value for _, value in seen),
            )
    return found
