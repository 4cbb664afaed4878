"""Sets of networks whose cost is no sum over parts: drawn from the space, and kept if inside."""

from __future__ import annotations

import math
import time

import numpy as np

from archspec.search.budgets import Budget, Figure
from archspec.search.errors import BudgetError
from archspec.search.evaluate import Figures, evaluate
from archspec.search.feasibility import FeasibleSet
from archspec.search.space import Rows, Space

SMALL = 1 << 15
"""Spaces up to this size are looked at whole."""
DRAWS = 1 << 18
"""Networks that are drawn for the estimate, unless time runs out before."""
SECONDS = 5.0
_BATCH = 1 << 12


class DrawnSet(FeasibleSet):
    """A set that is known by drawing from the space: its size is an estimate with an interval.

    A space that is small enough is looked at whole instead, and the number is exact.
    """

    def __init__(self, space: Space, budget: Budget, reason: str = "") -> None:
        self.space, self.budget = space, budget
        self.reason = reason
        """Why the costs are not known as a sum."""
        self.is_exact = space.size <= SMALL
        rng = np.random.default_rng(0)
        if self.is_exact:
            self._seen = space.all_rows()
            self._figures = evaluate(space, self._seen)
        else:
            self._seen, self._figures = self._look_at(rng)
        inside = self._figures.within(budget)
        self._known: Rows = self._seen[inside]
        drawn, hits = len(inside), int(inside.sum())
        low, high = wilson(hits, drawn)
        if self.is_exact:
            low = high = hits / max(drawn, 1)
        self.drawn = drawn
        self.count = hits if self.is_exact else round(space.size * hits / max(drawn, 1))
        self.interval = (round(space.size * low), round(space.size * high))

    def _look_at(self, rng: np.random.Generator) -> tuple[Rows, Figures]:
        rows: list[Rows] = []
        found: list[Figures] = []
        start, size = time.monotonic(), 64
        while sum(len(part) for part in rows) < DRAWS and time.monotonic() - start < SECONDS:
            batch = self.space.draw(size, rng)
            rows.append(batch)
            found.append(evaluate(self.space, batch))
            # networks that are told apart one by one are slow; whole batches are fast
            size = min(_BATCH * 8, size * 2)
        joined = Figures(
            *(np.concatenate([getattr(f, name) for f in found])
              for name in ("exists", "flops", "params"))
        )  # fmt: skip
        return np.concatenate(rows), joined

    def sample(self, n: int, rng: np.random.Generator, *, stratified: bool = True) -> Rows:
        known = self._known if self.is_exact else self._draw(n, rng)
        if not len(known):
            raise BudgetError(f"no network of {self.space.name} was found inside {self.budget}")
        if not stratified:
            return known[rng.integers(0, len(known), n)]
        # as in the counted set, but by the widest spread that was seen: the first number
        first = next((d for d, dim in enumerate(self.space.dims) if dim.is_whole), 0)
        strata = np.unique(known[:, first])
        chosen = rng.choice(strata, n)
        order = np.argsort(known[:, first], kind="stable")
        ordered = known[order, first]
        starts = np.searchsorted(ordered, chosen, "left")
        stops = np.searchsorted(ordered, chosen, "right")
        return known[order[rng.integers(starts, stops)]]

    def _draw(self, n: int, rng: np.random.Generator) -> Rows:
        """Fresh networks inside, at least `n` unless they are very rare; and those known."""
        kept = [self._known]
        total, start = 0, time.monotonic()
        while total < n and time.monotonic() - start < SECONDS:
            batch = self.space.draw(_BATCH, rng)
            inside = batch[evaluate(self.space, batch).within(self.budget)]
            kept.append(inside)
            total += len(inside)
        return np.concatenate(kept[1:] if total >= n else kept)

    def figures(self, rows: Rows) -> Figures:
        return evaluate(self.space, rows)

    def extremes(self, figure: Figure) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The cheapest and dearest that were seen, made cheaper and dearer hole by hole."""
        exists = np.flatnonzero(self._figures.exists)
        values = getattr(self._figures, figure)[exists]
        low = self._improve(self._seen[exists[np.argmin(values)]], figure, 1)
        high = self._improve(self._seen[exists[np.argmax(values)]], figure, -1)
        return low, high

    def _improve(self, row: Rows, figure: Figure, sign: int) -> tuple[int, ...]:
        for _ in range(10):
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


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's score; right also for no hits at all."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)
