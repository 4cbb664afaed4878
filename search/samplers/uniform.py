"""Networks inside the budget, drawn at random: every width as likely as any other."""

from __future__ import annotations

import numpy as np

from archspec.search.samplers.base import FeasibleSampler, fresh
from archspec.search.samplers.history import History


class FeasibleUniformSampler(FeasibleSampler):
    """Random search, stratified by width."""

    def propose(self, past: History, rng: np.random.Generator) -> tuple[int, ...]:
        return tuple(fresh(self.feasible, past, rng, 16)[0].tolist())


SAMPLER = ("uniform", FeasibleUniformSampler)
