"""Pictures as a part of an HTML page: ids of their own, colours of the page, hints on points."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from archspec.search.report.style import COLOURS, Hint

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that no XML document may hold, though a name may."""


def inline(
    document: str,
    prefix: str,
    label: str,
    *,
    themed: bool = False,
    hints: Mapping[str, Sequence[Hint]] | None = None,
) -> str:
    """An SVG document, as matplotlib writes them, as an element to stand in a page.

    Args:
        document: its text.
        prefix: what its ids begin with; other than that of any other picture on the page.
        label: what it shows, for those who cannot see it.
        themed: whether its colours become the page's variables, so that they change with it.
        hints: for the points of scatters, by the scatter's id.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(_NO_XML.sub("\ufffd", document))  # noqa: S314 - our own, written a moment ago
    for scatter, texts in (hints or {}).items():
        _add_hints(root, scatter, texts)
    _strip(root)
    _rename(root, prefix)
    if themed:
        for element in root.iter():
            if style := element.get("style"):
                element.set("style", _COLOUR.sub(lambda found: _VARIABLES[found[0]], style))
    root.set("role", "group" if hints else "img")
    root.set("style", f"--natural: {root.get('width')}")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _strip(root: ElementTree.Element) -> None:
    """Leave out what means nothing in a page, and styles, which would hold for all of it."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Give ids that are referred to a prefix, and drop all others."""
    used = set()
    for element in root.iter():
        for key, value in element.items():
            if key == _HREF and value.startswith("#"):
                used.add(value[1:])
            used.update(re.findall(r"url\(#([^)]+)\)", value))
    for element in root.iter():
        for key, value in list(element.items()):
            if key == "id":
                if value in used:
                    element.set(key, f"{prefix}-{value}")
                else:
                    del element.attrib[key]
            elif key == _HREF and value.startswith("#"):
                element.set(key, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}-"))


def _add_hints(root: ElementTree.Element, scatter: str, hints: Sequence[Hint]) -> None:
    """Make each point of a scatter a link to its trial's row."""
    group = next((e for e in root.iter(f"{{{_SVG}}}g") if e.get("id") == scatter), None)
    if group is None:
        return
    # many points are uses of one path, and few are paths of their own
    holders = [
        (parent, child)
        for parent in group.iter()
        if parent.tag == f"{{{_SVG}}}g"
        for child in parent
        if child.tag in (f"{{{_SVG}}}use", f"{{{_SVG}}}path")
    ]
    if len(holders) != len(hints):
        return  # a point was left out, and nobody knows which
    for (parent, point), hint in zip(holders, hints, strict=True):
        place = list(parent).index(point)
        parent.remove(point)
        address = {"href": f"#trial-{hint.number}", "tabindex": "-1"}
        link = ElementTree.Element(f"{{{_SVG}}}a", address)
        title = ElementTree.SubElement(link, f"{{{_SVG}}}title")
        title.text = hint.text
        link.append(point)
        parent.insert(place, link)
