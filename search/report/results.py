"""What the trials of a record came to: best so far, fronts, results that can be compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archspec.search.record import Record, TrialRecord


def main(record: Record) -> int:
    """Which objective a trial's result is read from: accuracy where it is one, or the first."""
    return record.objectives.index("accuracy") if "accuracy" in record.objectives else 0


def final(record: Record, trial: TrialRecord, objective: int) -> float | None:
    """A complete trial's value of an objective; None for any other, or if it is not finite."""
    if trial.state != "complete" or objective >= len(trial.values):
        return None
    value = trial.values[objective]
    return value if math.isfinite(value) else None


def settled(record: Record, trial: TrialRecord, objective: int) -> float | None:
    """`final`, or of a pruned finalist the mean accuracy of its whole trainings afterwards."""
    value = final(record, trial, objective)
    if value is None and trial.state == "pruned" and record.objectives[objective] == "accuracy":
        return next((f.mean for f in record.finalists if f.number == trial.number), None)
    return value


def last_rung(record: Record, trial: TrialRecord, objective: int) -> float | None:
    """A pruned trial's accuracy where it was stopped, if the objective is accuracy."""
    is_accuracy = record.objectives[objective] == "accuracy"
    if trial.state != "pruned" or not trial.rungs or not is_accuracy:
        return None
    value = trial.rungs[max(trial.rungs)]
    return value if math.isfinite(value) else None


def better(record: Record, objective: int, a: float, b: float) -> bool:
    """Whether `a` beats `b`."""
    return a > b if record.directions[objective] == "maximize" else a < b


def best_so_far(record: Record, objective: int) -> list[tuple[int, float]]:
    """Trial number and best complete value until then, at each improvement."""
    steps: list[tuple[int, float]] = []
    for trial in sorted(record.trials, key=lambda trial: trial.number):
        value = final(record, trial, objective)
        if value is not None and (not steps or better(record, objective, value, steps[-1][1])):
            steps.append((trial.number, value))
    return steps


def non_dominated(
    points: Sequence[tuple[float, float]], *, x_up: bool = False, y_up: bool = True
) -> list[int]:
    """Which points no other beats in both, from the best x on.

    Args:
        points: (x, y) pairs.
        x_up: whether more x is better; by default less is (FLOPs).
        y_up: whether more y is better.
    """
    signs = (-1 if x_up else 1, -1 if y_up else 1)
    costs = [(signs[0] * x, signs[1] * y) for x, y in points]
    order = sorted(range(len(points)), key=lambda index: costs[index])
    front: list[int] = []
    for index in order:
        if not front or costs[index][1] < costs[front[-1]][1]:
            front.append(index)
    return front


@dataclass(frozen=True)
class Target:
    """Results of several trials that mean the same thing, so that they can be compared."""

    name: str
    of: Mapping[int, float]
    """Trial number → result."""


def whole_training(record: Record) -> Target | None:
    """Accuracy after the whole training; None when accuracy was no objective."""
    if "accuracy" not in record.objectives:
        return None
    index = record.objectives.index("accuracy")
    values = {trial.number: final(record, trial, index) for trial in record.trials}
    known = {number: value for number, value in values.items() if value is not None}
    return Target("accuracy after the whole training", known)


def at_common_rung(record: Record) -> Target | None:
    """Accuracy at the latest epoch that all complete and pruned trials have reached.

    It compares pruned trials with complete ones fairly. None when there is no such epoch.
    """
    trials = [t for t in record.trials if t.state in ("complete", "pruned") and t.rungs]
    if not trials:
        return None
    common = set.intersection(*(set(trial.rungs) for trial in trials))
    if not common:
        return None
    epoch = max(common)
    known = {t.number: t.rungs[epoch] for t in trials if math.isfinite(t.rungs[epoch])}
    return Target(f"accuracy at epoch {epoch}", known)


def fresh_seeds(record: Record) -> Target | None:
    """The finalists' mean accuracy over fresh seeds; None without finalists."""
    known = {entry.number: entry.mean for entry in record.finalists if entry.accuracy}
    return Target("finalists’ mean accuracy over fresh seeds", known) if known else None


def targets(record: Record) -> list[Target]:
    """All kinds of trained results in the record; an early one only where trials were pruned."""
    found = [whole_training(record), at_common_rung(record), fresh_seeds(record)]
    kept = [target for target in found if target is not None and target.of]
    whole = whole_training(record)
    pruned = any(trial.state == "pruned" for trial in record.trials)
    if whole is not None and whole.of and not pruned:
        kept = [target for target in kept if not target.name.startswith("accuracy at epoch")]
    return kept


def summary(record: Record) -> dict[str, Any]:
    """The study in a few figures: what a terminal shows.

    Returns:
        `trials` (how many), `states` (state → how many), `outcomes` (why trials failed → how many),
        `best` (number, values, FLOPs and parameters of the best complete trial by accuracy,
        or else by the first objective; None without one), `winner` (likewise, and its `mean` over
        fresh seeds, if it was a finalist), `seconds` (of all trials together).
    """
    states = Counter(trial.state for trial in record.trials)
    failed = [trial for trial in record.trials if trial.state == "failed"]
    outcomes = Counter(trial.outcome or "unknown" for trial in failed)
    steps = best_so_far(record, main(record))
    best = _row(record, steps[-1][0]) if steps else None
    winner = _row(record, record.winner) if record.winner is not None else None
    if winner is not None:
        means = {entry.number: entry.mean for entry in record.finalists if entry.accuracy}
        winner["mean"] = means.get(winner["number"])
    return {
        "trials": len(record.trials),
        "states": dict(states),
        "outcomes": dict(outcomes.most_common()),
        "best": best,
        "winner": winner,
        "seconds": sum(trial.seconds or 0.0 for trial in record.trials),
    }


def _row(record: Record, number: int) -> dict[str, Any]:
    trial = record.trial(number)
    return {
        "number": number,
        "values": dict(zip(record.objectives, trial.values, strict=False)),
        "flops": trial.flops,
        "params": trial.params,
    }
