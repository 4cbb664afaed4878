"""Candidates near what did well: drawn around good networks, kept where they are inside."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from archspec.search.space import Rows, Space

Table = NDArray[np.float64]


class Kernels:
    """For each dimension, how likely each value is to be proposed in place of another.

    Ordered values by a Gaussian cut to the values there are, others by a chance to change at all.
    """

    def __init__(self, space: Space, width: float) -> None:
        self.space = space
        self.tables: list[Table] = [
            _gaussian(positions(dim.values, dim.log), width)
            if dim.is_ordered and len(dim) > 2
            else _either(len(dim), width)
            for dim in space.dims
        ]

    @cached_property
    def _log(self) -> list[Table]:
        return [np.log(table) for table in self.tables]

    @cached_property
    def _cumulative(self) -> list[Table]:
        return [np.cumsum(table, axis=1) for table in self.tables]

    def draw(self, around: Rows, rng: np.random.Generator) -> Rows:
        """For each row, another one near it."""
        found = np.empty_like(around)
        for d, cumulative in enumerate(self._cumulative):
            u = rng.random(len(around))[:, None]
            found[:, d] = np.minimum((cumulative[around[:, d]] < u).sum(1), len(cumulative) - 1)
        return found

    def log_density(self, rows: Rows, seen: Rows, prior: float = 1.0) -> NDArray[np.float64]:
        """The logarithm of a mixture's density at `rows`: one kernel each of `seen`, and the
        uniform distribution with the weight of `prior` kernels."""
        log = np.zeros((len(rows), len(seen) + 1))
        for d, table in enumerate(self._log):
            log[:, :-1] += table[seen[:, d]][:, rows[:, d]].T
            log[:, -1] -= np.log(len(table))
        log[:, -1] += np.log(prior)
        highest = log.max(axis=1, keepdims=True)
        total = highest[:, 0] + np.log(np.exp(log - highest).sum(axis=1))
        return np.asarray(total - np.log(len(seen) + prior), np.float64)


def positions(values: tuple[float, ...], log: bool) -> NDArray[np.float64]:
    """Ordered values from 0 to 1, by their logarithms where that is what they are searched by."""
    found = np.array(values, np.float64)
    found = np.log(found) if log else found
    spread = np.ptp(found)
    return (found - found.min()) / spread if spread else np.zeros_like(found)


def _gaussian(at: NDArray[np.float64], width: float) -> Table:
    distance = at[:, None] - at[None]
    # never so narrow that a value has no neighbours
    gaps = np.diff(np.sort(at))
    width = max(width, float(np.median(gaps[gaps > 0])) / 2)
    table = np.exp(-0.5 * (distance / width) ** 2) + 1e-6
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float64)


def _either(n: int, width: float) -> Table:
    change = min(0.5, 2 * width)
    table = np.full((n, n), change / n)
    table[np.diag_indices(n)] += 1 - change
    return table
