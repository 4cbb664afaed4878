"""The cost of a space as a sum over its parts, each a table over the few holes it hangs on.

A network costs what its stem, stages and head cost together. What a stage costs hangs on the holes
that it names, and on the shape that it is handed: in the sMLPNet space stage 3 hangs on the width,
its own depth and its own α, and on nothing else. So 1.27 billion networks are four tables of 1,440
entries, and sets of networks inside a budget can be counted without looking at each.

On which holes a part hangs is found, not assumed. Holes that hold whole numbers are put in as
symbols (`archspec.columns`), and what the part's figures come out as names them. Other holes (which
block, which kernel) decide what is walked at all: every combination is tried of those that the
part's own text reaches, and of those that change the shape that it is handed. Numbers that decide a
condition (does the width divide into heads?) are no symbols: they are tried out in the same way,
and where a part refuses a combination, no network that has it exists.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from archspec.columns import Column, Condition, Table
from archspec.errors import SpecError
from archspec.expander import MAX_STEPS
from archspec.expansion import MAX_OPS
from archspec.search.budgets import Figure
from archspec.search.evaluate import FIGURES, Figures, evaluate
from archspec.search.expanding import PartGraph, expand_part, part_names
from archspec.search.reach import reaches, uses_all_variables
from archspec.search.replay import Replay
from archspec.search.space import Space
from archspec.shape import Shape

MAX_COMBINATIONS = 512
"""Of holes that are tried out for one part."""
MAX_ENTRIES = 1 << 22
"""Of one part's table."""
FAR = 1 << 60
"""More than any figure of a network here: what a network costs that does not exist."""
_CHECKED = 256
_READ = 100

Chosen: TypeAlias = "tuple[int, ...]"
"""For each of some dimensions, the place of its value."""


class NotSeparableError(Exception):
    """The costs of this space are not known as a sum of small tables."""


class _DecideError(Exception):
    """These dimensions cannot be symbols: what they hold decides what is walked."""

    def __init__(self, dims: Iterable[int]) -> None:
        super().__init__()
        self.dims = frozenset(dims)


@dataclass(frozen=True)
class Part:
    """The cost of one part of every network of a space."""

    name: str
    dims: tuple[int, ...]
    """The dimensions that it hangs on, by their place in the space."""
    exists: NDArray[np.bool_]
    """Whether it can be built, with one axis for each of `dims`."""
    figures: Mapping[Figure, NDArray[np.int64]]
    """An array of the same shape for each figure; 0 where it does not exist."""


@dataclass(frozen=True)
class _Seen:
    """What a part showed for one combination, with the other numbers as symbols."""

    part: PartGraph
    conditions: tuple[Condition, ...]

    @property
    def figures(self) -> list[Column | int]:
        """Those of `FIGURES`, and the number of ops."""
        return [*(getattr(self.part.costs, figure) for figure in FIGURES), self.part.ops]

    @property
    def key(self) -> object:
        """Equal where the shapes are that it hands on, whatever the numbers are."""
        return frozenset(
            (axis, frozenset(size.terms.items()) if isinstance(size, Column) else size)
            for axis, size in self.part.shape.items()
        )


_Looks: TypeAlias = "dict[Chosen, _Seen | None]"
"""What a part showed for each combination; None where it refuses it."""


def separate(space: Space) -> tuple[Part, ...]:
    """The cost of a space as a sum.

    Raises:
        NotSeparableError: with the reason, where no such sum is known.
    """
    if not uses_all_variables(space.spec):
        raise NotSeparableError("which variables are used hangs on what is chosen")
    symbols = frozenset(d for d, dim in enumerate(space.dims) if dim.is_whole and len(dim) > 1)
    while True:
        try:
            parts = _Walk(space, symbols).parts()
        except _DecideError as error:
            symbols -= error.dims  # fewer each time
            continue
        _verify(space, parts)
        return parts


