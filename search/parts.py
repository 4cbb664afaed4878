"""The cost of a space as a sum over its parts, each a table over the few holes it hangs on.

A network costs what its stem, stages and head cost together. What a stage costs hangs on the holes
that it names, and on the shape that it is handed: in the sMLPNet space stage 3 hangs on the width,
its own depth and its own α, and on nothing else. So 1.27 billion networks are four tables of 1,440
entries, and sets of networks inside a budget can be counted without looking at each.

On which holes a part hangs is found, not assumed. Holes that hold whole numbers are put in as
symbols (`archspec.columns`), and what the part's figures come out as names them. Other holes (which
block, which kernel) decide what is walked at all: a part may hang on those that its own text
reaches, and on those that change the shape that it is handed, which is tried out for all of their
combinations. Conditions that the numbers decide (does the width divide into heads?) make a part
hang on those numbers too, so that its table visits every case of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archspec.columns import Column, Table
from archspec.counting import CostTable, count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.graph import CallNode
from archspec.many import CHUNK
from archspec.search.budgets import Figure
from archspec.search.errors import SpaceError
from archspec.search.evaluate import FIGURES, evaluate
from archspec.search.reach import reaches
from archspec.search.space import Space

MAX_COMBINATIONS = 512
"""Of holes that are no numbers and that one part hangs on; more are not tried out."""
MAX_ENTRIES = 1 << 22
"""Of one part's table."""
_CHECKED = 256
_ATTEMPTS = 200


class NotSeparableError(Exception):
    """The costs of this space are not known as a sum of small tables."""


@dataclass(frozen=True)
class Part:
    """The cost of one part of every network of a space."""

    name: str
    dims: tuple[int, ...]
    """The dimensions that it hangs on, by their place in the space."""
    figures: Mapping[Figure, NDArray[np.int64]]
    """An array for each figure, with one axis for each of `dims`."""


@dataclass(frozen=True)
class _Seen:
    """What one part of the network showed, with whole numbers as symbols."""

    dims: frozenset[int]
    conditions: frozenset[int]
    shape: object


def separate(space: Space) -> tuple[Part, ...]:
    """The cost of a space as a sum.

    Raises:
        NotSeparableError: with the reason, where no such sum is known.
        SpaceError: no network of the space can exist.
    """
    base = first_network(space)
    columns = _columns(space, base)
    look = _Look(space, base, columns)
    apart = {d for d, dim in enumerate(space.dims) if d not in columns and len(dim) > 1}
    handed: set[int] = set()  # the dimensions in `apart` that the shape so far hangs on
    found = []
    for name in look.parts:
        own = sorted((reaches(space.spec, name, apart) & apart) | handed)
        dims, handed = _dims(space, look, name, own)
        found.append(_tabulate(space, base, name, sorted(dims | set(own)), columns))
    _verify(space, found)
    return tuple(found)


def first_network(space: Space) -> tuple[int, ...]:
    """Some network that exists.

    Raises:
        SpaceError: none was found, with what is wrong with the first.
    """
    rng = np.random.default_rng(0)
    rows = [tuple(0 for _ in space.dims), *map(tuple, space.draw(_ATTEMPTS, rng).tolist())]
    refused: SpecError | None = None
    for row in rows:
        try:
            count(expand(space.spec_of(row)))
            return row
        except SpecError as error:
            refused = refused or error
    assert refused is not None
    raise SpaceError(
        f"none of {len(rows)} networks of {space.name} can exist; the first one: {refused.message}",
        mark=refused.mark,
        hint=refused.hint,
    )


def _columns(space: Space, base: Sequence[int]) -> frozenset[int]:
    """The dimensions whose numbers can be put in as symbols, all at once."""
    whole = [d for d, dim in enumerate(space.dims) if dim.is_whole and len(dim) > 1]
    if _fits(space, base, frozenset(whole)):
        return frozenset(whole)
    alone = frozenset(d for d in whole if _fits(space, base, frozenset({d})))
    if not _fits(space, base, alone):
        raise NotSeparableError("its numbers decide together what exists")
    return alone


