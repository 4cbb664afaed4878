"""A storage whose database goes away at the worst moments: each call is made once, in the end."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import event, exc

from archspec.search import database, patience, retries
from archspec.search.errors import StudyError
from archspec.search.patience import Patience, PatientStorage, is_away


class Fault:
    """Loses the connection before or after the next commits, as a restart does."""

    def __init__(self, storage: PatientStorage) -> None:
        self.storage, self.left, self.when = storage, 0, ""
        self.writing, self._wrote = True, False

        def execute(*given: Any) -> None:
            self._wrote |= not given[2].lstrip().startswith(("SELECT", "PRAGMA"))

        def commit(connection: Any) -> None:
            wrote, self._wrote = self._wrote, False
            if not self.left or (self.writing and not wrote):
                return
            self.left -= 1
            if self.when == "after":
                connection.connection.dbapi_connection.commit()
            raise exc.OperationalError("COMMIT", None, Lost("the connection was lost"), None, True)

        event.listen(storage.engine, "before_cursor_execute", execute)
        event.listen(storage.engine, "commit", commit)

    def at(self, when: str, times: int = 1, *, writing: bool = True) -> None:
        """Let it happen.

        Args:
            writing: only where something was written.
        """
        self.when, self.left, self.writing = when, times, writing


class Lost(Exception):
    """What a driver raises."""


pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST", 0.001)
    # Optuna itself makes a trial again after up to two seconds
    monkeypatch.setattr("optuna.storages._rdb.storage.random.random", lambda: 0.0)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def storage(tmp_path: Path, notes: list[str]) -> Iterator[PatientStorage]:
    patient = Patience("there", 30, notes.append)
    with database.connected(f"sqlite:///{tmp_path}/s.db", shared=True, patience=patient) as found:
        yield found


@pytest.fixture
def study(storage: PatientStorage) -> Study:
    with database.quiet():
        return optuna.create_study(study_name="s", storage=storage, direction="maximize")


@pytest.fixture
def fault(study: Study, storage: PatientStorage) -> Fault:
    return Fault(storage)


def key_of(storage: PatientStorage, number: int) -> int:
    return storage.get_trial_id_from_study_id_trial_number(1, number)


CALLS: dict[str, Callable[[Study, PatientStorage], Any]] = {
    "ask": lambda study, storage: study.ask(),
    "set_trial_param": lambda study, storage: storage.set_trial_param(
        key_of(storage, 0), "dim", 3.0, IntDistribution(1, 9)
    ),
    "set_trial_intermediate_value": lambda study, storage: storage.set_trial_intermediate_value(
        key_of(storage, 0), 2, 0.5
    ),
    "set_trial_user_attr": lambda study, storage: storage.set_trial_user_attr(
        key_of(storage, 0), retries.WORKER, "me"
    ),
    "set_study_user_attr": lambda study, storage: study.set_user_attr("a", 1),
    "tell": lambda study, storage: study.tell(0, 0.25),
    "add_trial": lambda study, storage: study.enqueue_trial({"dim": 4}),
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_answer_is_lost_is_made_again(
    call: str, when: str, times: int, study: Study, storage: PatientStorage, fault: Fault
) -> None:
    study.ask()
    fault.at(when, times)
    CALLS[call](study, storage)
    assert fault.left < times
    first, *others = study.get_trials()
    if call == "set_trial_param":
        assert first.params == {"dim": 3}
    elif call == "set_trial_intermediate_value":
        assert first.intermediate_values == {2: 0.5}
    elif call == "set_trial_user_attr":
        assert first.user_attrs == {retries.WORKER: "me"}
    elif call == "set_study_user_attr":
        assert study.user_attrs == {"a": 1}
    elif call == "tell":
        assert (first.state, first.value) == (TrialState.COMPLETE, 0.25)
    elif when == "before":
        assert len(others) == 1
    # after: nobody can tell one's own from another worker's; what is too many is found dead
    assert others == [] or call in ("ask", "add_trial")


def test_what_was_queued_twice_is_run_once(
    study: Study, storage: PatientStorage, fault: Fault
) -> None:
    trial = study.ask({"dim": IntDistribution(1, 9)})
    study.tell(trial, state=TrialState.FAIL)
    fault.at("after", 2)
    retries.recover(study, storage, ["dim"], lambda trial: False)
    waiting = study.get_trials(states=[TrialState.WAITING])
    assert len(waiting) == 3
    assert {retries.place_of(trial) for trial in waiting} == {0}
    retries.recover(study, storage, ["dim"], lambda trial: False)
    assert [t.number for t in study.get_trials(states=[TrialState.WAITING])] == [1]
    again = study.ask({"dim": IntDistribution(1, 9)})
    assert again.params == trial.params
    study.tell(again, 1.0)
    assert retries.recover(study, storage, ["dim"], lambda trial: False) == []
    assert (retries.finished(study), retries.taken(study)) == (1, 1)


def test_a_queued_trial_does_not_say_that_it_runs_at_its_dead_worker(
    study: Study, storage: PatientStorage
) -> None:
    trial = study.ask({"dim": IntDistribution(1, 9)})
    trial.set_user_attr(retries.WORKER, "elsewhere")
    study.tell(trial, state=TrialState.FAIL)
    retries.recover(study, storage, ["dim"], lambda trial: False)
    again = study.ask()
    assert study.get_trials()[again.number].user_attrs == {}


def test_another_worker_s_result_is_not_taken_for_one_s_own(
    study: Study, storage: PatientStorage, fault: Fault
) -> None:
    """The answer is lost, and meanwhile the trial was failed by another."""
    key = key_of(storage, study.ask().number)
    tell = storage.set_trial_state_values
    study.get_trials()
    fault.at("before")
    original = Patience._wait

    def meanwhile(self: Patience, seconds: float) -> None:
        with sqlite3.connect(storage.engine.url.database) as file:
            file.execute("UPDATE trials SET state = 'FAIL'")
        original(self, seconds)

    storage.patience._wait = meanwhile.__get__(storage.patience)  # type: ignore[method-assign]
    with pytest.raises(UpdateFinishedTrialError):
        tell(key, TrialState.COMPLETE, [1.0])


def test_a_finished_trial_is_not_changed_without_a_fault(
    study: Study, storage: PatientStorage
) -> None:
    study.tell(study.ask(), 1.0)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(key_of(storage, 0), TrialState.COMPLETE, [1.0])


# -- how long --------------------------------------------------------------------------------------


def test_patience_ends(study: Study, storage: PatientStorage, fault: Fault) -> None:
    storage.patience.limit = 0.05
    fault.at("before", 10**6, writing=False)
    with pytest.raises(StorageInternalError):
        storage.get_all_trials(1)
    assert fault.left < 10**6 - 2
    fault.left = 0
    assert storage.get_all_trials(1) == []


def test_a_worker_that_is_to_stop_does_not_wait(
    study: Study, storage: PatientStorage, fault: Fault
) -> None:
    storage.patience.should_stop = lambda: True
    fault.at("before", 10, writing=False)
    with pytest.raises(StorageInternalError):
        storage.get_all_trials(1)
    assert fault.left == 9


def test_notes_are_given_once(
    study: Study, storage: PatientStorage, fault: Fault, notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(patience, "_LONGEST", 0.004)
    for _ in range(2):
        notes.clear()
        fault.at("before", 8, writing=False)
        study.get_trials()
        assert notes == [
            "there does not answer; trying again for up to 30 s",
            "there answers again, after 0 s",
        ]
    notes.clear()
    fault.at("before", 1, writing=False)
    study.get_trials()
    assert notes == [], "a moment is nothing to speak of"


def test_only_the_outermost_call_is_made_again(
    study: Study, storage: PatientStorage, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each level would have patience of its own, and make the whole wait their product."""
    asked = []
    read = optuna.storages.RDBStorage.get_trial

    def counted(self: Any, key: int) -> Any:
        asked.append(key)
        return storage.patience.call(storage, read, key)

    key = key_of(storage, study.ask().number)
    fault.at("before", 2, writing=False)
    assert storage.patience.call(storage, counted, key).number == 0
    assert asked == [key] * 3


