"""What holds for every sampler of the registry, so that a new one is tested without being named."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import Trial, TrialState

from archspec.search.budgets import budget
from archspec.search.candidate import suggest
from archspec.search.errors import BudgetError
from archspec.search.feasibility import FeasibleSet, feasible
from archspec.search.samplers import samplers
from archspec.search.samplers.history import history
from archspec.search.space import Space
from archspec.spec import loads

SEARCH = Path(__file__).parent.parent.parent / "search"
NAMES = sorted(samplers())
TEXT = """
extends: smlpnet_t
input: {height: 32, width: 32}
classes: 10
vars: {dim: {choice: [8, 12, 16]}, depths: [{int: [1, 2]}, {int: [1, 3]}, 1, 1]}
stages:
  stage1: {vars: {mixer: {choice: [cross, local, skip]}, drop_path: {float: [0, 0.3]}}}
"""


@cache
def small(limit: str = "0.5M..2M") -> FeasibleSet:
    return feasible(Space(loads(TEXT)), budget(limit))


@cache
def large() -> FeasibleSet:
    return feasible(Space("smlpnet_space"), budget("5GFLOPs"))


Rate = Callable[[tuple[int, ...]], float]


def balance(row: tuple[int, ...]) -> float:
    """A smooth score with one best network."""
    return -sum((x - 3.0 - i) ** 2 for i, x in enumerate(row))


def make(
    name: str, found: FeasibleSet, *, seed: int = 0, directions: tuple[str, ...] = ("maximize",)
) -> Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=list(directions), sampler=samplers()[name](found, seed))  # type: ignore[arg-type]


def search(study: Study, found: FeasibleSet, n: int, rate: Rate = balance) -> None:
    def objective(trial: Trial) -> float | tuple[float, ...]:
        row = suggest(trial, found)
        values = [rate(row)] * len(study.directions)
        return values[0] if len(values) == 1 else (values[0], float(sum(row)))

    study.optimize(objective, n_trials=n)


def rows(study: Study, found: FeasibleSet) -> list[tuple[int, ...]]:
    return [found.space.row(trial.params) for trial in study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pick", [small, large], ids=["small", "large"])
def test_only_networks_inside_and_none_twice(name: str, pick: Callable[[], FeasibleSet]) -> None:
    found = pick()
    study = make(name, found)
    search(study, found, 25)
    tried = rows(study, found)
    assert len(set(tried)) == len(tried) == 25
    assert found.contains(np.array(tried)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_trials(name: str) -> None:
    found = large()
    studies = [make(name, found, seed=seed) for seed in (3, 3, 4)]
    for study in studies:
        search(study, found, 14)
    first, second, other = (rows(study, found) for study in studies)
    assert first == second
    assert first != other


@pytest.mark.parametrize("name", NAMES)
def test_a_new_sampler_object_goes_on_where_another_stopped(name: str) -> None:
    found = large()
    whole, cut = make(name, found), make(name, found)
    search(whole, found, 14)
    for n in (3, 9, 2):
        cut.sampler = samplers()[name](found, 0)
        search(cut, found, n)
    assert rows(cut, found) == rows(whole, found)


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_that_is_run_again_changes_nothing_after_it(name: str) -> None:
    found = large()
    whole, cut = make(name, found), make(name, found)
    search(whole, found, 13)
    search(cut, found, 11)
    trial = cut.ask()  # its process dies here
    suggest(trial, found)
    cut.tell(trial.number, state=TrialState.FAIL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(cut, cut.get_trials()[-1])
    search(cut, found, 2)
    again = rows(cut, found)
    assert again[11] == again[12]
    assert [*again[:11], *again[12:]] == rows(whole, found)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_found_and_then_none(name: str) -> None:
    found = small("1M..1.1M")
    assert found.count > 1
    inside = {row[:-1] for row in map(tuple, found.rows(np.arange(found.count)).tolist())}  # type: ignore[attr-defined]
    assert 1 < len(inside) < 20
    few = feasible(
        Space(loads(TEXT.replace(", drop_path: {float: [0, 0.3]}", ""))), budget("1M..1.1M")
    )
    assert few.count == len(inside)
    study = make(name, few)
    search(study, few, few.count)
    assert set(rows(study, few)) == inside
    with pytest.raises(
        BudgetError, match=r"^all \d+ networks inside 1M\.\.1\.1M FLOPs were tried$"
    ):
        search(study, few, 1)


@pytest.mark.parametrize("name", NAMES)
def test_pruned_and_failed_trials_are_learnt_from(name: str) -> None:
    found = small()
    study = make(name, found)

    def objective(trial: Trial) -> float:
        row = suggest(trial, found)
        trial.report(balance(row), 1)
        if trial.number % 3 == 1:
            raise optuna.TrialPruned
        if trial.number % 3 == 2:
            trial.set_user_attr("outcome", "diverged")
            raise ValueError
        return balance(row)

    study.optimize(objective, n_trials=24, catch=(ValueError,))
    past = history(study, found.space)
    assert past.results == past.asked == 24
    states = [trial.state for trial in study.get_trials()]
    kinds = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    best = [past.ranks[[s == kind for s in states]] for kind in kinds]
    assert best[0].max() < best[1].min()
    assert best[1].max() < best[2].min()
    assert found.contains(np.array(rows(study, found))).all()


@pytest.mark.parametrize("name", NAMES)
def test_several_objectives(name: str) -> None:
    found = small()
    study = make(name, found, directions=("maximize", "minimize"))
    search(study, found, 22)
    assert len(set(rows(study, found))) == 22
    assert found.contains(np.array(rows(study, found))).all()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"uniform"}))
def test_it_learns(name: str) -> None:
    """What it proposes after 30 trials is better than what it proposed at random at first."""
    found = large()
    for seed in range(2):
        study = make(name, found, seed=seed)
        search(study, found, 40)
        values = [trial.values[0] for trial in study.get_trials()]
        assert np.mean(values[30:]) > np.mean(values[:10]) + np.std(values[:10]) / 2


def private_uses(source: str) -> list[str]:
    """Imports of Optuna's private modules, and private attributes of studies and trials."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [name for name in names if name.startswith("_")]
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr[1:2] != "_":
            owner = node.value
            if isinstance(owner, ast.Name) and owner.id in ("study", "trial", "optuna", "storage"):
                found.append(f"{owner.id}.{node.attr}")
    return found


def test_nothing_private_of_optuna_is_used() -> None:
    for path in SEARCH.rglob("*.py"):
        assert private_uses(path.read_text()) == [], path


def test_that_check_can_fail() -> None:
    source = "from optuna._x import y\ndef f(study): return study._storage"
    assert private_uses(source) == ["_x", "study._storage"]
