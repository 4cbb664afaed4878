"""No more workers are started than networks are left to try."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from archspec.search.listener import Listener
from archspec.search.searching import _enough


class _Notes(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("workers", "finished", "count", "notes"),
    [
        (4, 0, 4, []),
        (4, 3, 2, ["2 networks are left to try, and 2 workers are enough"]),
        (4, 4, 1, ["1 network is left to try, and 1 worker is enough"]),
        (4, 5, 0, []),
        (4, 6, 0, []),  # more were tried by an earlier call that asked for more
        (1, 4, 1, []),
    ],
)
def test_as_many_as_there_are_networks(
    workers: int, finished: int, count: int, notes: list[str]
) -> None:
    plan: Any = SimpleNamespace(trials=5, finished=finished)
    hear = _Notes()
    assert _enough(workers, plan, hear) == count
    assert hear.notes == notes
