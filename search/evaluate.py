"""Exact costs of many networks of a space, whatever its holes are; and which of them exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archspec.counting import count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.many import costs
from archspec.search.budgets import Budget, Figure
from archspec.search.space import Rows, Space

FIGURES: tuple[Figure, ...] = ("flops", "params")


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
            inside &= (values >= window.low) & (values <= window.high)
        return inside

    def __len__(self) -> int:
        return len(self.exists)


def evaluate(space: Space, rows: Rows, give_up: Callable[[], bool] = lambda: False) -> Figures:
    """The figures of networks, by the rules of their ops.

    Networks that differ in whole numbers only are counted in one go; where that fails for some of
    them, they are told apart by halving.

    Args:
        rows: one network each.
        give_up: asked between steps; what is not counted by then is taken as not existing.
    """
    n = len(rows)
    found = Figures(np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64))
    apart = [d for d, dim in enumerate(space.dims) if not dim.is_whole]
    if not apart:
        _count(space, rows, np.arange(n), found, give_up)
        return found
    _, kind = np.unique(rows[:, apart], axis=0, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        if len(group):
            _count(space, rows, group, found, give_up)
    return found


def _count(
    space: Space,
    rows: Rows,
    places: NDArray[np.intp],
    found: Figures,
    give_up: Callable[[], bool],
) -> None:
    """Fill in the figures at `places`, networks that differ in whole numbers only."""
    todo = [places]
    while todo and not give_up():
        part = todo.pop()
        try:
            if len(part) == 1:
                table = count(expand(space.spec_of(rows[part[0]])))
                found.flops[part], found.params[part] = int(table.flops), int(table.params)
            else:
                many = costs(space.spec, _values(space, rows[part]))
                found.flops[part], found.params[part] = many.flops, many.params
        except SpecError:
            if len(part) > 1:
                middle = len(part) // 2
                todo += [part[middle:], part[:middle]]
            continue
        found.exists[part] = True


def _values(space: Space, rows: Rows) -> Mapping[str, Any]:
    values: dict[str, Any] = {}
    for d, dim in enumerate(space.dims):
        if dim.is_whole:
            values[dim.name] = np.array(dim.values, np.int64)[rows[:, d]]
        else:
            values[dim.name] = dim.values[rows[0, d]]
    return values
