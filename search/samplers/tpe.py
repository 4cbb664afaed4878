"""TPE whose candidates are all inside the budget: the default.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011), with a joint density
over all dimensions as in Falkner et al., BOHB (ICML 2018). Networks that did well and the rest give
a density each, and of many candidates the one is proposed where their ratio is highest.
"""

from __future__ import annotations

import math

import numpy as np

from archspec.search.feasibility import FeasibleSet
from archspec.search.samplers.base import FeasibleSampler, fresh, unseen
from archspec.search.samplers.candidates import Kernels
from archspec.search.samplers.history import History
from archspec.search.space import Rows

STARTUP = 10
"""Networks that are drawn at random before anything is concluded."""
GOOD = 0.15
"""The share of networks that count as having done well."""
MOST_GOOD = 25
WIDTH = 0.06
"""Of a kernel, as a share of a dimension's range: a neighbour or two on each side."""
UNIFORM = 1 << 9
"""Candidates from the whole set."""


class FeasibleTPESampler(FeasibleSampler):
    """Tree-structured Parzen estimator over the feasible set."""

    def __init__(self, feasible: FeasibleSet, seed: int = 0, *, startup: int = STARTUP) -> None:
        super().__init__(feasible, seed)
        self.startup = startup

    def propose(self, past: History, rng: np.random.Generator) -> tuple[int, ...]:
        uniform = fresh(self.feasible, past, rng, UNIFORM)
        if past.results < self.startup:
            return tuple(uniform[0].tolist())
        order = np.argsort(past.ranks, kind="stable")
        count = min(MOST_GOOD, math.ceil(GOOD * past.results))
        good, rest = (
            Kernels(self.space, self._width(len(part)), past.rows[part])
            for part in (order[:count], order[count:])
        )
        candidates = np.concatenate([uniform, self._near(good, past, rng)])
        gain = good.log_density(candidates) - rest.log_density(candidates)
        return tuple(candidates[np.argmax(gain)].tolist())

    def _width(self, n: int) -> float:
        """Of the kernels around `n` networks, as a share of a dimension's range (Scott's rule)."""
        return float(WIDTH * max(n, 1) ** (-1 / (len(self.space.dims) + 4)))

    def _near(self, good: Kernels, past: History, rng: np.random.Generator) -> Rows:
        """Networks inside the budget near those that did well."""
        drawn = good.draw(rng.integers(0, len(good), self.feasible.affordable), rng)
        drawn = np.unique(drawn, axis=0)
        return unseen(drawn[self.feasible.contains(drawn)], past)


SAMPLER = ("tpe", FeasibleTPESampler)
