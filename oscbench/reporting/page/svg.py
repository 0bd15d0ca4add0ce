"""Figures as vectors: what a pointer is told over a point, and drawings that stand inside the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from xml.etree import ElementTree

from matplotlib.artist import Artist

from oscbench.reporting.page.style import themed

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_HINT = "hint:"
_LONG = re.compile(r"-?\d+\.\d{3,}")
_DECIMALS = 2
"""Of a coordinate in points, of which a hundredth is 0.013 pixels; with no indentation a picture is a fifth shorter."""

ElementTree.register_namespace("", _SVG.strip("{}"))
ElementTree.register_namespace("xlink", _XLINK.strip("{}"))


def hint(artist: Artist, whole: str, points: Iterable[str] = ()) -> None:
    """Say what a pointer over an artist is told.

    Args:
        artist: A line, a collection of points, or anything else that is drawn.
        whole: Of all of it; empty for nothing.
        points: Of each of its points, in their order. Rasterised points have no hints.
    """
    artist.set_gid(_HINT + json.dumps([whole, *points], ensure_ascii=False))


def hinted(svg: str) -> str:
    """The SVG that matplotlib wrote, with hints as `<title>`, which browsers show over what holds it, and coordinates no finer than seen."""
    root = ElementTree.fromstring(svg)
    for group in list(root.iter(f"{_SVG}g")):
        if not group.get("id", "").startswith(_HINT):
            continue
        whole, *points = json.loads(group.attrib.pop("id").removeprefix(_HINT))
        drawn = list(group.iter(f"{_SVG}use"))
        if points and len(points) == len(drawn):
            for one, text in zip(drawn, points, strict=True):
                _entitle(one, text)
        if whole:
            _entitle(group, whole)
    for element in root.iter():
        for key in {"d", "x", "y"}.intersection(element.keys()):
            element.set(key, " ".join(_LONG.sub(_rounded, element.attrib[key]).split()))
    ElementTree.indent(root, "")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _rounded(number: re.Match[str]) -> str:
    return f"{round(float(number[0]), _DECIMALS) + 0.0:g}"


def _entitle(element: ElementTree.Element, text: str) -> None:
    title = ElementTree.Element(f"{_SVG}title")
    title.text = text
    element.insert(0, title)


def inline(svg: str, alt: str, prefix: str) -> str:
    """The drawing as an element of the page: named by its words, its colours those of the page's light or dark.

    Args:
        svg: A whole SVG document.
        alt: What it shows, for those who do not see it.
        prefix: Starts every id, so that no two drawings of a page share one.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == f"{_SVG}style"]:
            parent.remove(child)
    _own_ids(root, prefix)
    for element in root.iter():
        if element.tag != f"{_SVG}text" and not (element.text or "").strip():
            element.text = None
        if not (element.tail or "").strip():
            element.tail = None
        if "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt}
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    return themed(text)


def _own_ids(root: ElementTree.Element, prefix: str) -> None:
    """Ids that something refers to get the prefix and a number, all others go."""
    href = f"{_XLINK}href"
    used = {e.attrib[href][1:] for e in root.iter() if e.get(href, "").startswith("#")}
    used |= {name for e in root.iter() for value in e.attrib.values() for name in _REFERENCE.findall(value)}
    own = {name: f"{prefix}{place}" for place, name in enumerate(sorted(used))}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in own:
                del element.attrib[key]
            elif key == "id":
                element.set(key, own[value])
            elif key == href and value[1:] in own:
                element.set(key, f"#{own[value[1:]]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda found: f"url(#{own[found[1]]})", value))
