"""Sets of networks counted by meeting in the middle.

The parts of a space are cut in two halves. One half is sorted by its cost, and for each entry of
the other half the partners that keep within the budget are one stretch of it. A second window is
met by counting within the stretches (`archspec.search.ranges`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from archspec.search.budgets import UNITS, Budget, Figure, Window, short
from archspec.search.evaluate import FIGURES, Figures
from archspec.search.feasibility import FeasibleSet
from archspec.search.parts import FAR, NotSeparableError, Part, figures_of
from archspec.search.ranges import Ints, RangeSelect
from archspec.search.space import Rows, Space

MAX_HALF = 1 << 23
"""Entries of each half: 64 MiB an array."""
MAX_STRATA = 1 << 16
"""Combinations of the dimensions that both halves hang on."""
_ANY = Window(0, FAR - 1)


class CountedSet(FeasibleSet):
    """A set counted exactly; each network has a number in it."""

    is_exact = True

    def __init__(self, space: Space, budget: Budget, parts: Sequence[Part]) -> None:
        """The set of networks that cost as much as `parts` say.

        Raises:
            NotSeparableError: half of the parts have too many combinations.
        """
        self.space, self.budget, self.parts = space, budget, tuple(parts)
        windows = {
            figure: Window(min(window.low, FAR), min(window.high, FAR - 1))
            for figure, window in (budget.windows or {"flops": _ANY}).items()
        }
        (self._by, self._window), *self._second = windows.items()
        left, right = _halves(space, self.parts)
        dims = [sorted({d for part in half for d in part.dims}) for half in (left, right)]
        self.shared = [d for d in dims[0] if d in dims[1]]
        """The dimensions that both halves hang on: the widths, in most spaces."""
        self.idle = [d for d in range(len(space.dims)) if d not in {*dims[0], *dims[1]}]
        """The dimensions that no cost hangs on."""
        self._left, self._right = (
            _Half(space, half, hangs, self.shared)
            for half, hangs in zip((left, right), dims, strict=True)
        )
        self._pair()
        self._each = math.prod(space.lengths[d] for d in self.idle)
        self.count = int(self._ends[-1]) * self._each
        self.interval = (self.count, self.count)

    def _pair(self) -> None:
        """For each entry of the left half, the stretch of the sorted right half that fits it."""
        costs = self._right.figures[self._by]
        self._order = np.argsort(costs, axis=1, kind="stable")
        costs = np.take_along_axis(costs, self._order, axis=1)
        own = self._left.figures[self._by]
        strata, width = costs.shape
        start, stop = np.empty_like(own), np.empty_like(own)
        for k in range(strata):
            start[k] = np.searchsorted(costs[k], self._window.low - own[k], "left") + k * width
            stop[k] = np.searchsorted(costs[k], self._window.high - own[k], "right") + k * width
        self._start, self._stop = start.ravel(), np.maximum(start, stop).ravel()
        counts = self._stop - self._start
        if self._second:
            counts = self._limit_second()
        self._ends = np.cumsum(counts)
        self._first = self._ends - counts
        self._per_stratum = counts.reshape(strata, -1).sum(axis=1)
        self._strata = np.flatnonzero(self._per_stratum)
        self._stratum_first = np.cumsum(self._per_stratum) - self._per_stratum

    def _limit_second(self) -> Ints:
        """Within the stretches, how many the second figure allows too."""
        ((figure, window),) = self._second
        values = np.take_along_axis(self._right.figures[figure], self._order, axis=1).ravel()
        self._by_second = np.argsort(values, kind="stable")
        ranks = np.empty(len(values), np.int64)
        ranks[self._by_second] = np.arange(len(values))
        self._select = RangeSelect(ranks)
        ordered = values[self._by_second]
        own = self._left.figures[figure].ravel()
        low = np.searchsorted(ordered, window.low - own, "left")
        high = np.searchsorted(ordered, window.high - own, "right")
        self._below = self._select.count_below(self._start, self._stop, low)
        upto = self._select.count_below(self._start, self._stop, np.maximum(low, high))
        return upto - self._below

    # -- networks by their number -----------------------------------------------------------------

    def rows(self, numbers: Ints) -> Rows:
        pairs = self._numbered(numbers)
        idle: dict[int, Ints] = {}
        for d in reversed(self.idle):
            pairs, idle[d] = np.divmod(pairs, self.space.lengths[d])
        return self._rows(pairs, idle)

    def _rows(self, pairs: Ints, idle: Mapping[int, Ints]) -> Rows:
        left = np.searchsorted(self._ends, pairs, "right")
        offset = pairs - self._first[left]
        if self._second:
            rank = self._select.smallest(
                self._start[left], self._stop[left], self._below[left] + offset
            )
            place = self._by_second[rank]
        else:
            place = self._start[left] + offset
        right = self._order.ravel()[place]
        found = np.empty((len(self.space.dims), len(pairs)), np.int64).T  # column by column
        stratum, entry = np.divmod(left, self._left.width)
        self._left.fill(found, stratum, entry)
        self._right.fill(found, stratum, right)
        for d, values in idle.items():
            found[:, d] = values
        return found

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Every network of the set, in order of its number."""
        for start in range(0, self.count, 1 << 16):
            numbers = np.arange(start, min(start + (1 << 16), self.count))
            yield from map(tuple, self.rows(numbers).tolist())

    def sample(self, n: int, rng: np.random.Generator, *, stratified: bool = True) -> Rows:
        self.check()
        if stratified and len(self._strata) > 1:
            stratum = rng.choice(self._strata, n)
            pairs = self._stratum_first[stratum] + rng.integers(0, self._per_stratum[stratum])
        else:
            pairs = rng.integers(0, self._ends[-1], n)
        return self._rows(pairs, {d: rng.integers(0, self.space.lengths[d], n) for d in self.idle})

    # -- the space around it ----------------------------------------------------------------------

    @cached_property
    def is_void(self) -> bool:
        left, right = (half.figures["flops"].min(axis=1) for half in (self._left, self._right))
        return not bool(((left < FAR) & (right < FAR)).any())

    def figures(self, rows: Rows) -> Figures:
        return figures_of(self.parts, rows)

    def extremes(self, figure: Figure) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self._extreme(figure, 1), self._extreme(figure, -1)

    def _extreme(self, figure: Figure, sign: int) -> tuple[int, ...]:
        halves = [self._left.figures[figure], self._right.figures[figure]]
        costs = [np.where(costs < FAR, sign * costs, FAR) for costs in halves]
        places = [half.argmin(axis=1) for half in costs]
        k = np.argmin(costs[0].min(axis=1) + costs[1].min(axis=1))
        row = np.zeros((1, len(self.space.dims)), np.int64)
        self._left.fill(row, np.array([k]), places[0][[k]])
        self._right.fill(row, np.array([k]), places[1][[k]])
        return tuple(row[0].tolist())

    def _near(self) -> str:
        """What is nearest to a window that lies between networks."""
        if self._second:
            return super()._near()
        costs = np.take_along_axis(self._right.figures[self._by], self._order, axis=1).ravel()
        own, width = self._left.figures[self._by].ravel(), self._right.width
        stratum = np.arange(len(own)) // self._left.width
        has_below, has_above = self._start > stratum * width, self._stop < (stratum + 1) * width
        below = own[has_below] + costs[self._start[has_below] - 1]
        above = own[has_above] + costs[self._stop[has_above]]
        below, above = below[below < FAR], above[above < FAR]
        if not len(below) or not len(above):
            return super()._near()
        unit = UNITS[self._by]
        return f"the nearest have {short(int(below.max()))} and {short(int(above.min()))} {unit}"

    @cached_property
    def strata(self) -> Mapping[tuple[int, ...], int]:
        """How many networks there are for each value of the dimensions that stages share."""
        lengths = [self.space.lengths[d] for d in self.shared] or [1]
        return {
            tuple(int(i) for i in np.unravel_index(k, lengths)): int(self._per_stratum[k])
            * self._each
            for k in self._strata
        }


