"""How a winner is chosen: the best are trained again with fresh seeds; a stated rule decides."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from archspec.search.candidate import Workshop
from archspec.search.fronts import fronts
from archspec.search.objectives import Objective
from archspec.search.record import Finalist
from archspec.search.retries import place_of
from archspec.search.storage import FINALIST

FINALIST_SEEDS = (1,)
"""Fresh seeds that each finalist is trained with, counted from the study's own seed."""
_FRESH = 1000


def complete(study: Study) -> list[FrozenTrial]:
    """Trials that came to their end, in the order of their numbers."""
    return [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]


def front(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """The trials that no other beats in all objectives, by the first of them."""
    if not trials:
        return []
    losses = np.array([losses_of(trial.values, objectives) for trial in trials])
    chosen = [t for t, place in zip(trials, fronts(losses), strict=True) if place == 0]
    return sorted(chosen, key=lambda t: losses_of(t.values, objectives))


def losses_of(values: Sequence[float], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Values with the sign that makes lower better."""
    signs = [-1 if o.direction == "maximize" else 1 for o in objectives]
    return tuple(sign * value for sign, value in zip(signs, values, strict=True))


def best(study: Study, objectives: Sequence[Objective], n: int) -> list[FrozenTrial]:
    """The trials to train again, best first.

    One objective: the highest values, and of equal ones the lower loss, then the fewer FLOPs; after
    all complete trials, those that were dropped, the latest first, since one noisy score was enough
    to drop them. Several: the front, nearest to its ideal corner first.
    """
    trials = complete(study)
    if len(objectives) > 1:
        found = front(trials, objectives)
        distance = from_ideal([losses_of(t.values, objectives) for t in found])
        return [found[i] for i in np.argsort(distance, kind="stable")[:n]]

    def key(trial: FrozenTrial) -> tuple[float, ...]:
        attrs = trial.user_attrs
        if trial.state == TrialState.PRUNED:
            last = max(trial.intermediate_values)
            (loss,) = losses_of([trial.intermediate_values[last]], objectives)
            return (1, -last, loss, attrs.get("flops", math.inf), place_of(trial))
        (loss,) = losses_of(trial.values, objectives)
        return (
            0, loss, attrs.get("loss", math.inf), attrs.get("flops", math.inf), place_of(trial),
        )  # fmt: skip

    return sorted([*trials, *_dropped(study)], key=key)[:n]


def _dropped(study: Study) -> list[FrozenTrial]:
    """Pruned trials that have a finite score."""
    pruned = study.get_trials(deepcopy=False, states=[TrialState.PRUNED])
    return [
        t for t in pruned
        if t.intermediate_values
        and math.isfinite(t.intermediate_values[max(t.intermediate_values)])
    ]  # fmt: skip


def from_ideal(losses: Sequence[tuple[float, ...]]) -> list[float]:
    """How far each point is from the best of each objective, all scaled to the front's range."""
    if not losses:
        return []
    points = np.array(losses, float)
    low, spread = points.min(axis=0), np.ptp(points, axis=0)
    scaled = (points - low) / np.where(spread > 0, spread, 1.0)
    return [float(x) for x in np.sqrt((scaled**2).sum(axis=1))]


def train_again(study: Study, shop: Workshop, trials: Sequence[FrozenTrial]) -> None:
    """Train each of the best with fresh seeds, keeping weights and result of each at once.

    Raises:
        Interrupted: the caller stopped it.
    """
    from archspec.search.candidate import caught
    from archspec.search.trained import keeper

    known = study.user_attrs
    for place, trial in enumerate(trials, 1):
        for number in FINALIST_SEEDS:
            seed = shop.settings.seed + _FRESH * number
            key = f"{FINALIST}{trial.number}:{seed}"
            if key in known:
                continue
            shop.listener.finalist(trial.number, place, len(trials), seed)
            spec = shop.feasible.space.spec_of(shop.feasible.space.row(trial.params))
            found: dict[str, Any]
            try:
                result = shop.train(
                    spec, seed, _teller(shop, trial.number), keeper(shop, spec, seed)
                )
                found = {"accuracy": result.accuracy, "loss": result.history[-1].loss}
            except caught() as error:
                shop.listener.note(str(error))
                found = {"accuracy": None, "fault": str(error)}
            study.set_user_attr(key, json.dumps(found))
            shop.forget(spec, seed)
            shop.listener.finalist_ended(trial.number, seed, found["accuracy"])


def _teller(shop: Workshop, number: int) -> Any:
    return lambda epoch: shop.listener.epoch(number, epoch.number, epoch.accuracy)


def results_of(attrs: Mapping[str, Any]) -> dict[int, dict[int, dict[str, Any]]]:
    """Trial → seed → what came out, as `train_again` kept it; an accuracy of None is a failure."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for key, value in attrs.items():
        if key.startswith(FINALIST):
            number, seed = map(int, key.removeprefix(FINALIST).split(":"))
            found.setdefault(number, {})[seed] = json.loads(value)
    return found


def finalists(attrs: Mapping[str, Any]) -> dict[int, dict[int, dict[str, float]]]:
    """Trial → seed → result, of the trainings that came to their end."""
    found = {
        number: {seed: result for seed, result in seeds.items() if result["accuracy"] is not None}
        for number, seeds in results_of(attrs).items()
    }
    return {number: seeds for number, seeds in found.items() if seeds}


def finalist_records(attrs: Mapping[str, Any]) -> tuple[Finalist, ...]:
    return tuple(
        Finalist(number, {seed: result["accuracy"] for seed, result in sorted(seeds.items())})
        for number, seeds in sorted(finalists(attrs).items())
    )


def choose(study: Study, objectives: Sequence[Objective], n: int) -> tuple[FrozenTrial | None, str]:
    """The winner, and the rule by which it is one; None while no training came to its end."""
    candidates = best(study, objectives, max(n, 1))
    again = finalists(study.user_attrs)
    fresh = [trial for trial in candidates if trial.number in again]

    def mean(trial: FrozenTrial, what: str) -> float:
        results = [result[what] for result in again[trial.number].values()]
        return sum(results) / len(results)

    if len(objectives) == 1 and fresh:
        winner = min(
            fresh, key=lambda t: (-mean(t, "accuracy"), mean(t, "loss"), candidates.index(t))
        )
        return winner, _rule(fresh)
    candidates = [trial for trial in candidates if trial.state == TrialState.COMPLETE]
    if not candidates:
        return None, ""
    if len(objectives) == 1:
        word = "highest" if objectives[0].direction == "maximize" else "lowest"
        return candidates[0], f"the {word} {objectives[0].name}"
    names = " and ".join(objective.name for objective in objectives)
    rule = f"the network of the front nearest to its best {names}, each scaled to its range"
    losses = [losses_of(trial.values, objectives) for trial in candidates]
    if fresh and "accuracy" in [o.name for o in objectives]:
        at = [o.name for o in objectives].index("accuracy")
        which = "the one network" if len(fresh) == 1 else f"the {len(fresh)} networks"
        rule = (
            f"of {which} of the front that had a fresh training, the nearest to its best {names}, "
            "each scaled to its range"
        )
        candidates = fresh
        losses = []
        for trial in fresh:
            values = list(trial.values)
            values[at] = mean(trial, "accuracy")
            losses.append(losses_of(values, objectives))
    return candidates[int(np.argmin(from_ideal(losses)))], rule


def _rule(fresh: Sequence[FrozenTrial]) -> str:
    """By which the winner of the finalists was chosen."""
    dropped = sum(trial.state == TrialState.PRUNED for trial in fresh)
    if len(fresh) == 1:
        where = ", though dropped early" if dropped else ""
        return f"the only finalist{where}, trained again in full with a fresh seed"
    which = f"the best {len(fresh)}"
    if dropped:
        which += f" ({dropped} of them dropped early)"
    return (
        f"the highest accuracy of {which}, trained again in full with fresh seeds "
        "(of equal ones, the lower loss)"
    )
