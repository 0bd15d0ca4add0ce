"""How mechanisms stand on images, with one recipe for all and tuned."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page

RANK = 20
_SUITES = ("vision_small", "tuned_digits", "tuned_cifar10", "depth")


def document(loaded: Loaded) -> Document:
    """Small images: digits, and CIFAR-10 where it ran."""
    words = (
        "Models of equal size on small images: with one recipe for all, and after a search with equal trials for each, and more where a\n"
        "choice stood at the end of its range; and KoPE in twelve layers, where its phases take eleven steps.\n"
    )
    return page("images", "Which mechanism is best on digits and CIFAR-10?", words, loaded, _SUITES)