class _Walk:
    """All parts, one after the other, with certain dimensions as symbols."""

    def __init__(self, space: Space, symbols: frozenset[int]) -> None:
        self.space = space
        self.symbols = sorted(symbols)
        self.tried = {d for d, dim in enumerate(space.dims) if d not in symbols and len(dim) > 1}
        self.base = _readable(space)
        rows = max((len(space.dims[d]) for d in symbols), default=1)
        self.table = Table(rows, is_sample=True)
        self.columns = {
            d: self.table.add(np.resize(np.array(space.dims[d].values, np.int64), rows))
            for d in self.symbols
        }

    def parts(self) -> tuple[Part, ...]:
        spec = self.space.spec
        handed: tuple[int, ...] = ()  # the dimensions that the shape so far hangs on
        shapes: dict[Chosen, Shape | None] = {(): spec.input}
        found, ops, steps = [], 0, 0
        for name in part_names(spec):
            dims = tuple(sorted(reaches(spec, name, self.tried) | set(handed)))
            if math.prod(len(self.space.dims[d]) for d in dims) > MAX_COMBINATIONS:
                raise NotSeparableError(f"{name} hangs on too many choices at once")
            places = [dims.index(d) for d in handed]
            seen: _Looks = {}
            for chosen in self._combinations(dims):
                shape = shapes[tuple(chosen[place] for place in places)]
                picked = dict(zip(dims, chosen, strict=True))
                seen[chosen] = None if shape is None else self._look(name, picked, shape)
            part, most = self._tabulate(name, dims, seen)
            ops += most
            steps += max((found.part.steps for found in seen.values() if found), default=0)
            handed, known = _hand_on(dims, seen)
            shapes = {chosen: known.get(chosen) for chosen in self._combinations(handed)}
            found.append(part)
        if ops > MAX_OPS or steps > MAX_STEPS:
            raise NotSeparableError("some of its networks are refused for their size")
        if sum(int(part.figures[f].max()) for part in found for f in FIGURES) >= FAR:
            raise NotSeparableError("its figures are too large")
        return tuple(found)

    def _combinations(self, dims: Sequence[int]) -> Iterable[Chosen]:
        return itertools.product(*(range(len(self.space.dims[d])) for d in dims))

    # -- one part, one combination ---------------------------------------------------------------

    def _look(self, name: str, chosen: Mapping[int, int], shape: Shape) -> _Seen | None:
        """What a part shows for a combination; None where it refuses it, whatever the numbers."""
        start = len(self.table.undecided)
        try:
            return self._expand(name, chosen, shape, self.columns)
        except SpecError as refused:
            met = self.table.undecided[start:]
            decisive = [c for c in met if c.is_mixed][:1] or met
            if decisive:
                raise _DecideError(self._dims(*(c.given for c in decisive))) from None
            self._blame(name, chosen, shape, refused)
            return None

    def _expand(
        self, name: str, chosen: Mapping[int, int], shape: Shape, columns: Mapping[int, Any]
    ) -> _Seen:
        start = len(self.table.undecided)
        values = {
            dim.name: columns[d] if d in columns else dim.values[chosen.get(d, self.base[d])]
            for d, dim in enumerate(self.space.dims)
        }
        spec = self.space.spec.with_values(values, origin="the choice of")
        part = expand_part(spec, name, shape)
        return _Seen(part, tuple(self.table.undecided[start:]))

    def _blame(
        self, name: str, chosen: Mapping[int, int], shape: Shape, refused: SpecError
    ) -> None:
        """Find out whether a refusal is for a symbol where a number is needed.

        Raises:
            _DecideError: with the dimensions whose symbols are refused.
        """
        try:
            self._expand_with(name, chosen, shape, symbols=())
        except SpecError as error:
            if (error.mark, error.message) == (refused.mark, refused.message):
                return  # plain numbers are refused in the same words
            raise _DecideError(self.symbols) from None
        blamed = []
        for d in self.symbols:
            try:
                self._expand_with(name, chosen, shape, symbols=(d,))
            except SpecError:
                blamed.append(d)
        raise _DecideError(blamed or self.symbols) from None

    def _expand_with(
        self, name: str, chosen: Mapping[int, int], shape: Shape, symbols: Sequence[int]
    ) -> None:
        """The part with some of the symbols only, and plain numbers in place of the others."""
        arrays = {d: np.array(self.space.dims[d].values, np.int64) for d in self.symbols}
        rows = max((len(arrays[d]) for d in symbols), default=1)
        given = {
            self._atom(d): np.resize(values if d in symbols else values[:1], rows)
            for d, values in arrays.items()
        }
        replay = Replay(self.table, rows, given)
        columns = {d: replay(column) for d, column in self.columns.items()}
        plain = Shape({axis: replay(size) for axis, size in shape.items()})
        self._expand(name, chosen, plain, columns)

    def _atom(self, d: int) -> int:
        return self.symbols.index(d)

    def _dims(self, *atoms: Iterable[int]) -> frozenset[int]:
        """The dimensions of given atoms."""
        return frozenset(self.symbols[atom] for some in atoms for atom in some)

    # -- one part, all combinations --------------------------------------------------------------

    def _tabulate(self, name: str, tried: Sequence[int], seen: _Looks) -> tuple[Part, int]:
        """A part's table, and the most ops that it has."""
        exist = {chosen: found for chosen, found in seen.items() if found is not None}
        hangs = [
            self.table.given(value)
            for found in exist.values()
            for value in (*found.figures, *(c.difference for c in found.conditions))
        ]
        numbers = sorted(self._dims(*hangs))
        dims = sorted({*tried, *numbers})
        lengths = [len(self.space.dims[d]) for d in dims]
        if math.prod(lengths) > MAX_ENTRIES:
            raise NotSeparableError(f"{name} hangs on too many numbers at once")
        grid = np.meshgrid(
            *(np.array(self.space.dims[d].values, np.int64) for d in numbers), indexing="ij"
        )
        rows = math.prod(len(self.space.dims[d]) for d in numbers)
        replay = Replay(
            self.table, rows, {self._atom(d): g.ravel() for d, g in zip(numbers, grid, strict=True)}
        )
        exists = np.zeros(lengths, np.bool_)
        figures = {figure: np.zeros(lengths, np.int64) for figure in FIGURES}
        most = 0
        for chosen, found in exist.items():
            for condition in found.conditions:
                if not replay.agrees(condition):
                    raise _DecideError(self._dims(condition.given))
            place = tuple(chosen[tried.index(d)] if d in tried else slice(None) for d in dims)
            try:
                *values, ops = replay.table.values(*map(replay, found.figures))
            except SpecError:
                raise NotSeparableError("its figures are too large") from None
            exists[place] = True
            for figure, value in zip(FIGURES, values, strict=True):
                figures[figure][place] = value.reshape(exists[place].shape)
            most = max(most, int(ops.max()))
        return _without_idle(Part(name, tuple(dims), exists, figures)), most


