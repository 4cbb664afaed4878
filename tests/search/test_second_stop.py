"""Ctrl-C while workers search: the first waits for their step, the second for nobody."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import pytest

from archspec.search import crew
from archspec.search.listener import Listener
from tests.search import searches


def stopped(monkeypatch: pytest.MonkeyPatch, should_stop: Callable[[], bool]) -> tuple[float, int]:
    """Interrupt a crew of one worker that never ends by itself.

    Returns:
        The seconds that it was given, and how its process ended.
    """
    process, waited = searches.start(time.sleep, 600), []
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