def _halves(space: Space, parts: Sequence[Part]) -> tuple[Sequence[Part], Sequence[Part]]:
    """Where to cut, so that the larger half is as small as can be."""

    def size(half: Sequence[Part]) -> int:
        return math.prod(space.lengths[d] for d in {d for part in half for d in part.dims})

    cuts = [(parts[:i], parts[i:]) for i in range(len(parts) + 1)]
    best = min(cuts, key=lambda cut: max(map(size, cut)))
    if max(map(size, best)) > MAX_HALF:
        raise NotSeparableError("half of its holes have too many combinations")
    return best


class _Half:
    """The cost of half of the parts, for every combination of what they hang on."""

    def __init__(
        self, space: Space, parts: Sequence[Part], dims: Sequence[int], shared: Sequence[int]
    ) -> None:
        self._lengths = space.lengths
        self._groups = (list(shared), [d for d in dims if d not in shared])
        axes = [*self._groups[0], *self._groups[1]]
        shape = [space.lengths[d] for d in axes]
        strata = math.prod(space.lengths[d] for d in shared)
        if strata > MAX_STRATA:
            raise NotSeparableError("its halves hang on too many holes at once")
        exists = np.ones(shape, np.bool_)
        total = {figure: np.zeros(shape, np.int64) for figure in FIGURES}
        for part in parts:
            order = sorted(range(len(part.dims)), key=lambda i: axes.index(part.dims[i]))
            spread = [space.lengths[d] if d in part.dims else 1 for d in axes]
            exists &= part.exists.transpose(order).reshape(spread)
            for figure in FIGURES:
                total[figure] += part.figures[figure].transpose(order).reshape(spread)
        self.figures: dict[Figure, Ints] = {
            figure: np.where(exists, costs, FAR).reshape(strata, -1)
            for figure, costs in total.items()
        }
        """Strata (combinations of what is shared) × all others; FAR where nothing exists."""

    @property
    def width(self) -> int:
        """Entries of each stratum."""
        return int(self.figures["flops"].shape[1])

    def fill(self, rows: Rows, stratum: Ints, entry: Ints) -> None:
        """Write the dimensions of entries into rows of the space."""
        for dims, index in zip(self._groups, (stratum, entry), strict=True):
            for d in reversed(dims):
                index, rows[:, d] = np.divmod(index, self._lengths[d])
