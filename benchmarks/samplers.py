"""Our samplers against Optuna's own, at equal trials, on scores that are known in closed form.

The space is the real one (1.27 billion sMLPNets) and so is the budget; what a network is worth is
made up, so that hundreds of studies take minutes and the best network there is can be looked up.
Nothing about our samplers was tuned on these scores.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.registry import Benchmark, Device, Row
from benchmarks.timing import Quartiles

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

    from archspec.search.feasibility import FeasibleSet

SPACE = "smlpnet_space"
BUDGET = "5GFLOPs"
TRIALS = 100
SEEDS = 5

Ints: TypeAlias = NDArray[np.int64]
Reals: TypeAlias = NDArray[np.float64]
Score: TypeAlias = Callable[[Ints, Ints, Ints], Reals]
"""Width (N), depths (N×4) and α (N×4) of networks to what they are worth (N), higher is better."""


# -- what networks are worth -----------------------------------------------------------------------


def balanced(dim_N: Ints, depth_N4: Ints, alpha_N4: Ints) -> Reals:
    """Smooth, and best for proportions of its own: a narrow network with a very deep third stage.

    Accuracy falls off with the ratio to the best depth and width, not with the difference.
    """
    best_4, alpha_4 = np.array([2, 4, 20, 3]), np.array([2, 3, 4, 3])
    off = (np.log(depth_N4 / best_4) ** 2).sum(1) + 4 * np.log(dim_N / 72) ** 2
    return np.asarray(-off - 0.1 * ((alpha_N4 - alpha_4) ** 2).sum(1), np.float64)


def wide(dim_N: Ints, depth_N4: Ints, alpha_N4: Ints) -> Reals:
    """Smooth, and best at a width that one network in three thousand inside the budget has."""
    best_4 = np.array([1, 2, 3, 2])
    off = ((dim_N - 136) / 24) ** 2 + (np.log(depth_N4 / best_4) ** 2).sum(1)
    return np.asarray(-off - 0.1 * ((alpha_N4 - 2) ** 2).sum(1), np.float64)


def rugged(dim_N: Ints, depth_N4: Ints, alpha_N4: Ints) -> Reals:
    """Interactions everywhere: Kauffman's NK landscape with N = 9 and K = 2.

    What a hole contributes is a random number of its own value and those of two other holes;
    widths and depths count in seven steps of even ratio.
    """
    rng = np.random.default_rng(2109_05422)
    dim = np.floor(np.log(dim_N / 48) / math.log(160.001 / 48) * 7)[:, None]
    depth = np.floor(np.log(depth_N4) / math.log(32.001) * 7)
    level_NK = np.concatenate([dim, depth, alpha_N4 - 2], axis=1).astype(np.int64)
    total = np.zeros(len(dim_N))
    for k in range(9):
        others = rng.choice([j for j in range(9) if j != k], 2, replace=False)
        total += rng.random((7, 7, 7))[
            level_NK[:, k], level_NK[:, others[0]], level_NK[:, others[1]]
        ]
    return total / 9


SCORES: dict[str, Score] = {"balanced": balanced, "wide": wide, "rugged": rugged}


# -- who searches ----------------------------------------------------------------------------------


Outside: TypeAlias = Literal["never", "constraint", "pruned"]


@dataclass(frozen=True)
class Contestant:
    """A sampler, and what it is told of networks outside the budget."""

    name: str
    make: Callable[[FeasibleSet, int], BaseSampler]
    outside: Outside


def contestants() -> list[Contestant]:
    """Ours, then Optuna's own: each with `trial.set_constraint`, and pruned outside the budget."""
    from optuna import samplers as stock

    from archspec.search.samplers import samplers

    theirs: dict[str, Callable[[int], BaseSampler]] = {
        # for one objective, Optuna 5's default
        "TPESampler(multivariate=True)": lambda seed: stock.TPESampler(
            multivariate=True, seed=seed
        ),
        "GPSampler(deterministic_objective=True)": lambda seed: stock.GPSampler(
            deterministic_objective=True, seed=seed
        ),
        "NSGAIISampler(population_size=24)": lambda seed: stock.NSGAIISampler(
            population_size=24, seed=seed
        ),
    }
    ways: tuple[Outside, ...] = ("constraint", "pruned")
    return [
        *(Contestant(f"archspec {name}", make, "never") for name, make in samplers().items()),
        *(
            Contestant(f"Optuna {name}, {way}", partial(_by_seed, make), way)
            for (name, make), way in itertools.product(theirs.items(), ways)
        ),
    ]


def _by_seed(make: Callable[[int], BaseSampler], feasible: FeasibleSet, seed: int) -> BaseSampler:
    return make(seed)


