"""NSGA-II within the budget: the default when there are several objectives.

Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II" (IEEE TEC 2002), in its
steady-state form: each new network is a child of the best ones so far, by front and then by
crowding distance, so that no network of a generation is waited for. Children outside the budget are
dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archspec.search.feasibility import FeasibleSet
from archspec.search.samplers.base import FeasibleSampler, fresh, unseen
from archspec.search.samplers.candidates import Kernels
from archspec.search.samplers.history import History
from archspec.search.space import Rows

POPULATION = 24
"""Networks that may have children: the best ones so far."""
STARTUP = 10
"""Networks that are drawn at random first."""
CHILDREN = 1 << 11
SWAP = 0.5
"""How likely a child has a value of its second parent."""


class FeasibleNSGAIISampler(FeasibleSampler):
    """A genetic algorithm over the feasible set."""

    def __init__(
        self, feasible: FeasibleSet, seed: int = 0, *, population: int = POPULATION
    ) -> None:
        super().__init__(feasible, seed)
        self.population = population

    def propose(self, past: History, rng: np.random.Generator) -> tuple[int, ...]:
        random = fresh(self.feasible, past, rng, 64)
        finished = np.flatnonzero(~np.isnan(past.losses).any(axis=1))
        if len(finished) < min(STARTUP, self.population):
            return tuple(random[0].tolist())
        order = best_first(past.ranks[finished], past.losses[finished])[: self.population]
        children = self._children(past.rows[finished[order]], rng)
        children = children[self.feasible.contains(children)]
        children = unseen(children, past)
        return tuple((children if len(children) else random)[0].tolist())

    def _children(self, parents: Rows, rng: np.random.Generator) -> Rows:
        """Crossings of parents, the better of two drawn each time, with a little change."""
        n = min(CHILDREN, self.feasible.affordable)
        first, second = (rng.integers(0, len(parents), (n, 2)).min(axis=1) for _ in range(2))
        swap = rng.random((n, parents.shape[1])) < SWAP
        crossed = np.where(swap, parents[second], parents[first])
        changed = Kernels(self.space, 0.1, crossed).draw(np.arange(n), rng)
        change = rng.random(crossed.shape) < 1 / crossed.shape[1]
        return np.where(change, changed, crossed)


def best_first(fronts: NDArray[np.int64], losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order of points by front, and within a front by crowding distance, lonely ones first."""
    crowding = np.zeros(len(losses))
    for front in np.unique(fronts):
        members = np.flatnonzero(fronts == front)
        for column in losses[members].T:
            order = np.argsort(column, kind="stable")
            spread = float(np.ptp(column)) or 1.0
            crowding[members[order[[0, -1]]]] = np.inf
            crowding[members[order[1:-1]]] += (column[order[2:]] - column[order[:-2]]) / spread
    return np.lexsort((-crowding, fronts))


SAMPLER = ("nsga2", FeasibleNSGAIISampler)
