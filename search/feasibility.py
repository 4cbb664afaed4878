"""The networks of a space that are inside a budget: how many, and any of them at once.

    found = feasible(Space("smlpnet_space"), budget("5GFLOPs"))
    found.count                                     # 11524429
    found.sample(1000, np.random.default_rng(0))    # rows of the space, all inside

Where the costs are a sum over parts (`archspec.search.parts`), the set is counted exactly
(`archspec.search.counted`). Otherwise networks are drawn (`archspec.search.rejection`), and the
number is an estimate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from archspec.counting import count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.search.budgets import UNITS, Budget, Figure, short
from archspec.search.errors import BudgetError, SpaceError
from archspec.search.evaluate import FIGURES, Figures
from archspec.search.parts import NotSeparableError, separate
from archspec.search.space import Rows, Space


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
    affordable: int = 1 << 13
    """Networks whose figures may be asked for at once without making anybody wait."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator, *, stratified: bool = True) -> Rows:
        """Networks of the set, drawn with replacement.

        Args:
            stratified: every width that the set has is as likely as any other, and all networks of
                one width are; otherwise all networks are, and most of them may be narrow.

        Raises:
            BudgetError: there is none.
        """

    @abstractmethod
    def figures(self, rows: Rows) -> Figures:
        """What networks of the space cost, inside the budget or not."""

    @abstractmethod
    def extremes(self, figure: Figure) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The cheapest and the dearest network of the whole space."""

    @abstractmethod
    def rows(self, numbers: NDArray[np.int64]) -> Rows:
        """The networks with these numbers, 0 … count - 1; of an exact set only.

        Raises:
            IndexError: there is no such number.
        """

    @property
    @abstractmethod
    def is_void(self) -> bool:
        """Whether no network of the whole space can exist, as far as is known."""

    def contains(self, rows: Rows) -> NDArray[np.bool_]:
        """Which networks exist and are inside the budget."""
        return self.figures(rows).within(self.budget)

    def missing(self) -> str | None:
        """In a sentence, how many networks of the space cannot exist, and why one cannot."""
        rows = self._looked_at()
        absent = rows[~self.figures(rows).exists]
        if not len(absent):
            return None
        drawn = "" if len(rows) == self.space.size else " drawn"
        text = f"{len(absent):,} of {len(rows):,} networks{drawn} cannot exist"
        try:
            count(expand(self.space.spec_of(absent[0])))
        except SpecError as error:
            return f"{text}; the first: {error}"
        return text

    def _looked_at(self) -> Rows:
        """Networks of the space, inside the budget or not: all, or some drawn."""
        if self.space.size <= self.affordable:
            return self.space.all_rows()
        return self.space.draw(self.affordable, np.random.default_rng(0))

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

    def _numbered(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        numbers = np.asarray(numbers, np.int64)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < self.count):
            raise IndexError(f"numbers go from 0 to {self.count - 1:,}")
        return numbers

    def _none(self) -> str:
        return f"no network of {self.space.name} is inside {self.budget}"

    def _near(self) -> str:
        return "choose a budget between them"


def feasible(space: Space, budget: Budget) -> FeasibleSet:
    """The networks of a space inside a budget. It may be empty: see `FeasibleSet.check`.

    Raises:
        SpaceError: no network of the space can exist.
    """
    from archspec.search.counted import CountedSet
    from archspec.search.rejection import DrawnSet

    found: FeasibleSet
    try:
        found = CountedSet(space, budget, separate(space))
    except NotSeparableError as error:
        found = DrawnSet(space, budget, reason=str(error))
    if found.is_void:
        raise _void(space)
    return found


def _void(space: Space) -> SpaceError:
    """No network can exist: what is wrong with the first of them."""
    try:
        count(expand(space.spec_of([0] * len(space.dims))))
    except SpecError as error:
        return SpaceError(
            f"no network of {space.name} can exist; the first one: {error.message}",
            mark=error.mark, hint=error.hint,
        )  # fmt: skip
    raise AssertionError("the first network exists after all")
