"""Each trial that has ended is worked out once, however often a study is asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event

from archspec.search import retries
from archspec.search.budgets import budget
from archspec.search.candidate import suggest
from archspec.search.database import connected
from archspec.search.feasibility import FeasibleSet, feasible
from archspec.search.patience import PatientStorage
from archspec.search.samplers import history as histories
from archspec.search.samplers import samplers
from archspec.search.samplers.base import distributions
from archspec.search.samplers.history import OUTCOME, RETRY_OF, history
from archspec.search.space import Space

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@pytest.fixture(scope="module")
def networks() -> FeasibleSet:
    return feasible(Space("smlpnet_space"), budget("5GFLOPs"))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[PatientStorage]:
    with connected(f"sqlite:///{tmp_path}/study.db", shared=True) as found:
        yield found


def make(networks: FeasibleSet, storage: PatientStorage | None = None) -> Study:
    return optuna.create_study(
        study_name="study", storage=storage, direction="maximize",
        sampler=samplers()["tpe"](networks, 0),
    )  # fmt: skip


def fill(study: Study, networks: FeasibleSet, count: int) -> None:
    kinds, there = distributions(networks.space), len(study.get_trials(deepcopy=False))
    for i, row in enumerate(networks.sample(count, np.random.default_rng(there)).tolist()):
        state = STATES[i % 3]
        study.add_trial(
            create_trial(
                state=state, value=None if state == TrialState.FAIL else float(i),
                params=networks.space.choices(row), distributions=kinds,
                intermediate_values={1: i / 2, 2: i / 3},
                user_attrs={OUTCOME: "diverged"} if state == TrialState.FAIL else {},
            )
        )  # fmt: skip


def begin(study: Study, networks: FeasibleSet) -> optuna.Trial:
    trial = study.ask()
    suggest(trial, networks)
    return trial


def recover(study: Study, storage: PatientStorage, networks: FeasibleSet) -> list[int]:
    names = [dim.name for dim in networks.space.dims]
    return retries.recover(study, storage, names, lambda trial: False)


def test_each_ended_trial_is_worked_out_once(
    networks: FeasibleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(networks)
    fill(study, networks, 12)
    worked_out: list[int] = []

    def told(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: object, trial: FrozenTrial) -> Any:
            worked_out.append(trial.number)
            return method(self, trial)

        return call

    for kind in (retries.Attempts, histories._Digests):
        monkeypatch.setattr(kind, "add", told(kind.add))

    def ask() -> list[int]:
        worked_out.clear()
        retries.finished(study), retries.taken(study), history(study, networks.space)
        return sorted(worked_out)

    assert ask() == sorted([*range(12)] * 2)  # by each of the two
    assert ask() == []
    first, second = begin(study, networks), begin(study, networks)
    assert ask() == []
    study.tell(second, 1.0)  # the later one ends first
    assert ask() == [13, 13]
    study.tell(first, 1.0)
    assert ask() == [12, 12]
    assert ask() == []
    assert retries.finished(study) == 14


def test_what_was_added_up_is_what_a_fresh_look_finds(
    networks: FeasibleSet, storage: PatientStorage
) -> None:
    """Whatever happens in between, and in whatever order trials end."""
    study = make(networks, storage)
    fill(study, networks, 9)
    random = np.random.default_rng(0)
    running: list[optuna.Trial] = []
    for _ in range(25):
        what = random.integers(4)
        if what < 2 or not running:
            running.append(begin(study, networks))
        else:
            trial = running.pop(int(random.integers(len(running))))
            if what == 2:
                trial.report(0.5, 1)
                study.tell(trial, float(random.random()))
            else:
                study.tell(trial, state=TrialState.FAIL)  # cut
                recover(study, storage, networks)
        fresh = optuna.load_study(study_name="study", storage=storage)
        for before in (None, 10):
            one, other = (history(s, networks.space, before) for s in (study, fresh))
            assert one.rows.tobytes() == other.rows.tobytes()
            assert one.ranks.tobytes() == other.ranks.tobytes()
            assert one.losses.tobytes() == other.losses.tobytes()
            assert (one.seen, one.asked) == (other.seen, other.asked)
        trials = fresh.get_trials()
        places = {retries.place_of(t) for t in trials if not retries.is_cut(t)}
        open_ = {retries.place_of(t) for t in trials if not t.state.is_finished()}
        assert retries.taken(study) == len(places)
        assert retries.finished(study) == len(places - open_)
    assert any(RETRY_OF in trial.system_attrs for trial in study.get_trials())


def test_statements_for_a_trial_do_not_grow(networks: FeasibleSet, storage: PatientStorage) -> None:
    study, counter = make(networks, storage), itertools.count()
    event.listen(storage.engine, "before_cursor_execute", lambda *_: next(counter))

    def statements() -> int:
        start = next(counter)
        recover(study, storage, networks)
        retries.taken(study)
        study.tell(begin(study, networks), 1.0)
        retries.finished(study)
        return next(counter) - start

    fill(study, networks, 12)
    statements()  # the first look
    few = statements()
    fill(study, networks, 90)
    statements()
    assert statements() == few