def _readable(space: Space) -> tuple[int, ...]:
    """A network that can be read as a spec, whether or not it can be built."""
    first = tuple(0 for _ in space.dims)
    for row in (first, *map(tuple, space.draw(_READ, np.random.default_rng(0)).tolist())):
        try:
            space.spec_of(row)
        except SpecError:
            continue
        return row
    return first


def _hand_on(dims: Sequence[int], seen: _Looks) -> tuple[tuple[int, ...], dict[Chosen, Shape]]:
    """Which of a part's dimensions the shape hangs on that it hands on, and that shape."""
    exist = {chosen: found for chosen, found in seen.items() if found is not None}

    def differ(places: Sequence[int]) -> bool:
        """Whether combinations that are alike in `places` hand on different shapes."""
        known: dict[Chosen, object] = {}
        return any(
            known.setdefault(tuple(chosen[p] for p in places), found.key) != found.key
            for chosen, found in exist.items()
        )

    places = list(range(len(dims)))
    for place in range(len(dims)):
        if not differ([p for p in places if p != place]):
            places.remove(place)
    return (
        tuple(dims[p] for p in places),
        {tuple(chosen[p] for p in places): found.part.shape for chosen, found in exist.items()},
    )


def _without_idle(part: Part) -> Part:
    """The part without dimensions along which nothing changes."""
    dims, exists, figures = list(part.dims), part.exists, dict(part.figures)
    for axis in reversed(range(len(dims))):
        arrays = (exists, *figures.values())
        if all(bool((array == array.take([0], axis)).all()) for array in arrays):
            exists = np.asarray(exists.take(0, axis), np.bool_)
            figures = {name: np.asarray(f.take(0, axis), np.int64) for name, f in figures.items()}
            del dims[axis]
    return Part(part.name, tuple(dims), exists, figures)


def _verify(space: Space, parts: Sequence[Part]) -> None:
    """Compare with the networks themselves, drawn at random: a sum that is wrong is none."""
    numbers_only = all(dim.is_whole for dim in space.dims)
    rows = space.draw(_CHECKED if numbers_only else _CHECKED // 8, np.random.default_rng(1))
    exact, found = evaluate(space, rows), figures_of(parts, rows)
    for figure in ("exists", *FIGURES):
        mine, true = getattr(found, figure), getattr(exact, figure)
        if not np.array_equal(mine[exact.exists], true[exact.exists]) or (
            figure == "exists" and not np.array_equal(mine, true)
        ):
            raise NotSeparableError("its parts do not add up")


def figures_of(parts: Sequence[Part], rows: NDArray[np.int64]) -> Figures:
    """What networks cost, as the sum over parts."""
    exists = np.ones(len(rows), np.bool_)
    total = {figure: np.zeros(len(rows), np.int64) for figure in FIGURES}
    for part in parts:
        places = tuple(rows[:, d] for d in part.dims)
        exists &= part.exists[places]
        for figure in FIGURES:
            total[figure] += part.figures[figure][places]
    return Figures(exists, **total)
