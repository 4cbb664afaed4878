"""Ctrl-C while workers search: the first waits for their step, but not for ever; the second for
nobody. Nor does the end of a study wait for a worker that is frozen."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archspec.search import crew
from archspec.search.listener import Listener
from tests.processes import start
from tests.search.crews import attempts, workers_of
from tests.search.shared import STUDY, Ways
from tests.search.test_faults import Ears


def stopped(monkeypatch: pytest.MonkeyPatch, should_stop: Callable[[], bool]) -> tuple[float, int]:
    """Interrupt a crew of one worker that never ends by itself.

    Returns:
        The seconds that it was given, and how its process ended.
    """
    process, waited = start(time.sleep, 600), []
    member = crew._Member(1, process, multiprocessing.Pipe()[0])
    whole = crew._stop

    def stop(members: Any, seconds: float) -> None:
        waited.append(seconds)
        whole(members, 0)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crew, "_start", lambda *_: member)
    monkeypatch.setattr(crew, "_stop", stop)
    monkeypatch.setattr(crew, "_look_after", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crew.work({"device": "cpu"}, 1, None, Listener(), should_stop)  # type: ignore[arg-type]
    (seconds,) = waited
    return seconds, process.exitcode


def test_the_second_one_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopped(monkeypatch, lambda: True) == (0, -9)


def test_the_first_one_waits_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopped(monkeypatch, lambda: False) == (crew.STOPS, -9)


def test_the_first_one_does_not_wait_for_ever(tmp_path: Path) -> None:
    """One worker is frozen, the other computes; both are killed, and the same command goes on."""
    for found in workers_of(tmp_path, f"sqlite:///{tmp_path}/runs/{STUDY}/study.db", 5):
        found.close_gate()
        (parent,) = found.start(1, Ways(stops=1), workers=2, storage=None)
        workers = [pid for pid, _ in found.began(2)]
        os.kill(workers[0], signal.SIGSTOP)
        os.kill(parent.pid, signal.SIGTERM)
        parent.join(120)
        assert parent.exitcode is not None
        assert sorted(text for _, text in found.log.of("note")) == [
            f"worker {number} did not stop in 1 s and was killed; the same command runs its trial "
            "again"
            for number in (1, 2)
        ]
        assert [text for _, text in found.log.of("error")] == [
            "interrupted with 0 of 5 trials done; no finished trial or epoch is lost |   the same "
            "command goes on"
        ]
        found.dead |= {parent.pid, *workers}
        found.forgive()
        found.open_gate()
        found.start(1, workers=2, storage=None)
        assert found.join() == [0]
        assert sorted(map(len, attempts(found.check()).values())) == [2, 2]


def test_the_end_does_not_wait_for_one_that_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one took its trial over, and the last network of the study has been tried."""
    monkeypatch.setattr(crew, "STOPS", 0.1)
    process, (ours, theirs), heard = start(time.sleep, 600), multiprocessing.Pipe(), Ears()
    os.kill(process.pid, signal.SIGSTOP)
    theirs.send(("ended", None, 3, 0.5))
    plan: Any = SimpleNamespace(trials=3)
    crew._look_after([crew._Member(1, process, ours)], {}, plan, heard, lambda: False)
    assert process.exitcode == -signal.SIGKILL
    assert heard.of("note") == [("worker 1 did not stop in 0.1 s and was killed",)]
