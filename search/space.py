"""A space: a spec with holes, as dimensions with their values.

    space = Space(load("smlpnet_space"))
    space.size                          # 1273 million networks
    space.spec_of((4, 1, 7, 13, 1, 1, 1, 1, 1))

A network of the space is a row: for each dimension the place of its value among `values`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from archspec.document import check_hole
from archspec.errors import brief
from archspec.search.errors import SpaceError
from archspec.source import Node, is_hole
from archspec.spec import Hole, Spec, as_spec

Rows: TypeAlias = NDArray[np.int64]
"""Networks: one row each, one column for each dimension."""

LEVELS = 65
"""Values that stand for a range of real numbers without a step, evenly spaced, both ends in it."""
MAX_VALUES = 10_000
"""Of one dimension."""
_LARGE = 1 << 62


@dataclass(frozen=True)
class Dimension:
    """One hole, and the values that may stand there."""

    name: str
    kind: Literal["int", "float", "choice"]
    values: tuple[Any, ...]
    log: bool = False

    @cached_property
    def is_whole(self) -> bool:
        """Whether every value is a whole number, with which costs are computed in one go."""
        return all(type(value) is int and abs(value) < _LARGE for value in self.values)

    @cached_property
    def is_ordered(self) -> bool:
        """Whether the values are numbers, so that some are nearer to each other than others."""
        return all(type(value) in (int, float) and abs(value) < _LARGE for value in self.values)

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """The values as storages and tables hold them, no two of them equal.

        Numbers and words as they are, the rest as JSON; 1 beside true, and 1.0 beside 1, too.
        """
        found: dict[Any, None] = {}
        for value in self.values:
            label = value if isinstance(value, str | int | float | None) else json.dumps(value)
            while label in found:
                label = f"{label!r}" if isinstance(label, str) else json.dumps(label)
            found[label] = None
        return tuple(found)

    @cached_property
    def places(self) -> dict[Any, int]:
        """The place of each label among the values."""
        return {label: place for place, label in enumerate(self.labels)}

    def __len__(self) -> int:
        return len(self.values)


class Space:
    """A spec with holes."""

    def __init__(self, spec: Spec | str | Path) -> None:
        self.spec = as_spec(spec)
        if not self.spec.holes:
            raise SpaceError(
                f"{self.spec.name} leaves nothing open: there is one network only",
                mark=self.spec.tree.mark,
                hint="let {choice: […]} or {int: […, …]} stand for a value, "
                "or take --space smlpnet_space",
            )
        self.dims: tuple[Dimension, ...] = tuple(_dimension(hole) for hole in self.spec.holes)

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        return tuple(len(dim) for dim in self.dims)

    @property
    def size(self) -> int:
        """How many networks there are, inside a budget or not."""
        return math.prod(self.lengths)

    def values(self, row: Sequence[int]) -> dict[str, Any]:
        """What stands in each hole of a network."""
        return {dim.name: dim.values[int(i)] for dim, i in zip(self.dims, row, strict=True)}

    def choices(self, row: Sequence[int]) -> dict[str, Any]:
        """The same as numbers and words, for storages and tables."""
        return {dim.name: dim.labels[int(i)] for dim, i in zip(self.dims, row, strict=True)}

    def row(self, choices: Mapping[str, Any]) -> tuple[int, ...]:
        """The network of these choices.

        Raises:
            SpaceError: one is missing, or not among the dimension's values.
        """
        found = []
        for dim in self.dims:
            if dim.name not in choices:
                raise SpaceError(f"{dim.name} is not given; {self.name} has {dim.name} left open")
            place = dim.places.get(choices[dim.name])
            if place is None:
                raise SpaceError(f"{dim.name} cannot be {brief(choices[dim.name])} in {self.name}")
            found.append(place)
        return tuple(found)

    def spec_of(self, row: Sequence[int], name: str | None = None) -> Spec:
        """The network of a row as a spec without holes."""
        return self.spec.with_values(
            {**self.values(row), **({"name": name} if name else {})}, origin="the choice of"
        )

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        """Networks drawn uniformly from the whole space, whatever they cost."""
        columns = [rng.integers(0, length, n) for length in self.lengths]
        return np.stack(columns, axis=1).astype(np.int64)

    def all_rows(self) -> Rows:
        """Every network; for small spaces."""
        grids = np.meshgrid(*(np.arange(length) for length in self.lengths), indexing="ij")
        return np.stack([grid.ravel() for grid in grids], axis=1).astype(np.int64)


def _dimension(hole: Hole) -> Dimension:
    check_hole(hole.node)  # one inside a choice was not looked at before
    content: dict[str, Any] = hole.node.value
    step, log = (node.plain() if (node := content.get(key)) else None for key in ("step", "log"))
    if "choice" in content:
        options = content["choice"].children()
        _refuse_many(hole, sum(_ways(option) for option in options))
        values = [value for option in options for value in _filled(option, hole)]
        kept = {json.dumps(value): value for value in values}  # 1, true and 1.0 are three values
        return Dimension(hole.name, "choice", tuple(kept.values()))
    kind: Literal["int", "float"] = "int" if "int" in content else "float"
    low, high = content[kind].plain()
    if log and low <= 0:
        raise SpaceError(f"{hole.name}: 'log' needs values above 0", mark=hole.node.mark)
    _refuse_many(hole, _length(hole.node))
    return Dimension(hole.name, kind, tuple(_range(kind, low, high, step, bool(log))), bool(log))


def _range(
    kind: Literal["int", "float"], low: float, high: float, step: float | None, log: bool
) -> Iterator[float]:
    if kind == "int":
        return iter(range(int(low), int(high) + 1, int(step or 1)))
    if step:
        steps = math.floor((high - low) / step + 1e-9)
        return (_tidy(low + i * step) for i in range(steps + 1))
    if low == high:
        return iter((float(low),))
    space = np.geomspace if log else np.linspace
    return iter(dict.fromkeys(_tidy(x) for x in space(low, high, LEVELS)))


def _length(node: Node) -> int:
    """How many values a range has."""
    kind = "int" if "int" in node.value else "float"
    low, high = node.value[kind].plain()
    step = node.value["step"].plain() if "step" in node.value else None
    if kind == "float" and step is None:
        return LEVELS
    length: int = math.floor((high - low) / (step or 1) + 1e-9) + 1
    return length


def _tidy(value: float) -> float:
    """Without the last binary digits: 0.30000000000000004 is written 0.3."""
    return float(f"{value:.12g}")


def _ways(node: Node) -> int:
    """How many values a choice stands for; a hole inside it counts with each of its own."""
    if is_hole(node):
        check_hole(node)
        if "choice" not in node.value:
            return _length(node)
        return sum(_ways(option) for option in node.value["choice"].children())
    return math.prod(_ways(child) for child in node.children())


def _filled(node: Node, hole: Hole) -> Iterator[Any]:
    """The values that a choice stands for, as plain ones."""
    if is_hole(node):
        yield from _dimension(Hole(hole.path, node)).values
    elif isinstance(node.value, dict):
        options: Iterable[list[Any]] = [list(_filled(child, hole)) for child in node.value.values()]
        for values in itertools.product(*options):
            yield dict(zip(map(str, node.value), values, strict=True))
    elif isinstance(node.value, tuple):
        for values in itertools.product(*(list(_filled(child, hole)) for child in node.value)):
            yield list(values)
    else:
        yield node.value


def _refuse_many(hole: Hole, count: int) -> None:
    if count > MAX_VALUES:
        raise SpaceError(
            f"{hole.name} may take {count:,} values; at most {MAX_VALUES:,} are searched",
            mark=hole.node.mark,
            hint="give it a larger 'step'",
        )
