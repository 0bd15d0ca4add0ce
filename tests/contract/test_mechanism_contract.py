"""Laws that every mechanism in the catalog keeps; a new file is tested without writing a test."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from oscbench import catalog
from oscbench.mechanisms import Context
from oscbench.models.laws import LAWS, Case, Law, embeddings, positions

HEADINGS = ("Idea", "Equation", "Symbols", "Deviations", "Cost")


def cases() -> list[Any]:
    found = []
    for name in catalog.names("mechanisms"):
        for settings in ({}, *catalog.load("mechanisms", name).examples):
            label = "+".join(f"{key}={value}" for key, value in settings.items()) or "default"
            found.append(pytest.param(name, settings, id=f"{name}-{label}"))
    return found


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_docstring_has_the_headings_in_order_and_a_citation(name: str) -> None:
    text = catalog.docstring("mechanisms", name)
    places = [text.find(f"\n{heading}:\n") for heading in HEADINGS]
    missing = [heading for heading, place in zip(HEADINGS, places, strict=True) if place < 0]
    assert not missing, f"{name}: its docstring lacks the headings {', '.join(missing)}"
    assert places == sorted(places)
    source = r"arXiv (\d{4}\.\d{4,5}|[a-z-]+/\d{7})|doi:? ?10\.|\bour own\b"
    wanted = f"{name}: Equation tells no source; wanted: an arXiv number, a DOI, or that it is our own"
    assert re.search(source, catalog.section(text, "Equation"), re.IGNORECASE), wanted
    assert catalog.section(text, "Idea").count(".") >= 1


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        catalog.load("mechanisms", name).Config.model_validate({"no_such_setting": 1})


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_file_stays_readable(name: str) -> None:
    lines = (catalog._folder("mechanisms") / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert lines[-1].startswith("mechanism = ")


@pytest.mark.parametrize(("name", "settings"), cases())
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_law(name: str, settings: dict[str, Any], law: Law) -> None:
    """What `oscbench check` holds anybody's mechanism to; tests/models/test_laws.py has one that breaks each."""
    assert law.check(Case(catalog.load("mechanisms", name), settings)) is None


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_compiles_into_one_graph(name: str) -> None:
    """Value checks are off inside the compiler; `ode` and `calibrate` are excepted. Two layers hand a state on; a third only takes longer."""
    trunk, context = (
        Case(catalog.load("mechanisms", name), {}).trunk(dtype=torch.float32, layers=2),
        Context(positions()),
    )
    x = embeddings().float()

    def features(tokens: Tensor) -> Tensor:
        return trunk(tokens, context)[0]

    compiled = torch.compile(features, fullgraph=True, backend="aot_eager")
    out = compiled(x)
    assert torch.allclose(out, features(x), atol=1e-5)
    out.sum().backward()
    torch._dynamo.reset()
