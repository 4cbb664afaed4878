"""What all samplers of networks inside a budget have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from archspec.search.errors import BudgetError
from archspec.search.feasibility import FeasibleSet
from archspec.search.samplers.history import History, history
from archspec.search.space import Dimension, Rows, Space

Make: TypeAlias = "Callable[[FeasibleSet, int], BaseSampler]"

_TRIES = 16
_LISTED = 1 << 20
"""Networks of a set that is looked through for those that are left."""


def distribution(dim: Dimension) -> BaseDistribution:
    """A dimension as Optuna describes it."""
    low, high = dim.values[0], dim.values[-1]
    if dim.kind == "int" and len(dim) > 1:
        step = dim.values[1] - low
        if not dim.log or step == 1:
            return IntDistribution(low, high, log=dim.log, step=1 if dim.log else step)
    if dim.kind == "float" and low < high:
        return FloatDistribution(low, high, log=dim.log)
    return CategoricalDistribution(dim.labels)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The whole space as Optuna describes it."""
    return {dim.name: distribution(dim) for dim in space.dims}


class FeasibleSampler(BaseSampler):
    """Proposes networks of a feasible set that the study has not seen.

    What is proposed hangs on the seed and on the trials so far, and on nothing that a sampler
    remembers: an interrupted study goes on as if it had not been.
    """

    def __init__(self, feasible: FeasibleSet, seed: int = 0) -> None:
        self.feasible = feasible
        self.space = feasible.space
        self.seed = seed

    @abstractmethod
    def propose(self, past: History, rng: np.random.Generator) -> tuple[int, ...]:
        """A network of the feasible set that is not in `past.seen`."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if trial.params:
            return {}  # a trial that is run again has its network already
        return distributions(self.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        past = history(study, self.space, before=trial.number)
        return self.space.choices(self.propose(past, rng_for(self.seed, past)))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        raise BudgetError(f"{param_name} is no hole of {self.space.name}")


def rng_for(seed: int, past: History) -> np.random.Generator:
    """Randomness of one proposal: the same for the same seed and place, whatever came between."""
    return np.random.default_rng([seed, past.asked])


def fresh(
    feasible: FeasibleSet,
    past: History,
    rng: np.random.Generator,
    n: int,
    *,
    stratified: bool = True,
) -> Rows:
    """Up to `n` different networks of the set that were not proposed yet, at least one.

    Raises:
        BudgetError: all of them were.
    """
    for _ in range(_TRIES):
        found = unseen(feasible.sample(n, rng, stratified=stratified), past)
        if len(found):
            return found
    if not feasible.is_exact:
        raise BudgetError(
            f"no further network of {feasible.space.name} was found inside {feasible.budget}"
        )
    if feasible.count <= _LISTED:  # what is left is rare: look for it
        found = unseen(feasible.rows(np.arange(feasible.count)), past)
        if len(found):
            return found[rng.permutation(len(found))[:n]]
    raise BudgetError(f"all {feasible.count:,} networks inside {feasible.budget} were tried")


def unseen(rows: Rows, past: History) -> Rows:
    """Different rows that were not proposed yet, in the order given."""
    taken = set(past.seen)
    kept = []
    for i, row in enumerate(map(tuple, rows.tolist())):
        if row not in taken:
            taken.add(row)
            kept.append(i)
    return rows[kept]
