"""Identity: a hash of what was asked, so that the same request is never computed twice and no two requests share a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

IDENTITY_LENGTH = 16


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN (a request that holds NaN is a mistake)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """First hexadecimal digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:IDENTITY_LENGTH]


def identity(spec: Mapping[str, Any]) -> str:
    """Identity of a resolved cell spec: every field counts.

    Of a timing cell the contenders do, and not the name that they have together: specs said softmax there, whoever was timed, and
    what they asked for is the same today.
    """
    return digest({**spec, "mechanism": {"name": "softmax"}} if spec.get("kind") == "timing" else spec)


def protocol(spec: Mapping[str, Any]) -> str:
    """What a fair comparison must share: the resolved spec without mechanism, variant, seed and their versions.

    Nor does a control's own matching count (`own_match`), which differs on purpose and is told with every result, nor an entry's own
    position and start of embeddings (`own_model`), which belong to the mechanism, nor what a search chose of the recipe (`tuned`):
    the search itself (`tune`) is what all share.
    Two cells with unlike protocols were trained, matched or evaluated differently and are never compared.
    """
    own = {"mechanism", "variant", "seed", "own_match", "own_model", "tuned"}
    shared = {key: value for key, value in spec.items() if key not in own}
    shared["versions"] = {k: v for k, v in spec.get("versions", {}).items() if k != "mechanism"}
    return digest(shared)
