"""The networks of a space that are inside a budget: how many, and any of them at once.

    found = feasible(Space("smlpnet_space"), budget("5GFLOPs"))
    found.count                                     # 11524429
    found.sample(1000, np.random.default_rng(0))    # rows of the space, all inside

Where the costs are a sum over parts (`archspec.search.parts`), the set is counted exactly by
meeting in the middle: the parts are cut in two, one half is sorted by its cost, and for each entry
of the other half the partners that keep within the budget are one stretch of it. Otherwise
networks are drawn and counted (`archspec.search.rejection`), and the number is an estimate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from archspec.search.budgets import UNITS, Budget, Figure, Window, short
from archspec.search.errors import BudgetError
from archspec.search.evaluate import FIGURES, Figures
from archspec.search.parts import NotSeparableError, Part, separate, sum_of
from archspec.search.ranges import Ints, RangeSelect
from archspec.search.space import Rows, Space

MAX_HALF = 1 << 24
"""Entries of each half: 128 MiB a figure."""
_ANY = Window(0, 1 << 62)


class FeasibleSet(ABC):
    """The networks of a space inside a budget."""

    space: Space
    budget: Budget
    count: int
    """How many there are."""
    is_exact: bool
    """Whether `count` was counted, or estimated."""
    interval: tuple[int, int]
    """Of an estimate, with 95 % confidence; `count` twice where it is exact."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator, *, stratified: bool = True) -> Rows:
        """Networks of the set, drawn with replacement.

        Args:
            stratified: every width that the set has is as likely as any other, and all networks of
                one width are; otherwise all networks are, and most of them may be narrow.
        """

    @abstractmethod
    def figures(self, rows: Rows) -> Figures:
        """What networks of the space cost, inside the budget or not."""

    @abstractmethod
    def extremes(self, figure: Figure) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The cheapest and the dearest network of the whole space."""

    def contains(self, rows: Rows) -> NDArray[np.bool_]:
        """Which networks exist and are inside the budget."""
        return self.figures(rows).within(self.budget)

    def check(self) -> None:
        """Refuse a budget that nothing meets.

        Raises:
            BudgetError: with the cheapest and the dearest network of the space.
        """
        if self.count:
            return
        lines = []
        for figure in self.budget.windows or FIGURES:
            cheap, dear = self.extremes(figure)
            for word, row in (("cheapest", cheap), ("dearest", dear)):
                cost = int(getattr(self.figures(np.array([row])), figure)[0])
                values = ", ".join(f"{k}={v}" for k, v in self.space.choices(row).items())
                lines.append(f"  the {word}: {short(cost)} {UNITS[figure]} ({values})")
        raise BudgetError("\n".join((self._none(), *lines)), hint=self._near())

    def _none(self) -> str:
        return f"no network of {self.space.name} is inside {self.budget}"

    def _near(self) -> str:
        return "choose a budget between them"


def feasible(space: Space, budget: Budget) -> FeasibleSet:
    """The networks of a space inside a budget. It may be empty: see `FeasibleSet.check`.

    Raises:
        SpaceError: no network of the space can exist.
    """
    from archspec.search.rejection import DrawnSet

    try:
        return CountedSet(space, budget, separate(space))
    except NotSeparableError as error:
        return DrawnSet(space, budget, reason=str(error))


class CountedSet(FeasibleSet):
    """A set counted by meeting in the middle; each network has a number in it."""

    is_exact = True

    def __init__(self, space: Space, budget: Budget, parts: Sequence[Part]) -> None:
        self.space, self.budget, self.parts = space, budget, tuple(parts)
        windows = dict(budget.windows) or {"flops": _ANY}
        (self._by, self._window), *self._second = windows.items()
        left, right = _halves(space, self.parts)
        self.shared = [d for d in left.dims if d in right.dims]
        """The dimensions that both halves hang on: the widths, in most spaces."""
        self.idle = [d for d in range(len(space.dims)) if d not in {*left.dims, *right.dims}]
        """The dimensions that no cost hangs on."""
        self._left = _Half(space, self.parts[: left.stop], left.dims, self.shared)
        self._right = _Half(space, self.parts[left.stop :], right.dims, self.shared)
        self._pair()
        self.count = int(self._ends[-1]) * math.prod(space.lengths[d] for d in self.idle)
        self.interval = (self.count, self.count)

    def _pair(self) -> None:
        """For each entry of the left half, the stretch of the sorted right half that goes with it."""
        costs = self._right.figures[self._by]
        self._order = np.argsort(costs, axis=1, kind="stable")
        costs = np.take_along_axis(costs, self._order, axis=1)
        own = self._left.figures[self._by]
        strata, width = costs.shape
        start, stop = np.empty_like(own), np.empty_like(own)
        for k in range(strata):
            start[k] = np.searchsorted(costs[k], self._window.low - own[k], "left") + k * width
            stop[k] = np.searchsorted(costs[k], self._window.high - own[k], "right") + k * width
        self._start, self._stop = start.ravel(), stop.ravel()
        counts = self._stop - self._start
        if self._second:
            counts = self._limit_second(counts.shape)
        self._ends = np.cumsum(counts)
        self._first = self._ends - counts
        per_stratum = counts.reshape(strata, -1).sum(axis=1)
        self._strata = np.flatnonzero(per_stratum)
        self._stratum_counts = per_stratum
        self._stratum_first = np.cumsum(per_stratum) - per_stratum

    def _limit_second(self, shape: tuple[int, ...]) -> Ints:
        """Within the stretches, count what the second figure allows too."""
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
        found = self._select.count_below(self._start, self._stop, high) - self._below
        assert found.shape == shape
        return found

    # -- networks by their number -----------------------------------------------------------------

    def rows(self, numbers: Ints) -> Rows:
        """The networks with these numbers, 0 … count - 1.

        Raises:
            IndexError: there is no such number.
        """
        numbers = np.asarray(numbers, np.int64)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < self.count):
            raise IndexError(f"numbers go from 0 to {self.count - 1:,}")
        lengths = [self.space.lengths[d] for d in self.idle]
        pair, rest = np.divmod(numbers, math.prod(lengths))
        left = np.searchsorted(self._ends, pair, "right")
        offset = pair - self._first[left]
        if self._second:
            rank = self._select.smallest(
                self._start[left], self._stop[left], self._below[left] + offset
            )
            place = self._by_second[rank]
        else:
            place = self._start[left] + offset
        right = self._order.ravel()[place]
        found = np.zeros((len(numbers), len(self.space.dims)), np.int64)
        stratum, entry = np.divmod(left, self._left.width)
        self._left.fill(found, stratum, entry)
        self._right.fill(found, stratum, right)
        for d, values in zip(self.idle, np.unravel_index(rest, lengths or [1]), strict=False):
            found[:, d] = values
        return found

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Every network of the set, in order of its number."""
        for start in range(0, self.count, 1 << 16):
            numbers = np.arange(start, min(start + (1 << 16), self.count))
            yield from map(tuple, self.rows(numbers).tolist())

    def __len__(self) -> int:
        return self.count

    def sample(self, n: int, rng: np.random.Generator, *, stratified: bool = True) -> Rows:
        if not stratified or len(self._strata) == 1:
            return self.rows(rng.integers(0, self.count, n))
        stratum = rng.choice(self._strata, n)
        pair = self._stratum_first[stratum] + rng.integers(0, self._stratum_counts[stratum])
        each = math.prod(self.space.lengths[d] for d in self.idle)
        return self.rows(pair * each + rng.integers(0, each, n))

    def figures(self, rows: Rows) -> Figures:
        flops, params = (sum_of(self.parts, figure, rows) for figure in FIGURES)
        return Figures(np.ones(len(rows), np.bool_), flops, params)

    def extremes(self, figure: Figure) -> tuple[tuple[int, ...], tuple[int, ...]]:
        left, right = self._left.figures[figure], self._right.figures[figure]
        found = []
        for best in (np.argmin, np.argmax):
            ends = [left[k][best(left[k])] + right[k][best(right[k])] for k in range(len(left))]
            k = int(best(np.array(ends)))
            row = np.zeros((1, len(self.space.dims)), np.int64)
            stratum = np.array([k])
            self._left.fill(row, stratum, np.array([best(left[k])]))
            self._right.fill(row, stratum, np.array([best(right[k])]))
            found.append(tuple(row[0].tolist()))
        return found[0], found[1]

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
        if not len(below) or not len(above):
            return super()._near()
        unit = UNITS[self._by]
        return f"the nearest have {short(int(below.max()))} and {short(int(above.min()))} {unit}"

    @cached_property
    def strata(self) -> Mapping[tuple[int, ...], int]:
        """How many networks there are for each value of the dimensions that stages share."""
        each = math.prod(self.space.lengths[d] for d in self.idle)
        lengths = [self.space.lengths[d] for d in self.shared] or [1]
        return {
            tuple(int(i) for i in np.unravel_index(k, lengths)): int(self._stratum_counts[k]) * each
            for k in self._strata
        }


