"""The benchmarks of samplers: what networks are worth, who is compared, and what is reported."""

from __future__ import annotations

import numpy as np
import pytest

from archspec.search.budgets import budget
from archspec.search.feasibility import feasible
from archspec.search.samplers import samplers
from archspec.search.space import Space
from benchmarks import feasible as counting
from benchmarks import samplers as bench
from benchmarks.registry import find_all
from benchmarks.samplers import SCORES, Contestant, Task, contestants

WINDOW = "4.9999G..5G"


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    found = feasible(Space(bench.SPACE), budget(WINDOW))
    return {name: Task(found, score) for name, score in SCORES.items()}


def test_they_are_found() -> None:
    assert {"samplers", "feasible"} <= set(find_all())


def test_everyone_is_compared() -> None:
    names = [contestant.name for contestant in contestants()]
    assert len(set(names)) == len(names)
    for name in samplers():
        assert f"archspec {name}" in names
    for stock in ("TPESampler", "GPSampler", "NSGAIISampler"):
        for way in ("constraint", "pruned"):
            assert any(stock in name and name.endswith(way) for name in names)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_scaled_by_the_best_and_the_mean_there_are(
    name: str, tasks: dict[str, Task]
) -> None:
    task = tasks[name]
    rows = task.feasible.rows(np.arange(task.feasible.count))
    values = task.of(rows)
    assert task.scaled(values.max()) == pytest.approx(1)
    assert task.scaled(values.mean()) == pytest.approx(0, abs=1e-9)
    assert task.worst == values.min()
    assert len(np.unique(values)) > len(values) / 50
    assert task.of(rows[7:8])[0] == values[7]  # the same alone as among others


def test_where_scores_are_best() -> None:
    one = (np.array([2, 4, 20, 3])[None], np.array([2, 3, 4, 3])[None])
    assert bench.balanced(np.array([72]), *one)[0] == 0
    assert bench.balanced(np.array([80]), *one)[0] < 0
    best = (np.array([1, 2, 3, 2])[None], np.array([2, 2, 2, 2])[None])
    assert bench.wide(np.array([136]), *best)[0] == 0
    assert bench.wide(np.array([112]), *best)[0] == -1


def picked() -> list[Contestant]:
    """All but the two that take seconds."""
    return [c for c in contestants() if "GPSampler" not in c.name and c.name != "archspec gp"]


@pytest.mark.parametrize("contestant", picked(), ids=lambda c: c.name)
def test_a_study(
    contestant: Contestant, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "TRIALS", 12)
    task = tasks["balanced"]
    found = bench.search(contestant, task, 0)
    assert found.best <= 1
    if contestant.outside == "never":
        assert found.wasted == 0
    else:  # one network in seven hundred thousand is inside so small a window
        assert found.wasted == 1
        assert found.best == task.scaled(task.worst)
    assert bench.search(contestant, task, 0).best == found.best


def test_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TRIALS": 11, "SEEDS": 2, "BUDGET": WINDOW}.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "SCORES", {"wide": SCORES["wide"]})
    monkeypatch.setattr(bench, "contestants", lambda: picked()[:2])
    rows = bench.run("cpu")
    assert [(row.figure, row.unit) for row in rows[:3]] == [
        ("best of 11 trials", "0 = mean inside the budget, 1 = best there is"),
        ("trials outside the budget", "%"),
        ("CPU time of one proposal", "ms"),
    ]
    assert rows[1].value.high == 0
    assert rows[0].value.rounds == 2


def test_counting_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ROUNDS": 1, "DRAWN": 100, "TRIALS": 12, "ASKS": 2}.items():
        monkeypatch.setattr(counting, name, value)
    rows = counting.run("cpu")
    assert rows[0].figure == "counted: 11,524,429 of 1,274,019,840"
    assert [row.figure.rpartition(" ")[2] for row in rows[3:]] == [*samplers()]
    assert all(row.value.median > 0 for row in rows)
