"""A Hypothesis strategy for small spaces: valid networks with holes put into random places."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import assume
from hypothesis import strategies as st

from archspec.errors import SpecError
from archspec.search.errors import SpaceError
from archspec.search.space import Space
from archspec.spec import loads
from tests.strategies import networks

MOST = 36
"""Networks of one space: each of them is looked at."""
_BODIES = ("stem", "head", "body", "enter", "then", "else")
_NAMES = ("id", "from", "inputs", "name", "about")
_SECTIONS = ("vars", "blocks", "stem", "stages", "head")

Place = tuple[Any, Any, bool]
"""A list or mapping, the key of an entry in it, and whether that entry is a step."""


def _places(node: Any, is_body: bool = False) -> Iterator[Place]:
    """Everything in a document where a hole may stand."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(entries):
        if key in _NAMES:
            continue
        is_step = is_body and isinstance(node, list)
        named = isinstance(value, dict) and any("id" in str(inner) for inner in value.values())
        if is_step and not named:
            yield node, key, True
        elif not is_step and not isinstance(value, dict | list):
            yield node, key, False
        if isinstance(value, dict | list):
            yield from _places(value, key in _BODIES)


def _hole(draw: st.DrawFn, value: Any, is_step: bool, others: list[Any]) -> dict[str, Any]:
    if is_step:
        options = [value, draw(st.sampled_from(["identity", "gelu", *others]))]
        return {"choice": draw(st.permutations(options))}
    if isinstance(value, bool):
        return {"choice": [value, not value]}
    if isinstance(value, int):
        if draw(st.booleans()):
            return {"int": [max(value - draw(st.integers(0, 2)), 0), value + 1]}
        return {"choice": [value, draw(st.integers(1, 12)), *draw(st.sampled_from([[], [2]]))]}
    if isinstance(value, float):
        return {"choice": [value, draw(st.sampled_from([0.5, 0, 1]))]}
    return {"choice": draw(st.permutations([value, draw(st.sampled_from([*others, 2, "C"]))]))}


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """A space of at most `MOST` networks, not all of which need exist."""
    document = yaml.safe_load(draw(networks()))
    for _ in range(draw(st.integers(1, 4))):
        places = [p for key in _SECTIONS if document.get(key)
                  for p in _places(document[key], key in _BODIES)]  # fmt: skip
        assume(places)
        node, key, is_step = draw(st.sampled_from(places))
        alike = [n[k] for n, k, s in places if s == is_step and type(n[k]) is type(node[key])]
        node[key] = _hole(draw, node[key], is_step, copy.deepcopy(alike[:8]))
    text = yaml.safe_dump(document, sort_keys=False)
    try:
        space = Space(loads(text))
    except (SpecError, SpaceError):
        assume(False)
    assume(space.size <= MOST)
    return space