class _Split:
    """A half as it is chosen: up to which part it goes, and what it hangs on."""

    def __init__(self, parts: Sequence[Part], stop: int) -> None:
        self.stop = stop
        self.dims = sorted({d for part in parts for d in part.dims})


def _halves(space: Space, parts: Sequence[Part]) -> tuple[_Split, _Split]:
    """Where to cut, so that the larger half is as small as can be."""

    def size(split: _Split) -> int:
        return math.prod(space.lengths[d] for d in split.dims)

    cuts = [(_Split(parts[:i], i), _Split(parts[i:], i)) for i in range(len(parts) + 1)]
    best = min(cuts, key=lambda cut: max(size(cut[0]), size(cut[1])))
    if max(map(size, best)) > MAX_HALF:
        raise NotSeparableError("half of its holes have too many combinations")
    return best


class _Half:
    """The cost of half of the parts, for every combination of what they hang on."""

    def __init__(
        self, space: Space, parts: Sequence[Part], dims: Sequence[int], shared: Sequence[int]
    ) -> None:
        self.shared = list(shared)
        self.own = [d for d in dims if d not in shared]
        self._lengths = space.lengths
        axes = [*self.shared, *self.own]
        shape = [space.lengths[d] for d in axes]
        strata = math.prod(space.lengths[d] for d in shared)
        self.figures: dict[Figure, Ints] = {}
        for figure in FIGURES:
            total = np.zeros(shape, np.int64)
            for part in parts:
                order = sorted(range(len(part.dims)), key=lambda i: axes.index(part.dims[i]))
                spread = [space.lengths[d] if d in part.dims else 1 for d in axes]
                total += part.figures[figure].transpose(order).reshape(spread)
            self.figures[figure] = total.reshape(strata, -1)

    @property
    def width(self) -> int:
        """Entries of each stratum."""
        return int(self.figures["flops"].shape[1])

    def fill(self, rows: Rows, stratum: Ints, entry: Ints) -> None:
        """Write the dimensions of entries into rows of the space."""
        for dims, index in ((self.shared, stratum), (self.own, entry)):
            lengths = [self._lengths[d] for d in dims]
            if lengths:
                for d, values in zip(dims, np.unravel_index(index, lengths), strict=True):
                    rows[:, d] = values
