"""Candidates near what did well: drawn around good networks, kept where they are inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archspec.search.ranges import Ints
from archspec.search.space import Dimension, Rows, Space

Table = NDArray[np.float64]

PRIOR = 0.25
"""The share of a mixture that is the uniform distribution.

A share, and not the weight of one kernel: far from all networks, where nothing is known, a mixture
of few kernels and one of many then say the same, and their ratio draws nobody there.
"""
_BLOCK = 1 << 16
"""Kernels × networks whose densities are worked out at a time, so that they stay in the cache."""


class Kernels:
    """Around each of some networks, how likely every other one is to be proposed in its place.

    Dimension by dimension: ordered values by a Gaussian cut to the values there are, others by a
    chance to change at all.
    """

    def __init__(self, space: Space, width: float, centres: Rows) -> None:
        """Kernels around `centres`, of a width that is a share of each dimension's range."""
        self.lengths = space.lengths
        self._which: list[Ints] = []
        self._tables: list[Table] = []
        for d, dim in enumerate(space.dims):
            found, which = np.unique(centres[:, d], return_inverse=True)
            self._which.append(which)
            self._tables.append(_table(dim, found, width))

    def __len__(self) -> int:
        return len(self._which[0])

    def draw(self, around: Ints, rng: np.random.Generator) -> Rows:
        """For each of these centres (by their place), a network near it."""
        found = np.empty((len(around), len(self._tables)), np.int64)
        for d, table in enumerate(self._tables):
            row = self._which[d][around]
            # one sorted sequence for all rows: the first from 0 to 1, the second from 1 to 2, …
            ends = np.cumsum(table, axis=1) + np.arange(len(table))[:, None]
            place = np.searchsorted(ends.ravel(), row + rng.random(len(around)))
            found[:, d] = np.clip(place - row * table.shape[1], 0, table.shape[1] - 1)
        return found

    def log_density(self, rows: Rows) -> NDArray[np.float64]:
        """The logarithm of a mixture's density at `rows`: all kernels, and the uniform one."""
        logs_VU = [np.ascontiguousarray(np.log(table).T) for table in self._tables]
        uniform = np.log(PRIOR) - sum(np.log(length) for length in self.lengths)
        share = np.log((1 - PRIOR) / len(self))
        found = np.empty(len(rows))
        block = max(_BLOCK // len(self), 1)
        for start in range(0, len(rows), block):
            part = rows[start : start + block]
            log = np.zeros((len(part), len(self) + 1))
            for d, log_VU in enumerate(logs_VU):
                log[:, :-1] += log_VU[part[:, d]].take(self._which[d], axis=1)
            log[:, :-1] += share
            log[:, -1] = uniform
            highest = log.max(axis=1, keepdims=True)
            log -= highest
            total = np.exp(log, out=log).sum(axis=1)
            found[start : start + block] = highest[:, 0] + np.log(total)
        return found


def positions(values: Sequence[float], log: bool) -> NDArray[np.float64]:
    """Ordered values from 0 to 1, by their logarithms where that is what they are searched by."""
    found = np.array(values, np.float64)
    found = np.log(found) if log else found
    spread = np.ptp(found)
    return (found - found.min()) / spread if spread else np.zeros_like(found)


def _table(dim: Dimension, centres: Ints, width: float) -> Table:
    """How likely each value (columns) is in place of each of some of them (rows)."""
    n = len(dim)
    if not dim.is_ordered or n < 3:
        change = min(0.5, 2 * width)
        table = np.full((len(centres), n), change / n)
        table[np.arange(len(centres)), centres] += 1 - change
        return table
    at = positions(dim.values, dim.log)
    # never so narrow that a value has no neighbours
    width = max(width, float(np.median(np.diff(np.sort(at)))) / 2)
    table = np.exp(-0.5 * ((at[centres][:, None] - at) / width) ** 2) + 1e-6
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float64)
