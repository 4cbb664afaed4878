"""Exact costs of many networks of a space, whatever its holes are; and which of them exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archspec.columns import Condition, Table
from archspec.counting import count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.many import CHUNK
from archspec.search.budgets import Budget, Figure
from archspec.search.expanding import expand_part, part_names
from archspec.search.space import Rows, Space
from archspec.spec import Spec

FIGURES: tuple[Figure, ...] = ("flops", "params")
BEYOND = (1 << 63) - 1
"""Stands for a figure that does not fit into 64 bits: no budget reaches so far."""


@dataclass(frozen=True)
class Figures:
    """What networks cost, one entry each; where `exists` is false the others mean nothing."""

    exists: NDArray[np.bool_]
    flops: NDArray[np.int64]
    params: NDArray[np.int64]

    def within(self, budget: Budget) -> NDArray[np.bool_]:
        """Which of the networks exist and are inside a budget."""
        inside = self.exists.copy()
        for figure, window in budget.windows.items():
            values = getattr(self, figure)
            inside &= (values >= window.low) & (values <= window.high) & (values < BEYOND)
        return inside

    def at(self, places: NDArray[np.int64]) -> Figures:
        """Those of some of the networks."""
        return Figures(self.exists[places], self.flops[places], self.params[places])

    def __len__(self) -> int:
        return len(self.exists)


def evaluate(space: Space, rows: Rows, give_up: Callable[[], bool] = lambda: False) -> Figures:
    """The figures of networks, by the rules of their ops.

    Networks that differ in whole numbers only are counted in one go, as long as all of them take
    the same way through the rules; where a condition (does the width divide into heads?) holds for
    some and not for others, each side is counted for itself.

    Args:
        rows: one network each.
        give_up: asked between steps; what is not counted by then is taken as not existing.
    """
    n = len(rows)
    found = Figures(np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64))
    apart = [d for d, dim in enumerate(space.dims) if not dim.is_whole]
    todo = [group for kind in _alike(rows, np.arange(n), apart) for group in _chunks(kind)]
    while todo and not give_up():
        places = todo.pop()
        group = _Group(space, rows[places])
        try:
            flops, params = group.count()
        except SpecError as refused:
            todo += [places[part] for part in group.split(refused)]
        else:
            found.exists[places] = True
            found.flops[places], found.params[places] = flops, params
    return found


class _Group:
    """Networks that differ in whole numbers only."""

    def __init__(self, space: Space, rows: Rows) -> None:
        self.space, self.rows = space, rows
        self.table = Table(len(rows))
        self.numbers: list[int] = []
        """The dimension of each number that differs, in the order of the table's atoms."""

    def count(self) -> list[NDArray[np.int64]]:
        """FLOPs and parameters.

        Raises:
            SpecError: not all of the networks exist, or they take different ways.
        """
        counted = count(expand(self._filled()))
        try:
            return self.table.values(counted.flops, counted.params)
        except SpecError:
            if len(self.rows) > 1:
                raise
            figures = (int(counted.flops), int(counted.params))
            return [np.array([min(figure, BEYOND)], np.int64) for figure in figures]

    def _filled(self) -> Spec:
        values: dict[str, Any] = {}
        for d, dim in enumerate(self.space.dims):
            if dim.is_whole:
                column = self.table.add(np.array(dim.values, np.int64)[self.rows[:, d]])
                values[dim.name] = column
                if not isinstance(column, int):
                    self.numbers.append(d)
            else:
                values[dim.name] = dim.values[self.rows[0, d]]
        return self.space.spec.with_values(values, origin="the choice of")

    def split(self, refused: SpecError) -> list[NDArray[np.intp]]:
        """The places of those that may exist, in groups that are smaller."""
        n = len(self.rows)
        if n == 1:
            return []
        for condition in [*self.table.undecided, *self._by_parts()]:
            if condition.is_mixed:
                return [np.flatnonzero(condition.holds), np.flatnonzero(~condition.holds)]
        # All of them went the same way up to here. If the first on its own is refused in the very
        # same words, it is for something that they have in common.
        first = _Group(self.space, self.rows[:1])
        try:
            first.count()
        except SpecError as error:
            if (error.mark, error.message) == (refused.mark, refused.message):
                return []
        # Otherwise what columns cannot do was asked of them (80 / 3 * 3, for one): with the
        # numbers of the latest comparison put in as numbers, it may be no question.
        numbers = sorted(self.numbers[atom] for atom in self.table.latest)
        groups = _alike(self.rows, np.arange(n), numbers)
        if len(groups) > 1:
            return groups
        return [np.arange(n // 2), np.arange(n // 2, n)]

    def _by_parts(self) -> list[Condition]:
        """The conditions that are met where each part is expanded for itself."""
        again = _Group(self.space, self.rows)
        try:
            spec = again._filled()
            shape = spec.input
            for name in part_names(spec):
                shape = expand_part(spec, name, shape).shape
        except SpecError:
            pass  # which is why we ask
        return again.table.undecided


def _alike(rows: Rows, places: NDArray[np.intp], dims: list[int]) -> list[NDArray[np.intp]]:
    """`places` in groups whose rows have the same values in `dims`."""
    if not dims or not len(places):
        return [places] if len(places) else []
    _, kind = np.unique(rows[places][:, dims], axis=0, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    return np.split(places[order], np.flatnonzero(np.diff(kind[order])) + 1)


def _chunks(places: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Pieces that are counted together, to bound the memory that it takes."""
    return [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]