def _fits(space: Space, base: Sequence[int], columns: frozenset[int]) -> bool:
    try:
        _Look(space, base, columns)
    except SpecError:
        return False
    return True


class _Look:
    """The network with symbols in it, for any choice of what cannot be a symbol."""

    def __init__(self, space: Space, base: Sequence[int], columns: frozenset[int]) -> None:
        self.space, self.base, self.columns = space, base, columns
        self.rows = max((len(space.dims[d]) for d in columns), default=1)
        self._known: dict[tuple[tuple[int, int], ...], dict[str, _Seen]] = {}
        self.parts = tuple(self({}))

    def __call__(self, chosen: Mapping[int, int]) -> dict[str, _Seen]:
        changed = {d: i for d, i in chosen.items() if i != self.base[d]}
        key = tuple(sorted(changed.items()))
        if key not in self._known:
            self._known[key] = self._look(changed)
        return self._known[key]

    def _look(self, chosen: Mapping[int, int]) -> dict[str, _Seen]:
        table = Table(self.rows, is_sample=True)
        atoms: list[int] = []  # the dimension of each atom that is given
        values: dict[str, Any] = {}
        for d, dim in enumerate(self.space.dims):
            if d in self.columns:
                values[dim.name] = table.add(np.resize(np.array(dim.values, np.int64), self.rows))
                atoms.append(d)
            else:
                values[dim.name] = dim.values[chosen.get(d, self.base[d])]

        def dims(origins: frozenset[int]) -> frozenset[int]:
            return frozenset(atoms[atom] for atom in origins)

        starts: list[tuple[str, int]] = []
        graph = expand(
            self.space.spec.with_values(values, origin="the choice of"),
            entering=lambda part: starts.append((part, len(table.undecided))),
        )
        ends = [start for _, start in starts[1:]] + [len(table.undecided)]
        costed = count(graph).by_stage()
        counted = table.undecided[ends[-1] :]  # conditions that counting met, in whichever part
        found = {}
        for (name, start), end in zip(starts, ends, strict=True):
            part = costed.get(name, CostTable(()))
            hangs = [table.given(getattr(part, figure)) for figure in FIGURES]
            conditions = frozenset[int]().union(*table.undecided[start:end], *counted)
            node = next(node for node in graph.nodes if node.id == name)
            assert isinstance(node, CallNode)
            found[name] = _Seen(
                dims(frozenset[int]().union(*hangs)), dims(conditions),
                frozenset((axis, _key(table, size)) for axis, size in node.outputs[0].items()),
            )  # fmt: skip
        return found


def _key(table: Table, size: Any) -> object:
    """Equal for sizes that are the same for all networks, whatever their numbers are."""
    if not isinstance(size, Column):
        return size
    atoms = {atom for monomial in size.terms for atom in monomial}
    if any(table.origins[atom] != {atom} for atom in atoms):
        return object()  # computed from others, and perhaps in another way elsewhere
    return frozenset(size.terms.items())


def _dims(space: Space, look: _Look, name: str, own: Sequence[int]) -> tuple[set[int], set[int]]:
    """The numbers that a part hangs on, and what of `own` the shape hangs on that it hands on."""
    lengths = [len(space.dims[d]) for d in own]
    if math.prod(lengths) > MAX_COMBINATIONS:
        raise NotSeparableError(f"{name} hangs on too many choices at once")
    dims: set[int] = set()
    shapes: dict[tuple[int, ...], object] = {}
    for chosen in itertools.product(*map(range, lengths)):
        try:
            seen = look(dict(zip(own, chosen, strict=True)))[name]
        except SpecError:
            raise NotSeparableError("some of its choices do not go together") from None
        dims |= seen.dims | seen.conditions
        shapes[chosen] = seen.shape
    matters = {
        d
        for place, d in enumerate(own)
        if any(
            shapes[chosen] != shapes[(*chosen[:place], 0, *chosen[place + 1 :])]
            for chosen in shapes
        )
    }
    return dims, matters


