"""Workers that are killed or frozen cost the study nothing: others take up what they were at."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from archspec.search.retries import TWIN, WORKER, taken
from benchmarks.postgres import Server
from tests.processes import run_to
from tests.search import searches
from tests.search.crews import Crew, attempts, workers_of
from tests.search.shared import PATIENCE, STUDY, Ways, until
from tests.search.test_faults import Ears

# -- kill -9 ---------------------------------------------------------------------------------------


def test_a_killed_worker_s_trial_is_taken_up_by_another(any_crew: Crew) -> None:
    """At once, on the same machine: nobody waits for its signs of life to end."""
    crew = any_crew
    crew.close_gate()
    crew.start(3)
    victim, network = crew.began(3)[1]
    kept = crew.complete()
    crew.kill(next(p for p in crew.processes if p.pid == victim))
    crew.open_gate()
    assert crew.join() == [0, 0]
    trials = crew.check(kept)
    ((place, (first, again)),) = attempts(trials).items()
    assert trials[again].params == trials[first].params
    assert trials[again].user_attrs[WORKER] != trials[first].user_attrs[WORKER]
    assert next(pid for pid, digest in crew.log.of("began") if digest == network) == victim
    assert place == first


def test_all_workers_are_killed_and_the_same_command_goes_on(any_crew: Crew) -> None:
    crew = any_crew
    crew.close_gate()
    workers = crew.start(3)
    crew.let_through(4)
    crew.began(7)
    kept = crew.complete()
    for process in workers:
        crew.kill(process)
    crew.open_gate()
    crew.start(2)
    assert crew.join() == [0, 0]
    trials = crew.check(kept)
    assert sorted(map(len, attempts(trials).values())) == [2, 2, 2]


def test_workers_are_killed_between_any_two_statements(any_crew: Crew) -> None:
    """While one lives: as they open the study, in their turn, as they tell a result."""
    crew, draw = any_crew, random.Random(4)
    crew.trials = 40
    crew.start(1)
    mortal = [
        crew.start(1, Ways(dies_at=draw.randint(low, low + 30)))[0] for low in range(1, 240, 30)
    ]
    crew.dead |= {process.pid for process in mortal}
    for process in crew.processes:
        process.join(PATIENCE)
    codes = [process.exitcode for process in mortal]
    assert codes.count(-signal.SIGKILL) >= 5, codes
    assert crew.join() == [0]
    crew.check()


def test_the_cut_trial_goes_on_from_its_last_epoch_at_another_worker(
    tmp_path: Path, url: str
) -> None:
    """And the study comes to what it would have come to."""
    assert run_to(searches.killed_at, tmp_path, "epoch", 3, {"storage": url}) == -signal.SIGKILL
    heard = Ears()
    outcome = searches.search(tmp_path, storage=url, listener=heard)
    assert heard.of("resumed") == [(0, 1)]
    first = heard.events.index("step")
    assert heard.events[:first].count("epoch") == 3, "those of the checkpoint are told again"
    assert heard.events[first:].index("ended") == 9 + 1, "one epoch of nine steps was left"
    assert searches.facts(outcome) == searches.facts(searches.search(tmp_path / "straight"))


# -- a crew and its parent -------------------------------------------------------------------------


def is_there(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def are_gone(pids: Iterable[int]) -> bool:
    return not any(map(is_there, pids))


def test_a_crew_whose_workers_and_whose_parent_are_killed(tmp_path: Path) -> None:
    """A killed worker is started again; without their parent the workers stop."""
    for crew in workers_of(tmp_path, f"sqlite:///{tmp_path}/runs/{STUDY}/study.db", 8):
        crew.close_gate()
        (parent,) = crew.start(1, workers=2, storage=None)
        victim, _ = crew.began(2)[0]
        psutil.Process(victim).kill()
        crew.dead.add(victim)
        crew.began(3)
        assert [text for pid, text in crew.heard("note")] == [
            f"worker {number} ended (SIGKILL); it is started again"
            for number in (1, 2)
            if f"worker {number} " in crew.log.of("note")[0][1]
        ]
        crew.kill(parent)
        workers = {pid for pid, _ in crew.log.of("began")}
        crew.dead |= workers
        crew.let_through(2)  # a function that computes is not interrupted
        until(partial(are_gone, workers), "workers that stop without their parent")
        assert len(crew.log.of("began")) == 3, "none of them began another"
        kept = crew.complete()
        assert len(kept) == 2
        crew.open_gate()
        crew.start(1, workers=2, storage=None)
        assert crew.join() == [0]
        crew.check(kept)


# -- frozen ----------------------------------------------------------------------------------------


@pytest.fixture
def long(tmp_path: Path, url: str) -> Iterator[Crew]:
    yield from workers_of(tmp_path, url, 60, Ways(grace=3))


def test_a_worker_frozen_past_its_heartbeat_is_taken_over_and_goes_on(long: Crew) -> None:
    crew = long
    crew.close_gate()
    sleeper, _other = crew.start(2)
    (network,) = [digest for pid, digest in crew.began(2) if pid == sleeper.pid]
    crew.freeze(sleeper)

    def began(about: Any) -> bool:
        return any(about(pid, digest) for pid, digest in crew.log.of("began"))

    step_until(crew, lambda: began(lambda pid, digest: pid != sleeper.pid and digest == network))
    crew.wake(sleeper)
    step_until(crew, lambda: began(lambda pid, digest: pid == sleeper.pid and digest != network))
    crew.open_gate()
    assert crew.join() == [0, 0]
    trials = crew.check()
    ((place, (first, _again)),) = attempts(trials).items()
    assert crew.log.of("note") == [
        (sleeper.pid, f"trial {first} was taken over by another worker, since this one gave no "
                      "sign of life")
    ]  # fmt: skip
    assert place == first


def step_until(crew: Crew, holds: Any) -> None:
    """Let one trial after the other end until something is so."""
    import time

    def step() -> bool:
        if holds():
            return True
        if not any(crew.gate.iterdir()):
            crew.let_through(1)
        time.sleep(0.3)
        return False

    until(step)


def test_a_worker_frozen_in_its_turn_holds_up_nobody_for_long(tmp_path: Path, url: str) -> None:
    """The database takes the turn from it; its trial, of no network yet, is taken for dead."""
    for crew in workers_of(tmp_path, url, 12, Ways(grace=3, turn=2)):
        (sleeper,) = crew.start(1, Ways(grace=3, turn=2, freezes=True))
        crew.frozen.add(sleeper.pid)
        crew.heard("choosing")
        (other,) = crew.start(1)
        other.join(120)
        assert other.exitcode == 0
        crew.wake(sleeper)
        assert crew.join() == [0, 0]
        trials = crew.check()
        assert [trial.number for trial in trials if not trial.params] == [0]


def test_of_two_workers_that_chose_one_network_one_gives_it_up(
    tmp_path: Path, url: str, server: Server
) -> None:
    """The turn of one was lost after it had chosen, and before the others could know what."""
    few = {"budget": "1k..4k"}  # nine networks
    for crew in workers_of(tmp_path, url, 9):
        (sleeper,) = crew.start(1, Ways(freezes=True), **few)
        crew.heard("choosing")
        server.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        crew.start(1, **few)
        crew.heard("ended", 8)  # the ninth is the sleeper's
        crew.wake(sleeper)
        assert crew.join() == [0, 0]
        trials = crew.check()
        assert [trial.number for trial in trials if TWIN in trial.user_attrs] == [0]
        assert trials[0].params in [trial.params for trial in trials[1:9]]


# -- how many there are ----------------------------------------------------------------------------


def test_a_trial_that_ends_while_networks_are_counted_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a worker that looks at that moment would begin one too many."""
    study = optuna.create_study()
    study.tell(study.ask(), 1.0)
    ending, look = [study.ask()], study.get_trials

    def looked(*given: Any, **more: Any) -> Any:
        found = look(*given, **more)
        if ending:
            study.tell(ending.pop(), 1.0)
        return found

    monkeypatch.setattr(study, "get_trials", looked)
    assert taken(study) == 2
    assert ending == []
    assert taken(study) == 2
    study.enqueue_trial({})
    assert taken(study) == 3
