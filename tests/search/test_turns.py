"""Turns are had by one at a time and by nobody who is dead, and so are places; who is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from archspec.search import database, workers
from archspec.search.kept import LOCK
from archspec.search.patience import Patience, PatientStorage
from archspec.search.retries import WORKER
from archspec.search.turns import Turn
from benchmarks.postgres import Server
from tests.processes import run_to, start
from tests.search.shared import until


def opened(url: str, limit: float = 60) -> PatientStorage:
    return database.connect(url, shared=True, patience=Patience("there", limit))


@pytest.fixture
def storages(any_url: str) -> Iterator[Callable[[], PatientStorage]]:
    """Each is another worker's."""
    made: list[PatientStorage] = []

    def another() -> PatientStorage:
        made.append(opened(any_url))
        return made[-1]

    yield another
    for storage in made:
        storage.remove_session()
        storage.engine.dispose()


def test_a_turn_is_one_worker_s(storages: Callable[[], PatientStorage]) -> None:
    ours, theirs, other = (
        Turn(storages(), "study"), Turn(storages(), "study"), Turn(storages(), "another")
    )  # fmt: skip
    assert ours.take(0)
    assert ours.take(0), "it is ours already"
    assert not theirs.take(0)
    assert other.take(0)
    theirs.give()  # not theirs: nothing happens
    assert not theirs.take(0)
    assert not ours.is_lost()
    ours.give()
    assert theirs.take(60)
    assert not ours.take(0)
    with other.taken() as got:
        assert got
    theirs.give()
    other.give()


def test_a_turn_is_given_back_where_its_block_fails(
    storages: Callable[[], PatientStorage],
) -> None:
    ours, theirs = Turn(storages(), "study"), Turn(storages(), "study")
    with pytest.raises(ZeroDivisionError), ours.taken():
        raise ZeroDivisionError
    assert theirs.take(60)
    theirs.give()


def test_patience_with_others_ends(storages: Callable[[], PatientStorage]) -> None:
    ours, theirs = Turn(storages(), "study"), Turn(storages(), "study")
    with ours.taken(), theirs.taken(patience=0.1) as got:
        assert not got
    assert ours.take(60)
    ours.give()


def test_where_nobody_else_is_it_is_always_one_s_turn() -> None:
    turn = Turn(None, "study")
    assert turn.take(0)
    assert turn.take(0)
    turn.give()


def hold(url: str, path: Path, ending: int) -> None:
    turn = Turn(opened(url), "study")
    assert turn.take()
    path.touch()
    os.kill(os.getpid(), ending)


def test_a_turn_ends_with_its_holder(any_url: str, tmp_path: Path) -> None:
    turn = Turn(opened(any_url), "study")
    assert run_to(hold, any_url, tmp_path / "held", signal.SIGKILL) == -signal.SIGKILL
    assert (tmp_path / "held").exists()
    assert turn.take(60)
    turn.give()


def test_a_turn_is_taken_from_a_frozen_holder(url: str, tmp_path: Path) -> None:
    ours, theirs = Turn(opened(url), "study", longest=0.5), Turn(opened(url), "study")
    assert ours.take(0)  # and does nothing more
    assert theirs.take(60)
    assert ours.is_lost()
    ours.give()
    assert not Turn(opened(url), "study").take(0)
    theirs.give()


def test_a_restarted_database_has_forgotten_whose_turn_it_is(url: str, server: Server) -> None:
    ours, theirs = Turn(opened(url), "study"), Turn(opened(url), "study")
    assert ours.take()
    server.restart("immediate")
    assert theirs.take()
    assert ours.is_lost()
    ours.give()
    assert not Turn(opened(url), "study").take(0)
    theirs.give()


# -- places ----------------------------------------------------------------------------------------


def sit(folder: Path, told: Path) -> None:
    with workers.placed(folder) as name:
        told.write_text(name)
        signal.pause()


def test_places_are_taken_in_order_and_are_free_again(tmp_path: Path) -> None:
    with workers.placed(tmp_path) as first, workers.placed(tmp_path) as second:
        assert first == workers.worker_at(tmp_path, 0)
        assert second == workers.worker_at(tmp_path, 1)
        assert not workers.is_gone(first, tmp_path)
        assert not workers.is_gone(second, tmp_path)
    assert workers.is_gone(second, tmp_path)
    with workers.placed(tmp_path) as again:
        assert again == first


def test_a_killed_worker_s_place_is_free(tmp_path: Path) -> None:
    told = tmp_path / "name"
    process = start(sit, tmp_path / "study", told)
    until(lambda: told.exists() and told.read_text())
    name = told.read_text()
    assert not workers.is_gone(name, tmp_path / "study")
    process.kill()
    process.join()
    assert workers.is_gone(name, tmp_path / "study")
    with workers.placed(tmp_path / "study") as again:
        assert again == name


# -- who is dead -----------------------------------------------------------------------------------


def running(number: int = 0, **attrs: Any) -> Any:
    trial = create_trial(state=TrialState.RUNNING, user_attrs=attrs)
    trial.number = number
    return trial


def test_who_is_taken_for_dead(tmp_path: Path) -> None:
    with workers.placed(tmp_path) as me, workers.placed(tmp_path) as alive:
        watch = workers.Watch(tmp_path, me, 600, lambda: 600)
        gone = workers.worker_at(tmp_path, 7)
        assert watch.is_dead(running(**{WORKER: gone}))
        assert watch.is_dead(running(**{WORKER: me})), "one asks between trials"
        assert not watch.is_dead(running(**{WORKER: alive}))
        # of other machines and folders its signs of life tell
        assert not watch.is_dead(running(**{WORKER: f"elsewhere:{tmp_path}#7"}))
        assert not watch.is_dead(running(**{WORKER: workers.worker_at(tmp_path / "b", 7)}))
        for odd in ("", "#", f"{workers.worker_at(tmp_path)}#x", "a:b#../../lock"):
            assert not watch.is_dead(running(**{WORKER: odd}))


def test_a_trial_of_a_search_of_its_own(tmp_path: Path) -> None:
    """It keeps the whole folder, and has no place in it."""
    from filelock import FileLock

    watch = workers.Watch(tmp_path, workers.worker_at(tmp_path, 0), 600, lambda: 600)
    trial = running(**{WORKER: workers.worker_at(tmp_path)})
    with FileLock(tmp_path / LOCK):
        assert not watch.is_dead(trial)
    assert watch.is_dead(trial)


def test_a_trial_that_never_said_where_it_runs_is_watched_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(workers.time, "monotonic", lambda: now)
    steady = 1000.0
    watch = workers.Watch(tmp_path, "me", 60, lambda: steady)
    assert not watch.is_dead(running(3))
    now += 59
    assert not watch.is_dead(running(3))
    assert not watch.is_dead(running(4)), "each has a while of its own"
    now += 2
    steady = 10.0  # the database was away meanwhile
    assert not watch.is_dead(running(3))
    steady = 61.0
    assert watch.is_dead(running(3))
    assert not watch.is_dead(running(4))