def _tabulate(
    space: Space, base: Sequence[int], name: str, dims: Sequence[int], columns: frozenset[int]
) -> Part:
    """A part's figures for every combination of the dimensions that it hangs on."""
    lengths = [len(space.dims[d]) for d in dims]
    if math.prod(lengths) > MAX_ENTRIES:
        raise NotSeparableError(f"{name} hangs on too many numbers at once")
    figures = {figure: np.zeros(lengths, np.int64) for figure in FIGURES}
    numbers = [d for d in dims if d in columns]
    others = [d for d in dims if d not in columns]
    grids = np.meshgrid(*(np.array(space.dims[d].values, np.int64) for d in numbers), indexing="ij")
    flat = [grid.ravel() for grid in grids]
    for chosen in itertools.product(*(range(len(space.dims[d])) for d in others)):
        values = space.values(base)
        values |= {space.dims[d].name: space.dims[d].values[i] for d, i in _pairs(others, chosen)}
        place = tuple(chosen[others.index(d)] if d in others else slice(None) for d in dims)
        try:
            found = list(_count(space, name, values, numbers, flat))
        except SpecError:
            raise NotSeparableError("some of its numbers do not go together") from None
        for figure, parts in zip(FIGURES, zip(*found, strict=True), strict=True):
            shape = [len(space.dims[d]) for d in numbers]
            figures[figure][place] = np.concatenate(parts).reshape(shape)
    return _without_idle(Part(name, tuple(dims), figures))


def _pairs(dims: Sequence[int], chosen: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(dims, chosen, strict=True)


def _count(
    space: Space,
    name: str,
    values: dict[str, Any],
    numbers: Sequence[int],
    flat: Sequence[NDArray[np.int64]],
) -> Iterator[list[NDArray[np.int64]]]:
    """One part's figures, piece by piece, with the numbers of `flat` in their places."""
    total = len(flat[0]) if flat else 1
    for start in range(0, total, CHUNK):
        table = Table(min(CHUNK, total - start))
        for d, column in zip(numbers, flat, strict=True):
            values[space.dims[d].name] = table.add(column[start : start + CHUNK])
        graph = expand(space.spec.with_values(values, origin="the choice of"))
        part = count(graph).by_stage().get(name, CostTable(()))
        yield table.values(*(getattr(part, figure) for figure in FIGURES))


def _without_idle(part: Part) -> Part:
    """The part without dimensions along which nothing changes."""
    dims, figures = list(part.dims), dict(part.figures)
    for axis in reversed(range(len(dims))):
        if all(bool((f == f.take([0], axis)).all()) for f in figures.values()):
            figures = {name: np.asarray(f.take(0, axis), np.int64) for name, f in figures.items()}
            del dims[axis]
    return Part(part.name, tuple(dims), figures)


def _verify(space: Space, parts: Sequence[Part]) -> None:
    """Compare with the networks themselves, drawn at random: a sum that is wrong is none."""
    numbers_only = all(dim.is_whole for dim in space.dims)
    rows = space.draw(_CHECKED if numbers_only else _CHECKED // 8, np.random.default_rng(1))
    exact = evaluate(space, rows)
    for figure in FIGURES:
        total = sum_of(parts, figure, rows)
        if not exact.exists.all() or not np.array_equal(total, getattr(exact, figure)):
            raise NotSeparableError("its parts do not add up")


def sum_of(parts: Sequence[Part], figure: Figure, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A figure of networks, as the sum over parts."""
    total = np.zeros(len(rows), np.int64)
    for part in parts:
        total += part.figures[figure][tuple(rows[:, d] for d in part.dims)]
    return total