def test_it_is_known_when_the_database_came_back(
    study: Study, storage: PatientStorage, fault: Fault
) -> None:
    study.get_trials()
    time.sleep(0.2)
    assert storage.patience.steady() >= 0.2
    before = time.monotonic()
    fault.at("before", writing=False)
    study.get_trials()
    assert storage.patience.steady() <= time.monotonic() - before


def test_a_lost_sign_of_life_is_noticed_though_no_call_failed(
    study: Study, storage: PatientStorage, fault: Fault
) -> None:
    """The others' were lost as well: they must be given the time for the next."""
    key = key_of(storage, study.ask().number)
    fault.at("before")
    storage.record_heartbeat(key)  # raises nothing
    assert storage.patience.missed
    assert storage.patience.steady() == 0
    before = time.monotonic()
    study.get_trials()
    assert not storage.patience.missed
    assert storage.patience.steady() <= time.monotonic() - before


# -- what counts -----------------------------------------------------------------------------------


def wrapped(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as cause:
            raise StorageInternalError("in the commit") from cause
    except StorageInternalError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (exc.OperationalError("q", None, Lost("refused")), True),
        (exc.InterfaceError("q", None, Lost("closed")), True),
        (exc.DBAPIError("q", None, Lost("gone"), connection_invalidated=True), True),
        (exc.OperationalError("q", None, sqlite3.OperationalError("database is locked")), True),
        (exc.OperationalError("q", None, sqlite3.OperationalError("disk is full")), False),
        (exc.IntegrityError("q", None, Lost("twice")), False),
        (exc.ProgrammingError("q", None, Lost("no such table")), False),
        (ValueError("something else"), False),
    ],
)
def test_what_is_taken_for_a_lost_connection(error: Exception, away: bool) -> None:
    assert is_away(error) is away
    assert is_away(wrapped(error)) is away


def test_a_hidden_loss_is_seen() -> None:
    """Optuna asks again where a query fails, and SQLAlchemy says then that it may not."""
    hidden = exc.PendingRollbackError("roll back first")
    assert not is_away(hidden), "after a failed flush"
    hidden.__context__ = exc.OperationalError("q", None, Lost("closed"))
    assert is_away(hidden)
    assert is_away(wrapped(hidden))


def test_a_database_that_never_answered_is_given_up_at_once() -> None:
    began = time.monotonic()
    patient = Patience("there", 600)
    with pytest.raises(StudyError, match="cannot be reached"):
        database.connect("postgresql+psycopg://u:secret@127.0.0.1:1/d", patience=patient)
    assert time.monotonic() - began < 60


def test_a_worker_of_a_crew_waits_for_the_first_answer_too() -> None:
    """Its parent has had one."""
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    patient = Patience("there", 600, should_stop=should_stop, from_start=True)
    with pytest.raises(StudyError, match="cannot be reached"):
        database.connect("postgresql+psycopg://u:secret@127.0.0.1:1/d", patience=patient)
    assert len(asked) > 3
