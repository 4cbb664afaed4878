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

from archspec.search.errors import SpaceError
from archspec.source import Node, is_hole
from archspec.spec import Hole, Spec, as_spec

Rows: TypeAlias = NDArray[np.int64]
"""Networks: one row each, one column for each dimension."""

LEVELS = 65
"""Values that stand for a range of real numbers without a step, evenly spaced, both ends in it."""
MAX_VALUES = 10_000
"""Of one dimension."""


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
        return all(isinstance(value, int) and not isinstance(value, bool) for value in self.values)

    @cached_property
    def is_ordered(self) -> bool:
        """Whether the values are numbers, so that some are nearer to each other than others."""
        return all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.values
        )

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """The values as storages and tables hold them: numbers and words, the rest as JSON."""
        return tuple(
            value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
            for value in self.values
        )

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
            if dim.name not in choices or choices[dim.name] not in dim.labels:
                given = choices.get(dim.name, "nothing")
                raise SpaceError(f"{dim.name} cannot be {given!r} in {self.name}")
            found.append(dim.labels.index(choices[dim.name]))
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
    content: dict[str, Any] = hole.node.plain()
    if "choice" in content:
        values = list(_alternatives(hole))
        kept: list[Any] = []
        for value in values:
            if not any(type(value) is type(other) and value == other for other in kept):
                kept.append(value)
        return _checked(Dimension(hole.name, "choice", tuple(kept)), hole)
    kind: Literal["int", "float"] = "int" if "int" in content else "float"
    low, high = content[kind]
    step, log = content.get("step"), bool(content.get("log", False))
    if log and low <= 0:
        raise SpaceError(f"{hole.name}: 'log' needs values above 0", mark=hole.node.mark)
    if kind == "int":
        count = (high - low) // (step or 1) + 1
        if count > MAX_VALUES:
            raise _too_many(hole, count)
        return Dimension(hole.name, kind, tuple(range(low, high + 1, step or 1)), log)
    if step:
        count = math.floor((high - low) / step + 1e-9) + 1
        if count > MAX_VALUES:
            raise _too_many(hole, count)
        return Dimension(hole.name, kind, tuple(_tidy(low + i * step) for i in range(count)), log)
    if low == high:
        return Dimension(hole.name, kind, (float(low),), log)
    space = np.geomspace if log else np.linspace
    return Dimension(hole.name, kind, tuple(_tidy(x) for x in space(low, high, LEVELS)), log)


def _tidy(value: float) -> float:
    """Without the last binary digits: 0.30000000000000004 is written 0.3."""
    return float(f"{value:.12g}")


def _alternatives(hole: Hole) -> Iterator[Any]:
    """The choices as plain values; a hole inside a choice gives one alternative per value."""
    for option in hole.node.value["choice"].value:
        for count, value in enumerate(_filled(option, hole), 1):
            if count > MAX_VALUES:
                raise _too_many(hole, count)
            yield value


def _filled(node: Node, hole: Hole) -> Iterator[Any]:
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


def _checked(dim: Dimension, hole: Hole) -> Dimension:
    if len(dim) > MAX_VALUES:
        raise _too_many(hole, len(dim))
    return dim


def _too_many(hole: Hole, count: int) -> SpaceError:
    return SpaceError(
        f"{hole.name} may take {count:,} values or more; at most {MAX_VALUES:,} are searched",
        mark=hole.node.mark,
        hint="give it a larger 'step'",
    )
