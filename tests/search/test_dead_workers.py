"""Workers that are killed or frozen cost the study nothing: others take up what they were at."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from archspec.search.retries import WORKER
from tests.search import searches
from tests.search.shared import STUDY, Crew, Ways, attempts, until, workers_of
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


def test_the_cut_trial_goes_on_from_its_last_epoch_at_another_worker(
    tmp_path: Path, url: str
) -> None:
    """And the study comes to what it would have come to."""
    assert (
        searches.run_to(searches.killed_at, tmp_path, "epoch", 3, {"storage": url})
        == -signal.SIGKILL
    )
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