@dataclass
class Task:
    """One score over the networks inside the budget."""

    feasible: FeasibleSet
    score: Score
    worst: float = field(init=False)
    mean: float = field(init=False)
    best: float = field(init=False)

    def __post_init__(self) -> None:
        """Look at every network inside the budget: the best one ends the scale."""
        lows, sums, highs = zip(*self._looked_at(), strict=True)
        self.worst, self.best = min(lows), max(highs)
        self.mean = sum(sums) / self.feasible.count

    def _looked_at(self) -> Iterator[tuple[float, float, float]]:
        count = self.feasible.count
        for start in range(0, count, 1 << 16):
            rows = self.feasible.rows(np.arange(start, min(start + (1 << 16), count)))
            values = self.of(rows)
            yield float(values.min()), float(values.sum()), float(values.max())

    def of(self, rows: Ints) -> Reals:
        """What networks are worth."""
        values = [
            np.array(dim.values)[rows[:, d]] for d, dim in enumerate(self.feasible.space.dims)
        ]
        return self.score(values[0], np.stack(values[1:5], 1), np.stack(values[5:9], 1))

    def scaled(self, value: float) -> float:
        """0 for the mean of all networks inside the budget, 1 for the best of them."""
        return (value - self.mean) / (self.best - self.mean)


@dataclass(frozen=True)
class Result:
    """One study."""

    wasted: float
    """The share of trials that went to networks outside the budget."""
    best: float
    """The best network inside the budget that was tried, from 0 to 1 as `Task.scaled` says."""
    ask: float
    """CPU seconds for one proposal."""


def search(contestant: Contestant, task: Task, seed: int) -> Result:
    """One study of `TRIALS` trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = task.feasible
    window = found.budget.windows["flops"]
    values: list[float] = []
    busy = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on what is experimental
        study = optuna.create_study(direction="maximize", sampler=contestant.make(found, seed))
        for _ in range(TRIALS):
            start = time.process_time()
            trial = study.ask()
            row = _suggest(trial, found, own=contestant.outside == "never")
            busy += time.process_time() - start
            flops = int(found.figures(np.array([row])).flops[0])
            value = float(task.of(np.array([row]))[0])
            if flops in window:
                values.append(value)
            if contestant.outside == "constraint":
                trial.set_constraint("above", flops / window.high - 1)
                trial.set_constraint("below", (window.low - flops) / window.high)
            if contestant.outside == "pruned" and flops not in window:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, value)
    best = task.scaled(max(values, default=task.worst))
    return Result(1 - len(values) / TRIALS, best, busy / TRIALS)


def _suggest(trial: Trial, found: FeasibleSet, *, own: bool) -> tuple[int, ...]:
    """The network that a trial is about. Optuna's samplers are told that α is a number too."""
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        IntDistribution,
    )

    from archspec.search.samplers.base import distributions

    kinds: dict[str, BaseDistribution]
    if own:
        kinds = distributions(found.space)
    else:
        kinds = {
            dim.name: IntDistribution(
                dim.values[0], dim.values[-1], step=dim.values[1] - dim.values[0]
            )
            for dim in found.space.dims
        }
    choices: dict[str, Any] = {}
    for name, kind in kinds.items():
        if isinstance(kind, IntDistribution):
            choices[name] = trial.suggest_int(name, kind.low, kind.high, step=kind.step)
        else:
            assert isinstance(kind, CategoricalDistribution)
            choices[name] = trial.suggest_categorical(name, kind.choices)
    return found.space.row(choices)


def run(device: Device) -> list[Row]:
    """All contestants on all scores, with the same seeds."""
    from archspec.search.budgets import budget
    from archspec.search.feasibility import feasible
    from archspec.search.space import Space

    found = feasible(Space(SPACE), budget(BUDGET))
    rows = []
    for name, score in SCORES.items():
        task = Task(found, score)
        for contestant in contestants():
            results = [search(contestant, task, seed) for seed in range(SEEDS)]
            rows += _rows(f"{name}: {contestant.name}", results)
    return rows


def _rows(case: str, results: Sequence[Result]) -> list[Row]:
    return [
        Row(case, f"best of {TRIALS} trials", Quartiles.of([r.best for r in results]),
            "0 = mean inside the budget, 1 = best there is"),
        Row(case, "trials outside the budget", Quartiles.of([100 * r.wasted for r in results]),
            "%"),
        Row(case, "CPU time of one proposal", Quartiles.of([1e3 * r.ask for r in results]), "ms"),
    ]  # fmt: skip


BENCHMARK = Benchmark(
    "samplers",
    "samplers that stay inside the budget against Optuna's own, at equal trials",
    ("cpu",),
    run,
)
