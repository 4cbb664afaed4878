"""Sets of networks whose cost is no sum over parts: drawn from the space, and kept if inside."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from archspec.search.budgets import Budget, Figure
from archspec.search.errors import BudgetError
from archspec.search.evaluate import FIGURES, Figures, evaluate
from archspec.search.feasibility import FeasibleSet
from archspec.search.ranges import Ints
from archspec.search.space import Rows, Space

SMALL = 1 << 17
"""Spaces up to this size are looked at whole, if that can be done in time."""
DRAWS = 1 << 18
"""Networks that are drawn for the estimate at most."""
SECONDS = 6.0
"""For looking at a space, or at networks drawn from it."""
_KINDS = 64
"""Choices other than numbers, up to which thousands of networks are counted together."""
_BATCHES = 8
"""Batches that are drawn for one sample."""


class DrawnSet(FeasibleSet):
    """A set that is known by drawing from the space: its size is an estimate with an interval.

    A space that is small enough is looked at whole instead, and the number is exact.
    """

    def __init__(self, space: Space, budget: Budget, reason: str = "") -> None:
        self.space, self.budget = space, budget
        self.reason = reason
        """Why the costs are not known as a sum."""
        kinds = math.prod(len(dim) for dim in space.dims if not dim.is_whole)
        self.affordable = 1 << 12 if kinds <= _KINDS else 1 << 7
        rng = np.random.default_rng(0)
        rows = rng.permutation(space.all_rows()) if space.size <= SMALL else None
        self._seen, self._figures = self._look_at(rows, rng)
        self.drawn = len(self._seen)
        self.is_exact = rows is not None and self.drawn == space.size
        if self.is_exact:
            self.affordable = FeasibleSet.affordable
            order = np.argsort(self._number(self._seen))
            self._seen, self._figures = self._seen[order], self._figures.at(order)
        inside = self._figures.within(budget)
        self._known: Rows = self._seen[inside]
        hits = int(inside.sum())
        share = hits / self.drawn
        low, high = (share, share) if self.is_exact else confidence(hits, self.drawn)
        self.count = hits if self.is_exact else round(space.size * share)
        self.interval = (round(space.size * low), round(space.size * high))

    def _look_at(self, rows: Rows | None, rng: np.random.Generator) -> tuple[Rows, Figures]:
        """All of `rows`, or networks that are drawn, as far as time allows."""
        seen: list[Rows] = []
        found: list[Figures] = []
        start, size, total = time.monotonic(), 64, 0
        limit = DRAWS if rows is None else len(rows)
        while total < limit and (not total or time.monotonic() - start < SECONDS):
            began = time.monotonic()
            size = min(size, limit - total)
            batch = self.space.draw(size, rng) if rows is None else rows[total : total + size]
            seen.append(batch)
            found.append(evaluate(self.space, batch))
            total += size
            if time.monotonic() - began < SECONDS / 8:
                size *= 2
        joined = Figures(
            np.concatenate([figures.exists for figures in found]),
            **{name: np.concatenate([getattr(f, name) for f in found]) for name in FIGURES},
        )
        return np.concatenate(seen), joined

    def sample(self, n: int, rng: np.random.Generator, *, stratified: bool = True) -> Rows:
        known = self._known if self.is_exact else self._draw(n, rng)
        if not len(known):
            raise BudgetError(self._none())
        if not stratified:
            return known[rng.integers(0, len(known), n)]
        # as in a counted set, but by the first number, which is a width in most spaces
        first = next((d for d, dim in enumerate(self.space.dims) if dim.is_whole), 0)
        known = known[np.argsort(known[:, first], kind="stable")]
        strata, starts, counts = np.unique(known[:, first], return_index=True, return_counts=True)
        chosen = rng.integers(0, len(strata), n)
        picked: Rows = known[starts[chosen] + rng.integers(0, counts[chosen])]
        return picked

    def _draw(self, n: int, rng: np.random.Generator) -> Rows:
        """Fresh networks inside, `n` or more where they are not too rare; then the known as well.

        What comes out hangs on `rng` alone, not on time, unless too few are found.
        """
        kept: list[Rows] = []
        for batch in self._batches(rng):
            kept.append(batch[self.contains(batch)])
            if sum(map(len, kept)) >= n:
                return np.asarray(np.concatenate(kept), np.int64)
        return np.asarray(np.concatenate([*kept, self._known]), np.int64)

    def _batches(self, rng: np.random.Generator) -> Iterator[Rows]:
        for _ in range(_BATCHES):
            yield self.space.draw(self.affordable, rng)

    def rows(self, numbers: Ints) -> Rows:
        if not self.is_exact:
            raise IndexError("the networks of an estimated set have no numbers")
        known: Rows = self._known[self._numbered(numbers)]
        return known

    @property
    def is_void(self) -> bool:
        return not bool(self._figures.exists.any())

    def figures(self, rows: Rows) -> Figures:
        if self.is_exact:
            return self._figures.at(self._number(rows))
        return evaluate(self.space, rows)

    def _number(self, rows: Rows) -> Ints:
        """The places of networks in a space that was looked at whole."""
        return np.asarray(np.ravel_multi_index(tuple(rows.T), self.space.lengths), np.int64)

    def extremes(self, figure: Figure) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The cheapest and dearest that were seen, made cheaper and dearer hole by hole."""
        exists = np.flatnonzero(self._figures.exists)
        values = getattr(self._figures, figure)[exists]
        low = self._improve(self._seen[exists[np.argmin(values)]], figure, 1)
        high = self._improve(self._seen[exists[np.argmax(values)]], figure, -1)
        return low, high

    def _improve(self, row: Rows, figure: Figure, sign: int) -> tuple[int, ...]:
        start = time.monotonic()
        while not self.is_exact and time.monotonic() - start < SECONDS / 2:
            before = row
            for d, length in enumerate(self.space.lengths):
                tries = np.repeat(row[None], length, axis=0)
                tries[:, d] = np.arange(length)
                found = evaluate(self.space, tries)
                cost = np.where(found.exists, sign * getattr(found, figure), np.iinfo(np.int64).max)
                row = tries[np.argmin(cost)]
            if np.array_equal(before, row):
                break
        return tuple(row.tolist())

    def _none(self) -> str:
        if self.is_exact:
            return super()._none()
        return (
            f"none of {self.drawn:,} networks drawn from {self.space.name} is inside {self.budget}"
        )


def confidence(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval that holds a share at least as often as `level` says (Clopper and Pearson's).

    Also where hits are rare, or there are none at all: there other intervals promise too much.
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high
