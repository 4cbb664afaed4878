"""Timing side by side: rounds that take turns, so that a disturbance meets all alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archspec.clock import Clock, Task, wall


@dataclass(frozen=True)
class Quartiles:
    """A figure over several rounds: a quarter of them lies below `low`, a quarter above `high`."""

    low: float
    median: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high, len(values))


def interleave(
    tasks: Mapping[str, Task], rounds: int, *, warmup: int = 1, clock: Clock = wall
) -> dict[str, list[float]]:
    """Seconds of each task in each round; who goes first changes from round to round."""
    for _ in range(warmup):
        for task in tasks.values():
            task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(clock(tasks[name]))
    return seconds


def rate(seconds: Sequence[float], amount: float = 1.0) -> Quartiles:
    """How much is done in a second, when each round does `amount`."""
    return Quartiles.of([amount / each for each in seconds])


def ratio(above: Sequence[float], below: Sequence[float]) -> Quartiles:
    """The quotient of two tasks' seconds, round by round."""
    return Quartiles.of([a / b for a, b in zip(above, below, strict=True)])


def difference(left: Sequence[float], right: Sequence[float]) -> Quartiles:
    """`left` minus `right`, round by round."""
    return Quartiles.of([a - b for a, b in zip(left, right, strict=True)])


def show(value: Any) -> str:
    """Three significant digits, with thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
