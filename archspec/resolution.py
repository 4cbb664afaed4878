"""Which of a network's parameters belong to one image size, and which fit every size.

The same spec at another size is another graph; what differs there is what depends on the size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from archspec.counting import Written, written_out
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.graph import Graph
from archspec.spec import Spec, as_spec

FACTORS = (Fraction(2), Fraction(3), Fraction(1, 2), Fraction(4), Fraction(3, 2))
"""By which height and width are multiplied, until there is such a network."""

LISTED = 4
"""How many places a phrase names before it counts the rest."""

_INDEX = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class Dependent:
    """Ops at one place of the network whose parameters belong to one image size."""

    name: str
    """Their module, with `*` for the position of a repeated layer."""
    op: str
    times: int
    params: int
    """Of all of them."""


@dataclass(frozen=True)
class Dependence:
    """What a network's parameters have to do with the size of the image."""

    compared: tuple[int, int] | None
    """Height and width of the other size; None where the network exists at none that was tried."""
    paths: frozenset[str]
    """The modules whose parameters depend on the size."""
    places: tuple[Dependent, ...]
    """The same, grouped."""

    @property
    def params(self) -> int:
        """How many parameters depend on the size."""
        return sum(place.params for place in self.places)


def size_dependence(spec: Spec | str | Path, graph: Graph | None = None) -> Dependence:
    """Find the parameters that depend on the size of the image, without torch.

    Args:
        graph: what the spec expands to, if that is known.

    Raises:
        SpecError: as `archspec.expand`.
    """
    spec = as_spec(spec)
    here = written_out(graph if graph is not None else expand(spec))
    for factor in FACTORS:
        size = [factor * int(spec.input[axis]) for axis in ("height", "width")]
        if any(side.denominator != 1 for side in size):
            continue
        height, width = map(int, size)
        values = {"input.height": height, "input.width": width}
        try:
            there = written_out(expand(spec.with_values(values)))
        except SpecError:
            continue
        found = {
            path: written
            for path, written in here.items()
            if written.params and (path not in there or there[path].params != written.params)
        }
        return Dependence((height, width), frozenset(found), _grouped(found))
    return Dependence(None, frozenset(), ())


def grouped(names: Iterable[str]) -> str:
    """Names in a phrase, those of repeated layers as one: `stage1.layers.*.mix.weight ×12`."""
    return listed(Counter(_INDEX.sub("*", name) for name in names))


def listed(counts: Mapping[str, int]) -> str:
    """Names with how often each stands in the network, in a phrase."""
    shown = [name if count == 1 else f"{name} ×{count}" for name, count in counts.items()]
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return ", ".join(shown[:LISTED]) + more


def _grouped(found: dict[str, Written]) -> tuple[Dependent, ...]:
    groups: dict[tuple[str, str], list[int]] = {}
    for path, written in found.items():
        groups.setdefault((_INDEX.sub("*", path), written.op), []).append(written.params)
    return tuple(
        Dependent(name, op, len(params), sum(params)) for (name, op), params in groups.items()
    )
