"""Who is told how a search goes: the terminal, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archspec.search.plan import Plan
    from archspec.search.record import Record, TrialRecord


class Listener:
    """Hears of everything and does nothing; override what is of interest."""

    def planned(self, plan: Plan) -> None:
        """Before any training: what is going to be done."""

    def resumed(self, finished: int, again: int) -> None:
        """A study that was there already: trials that have ended, and those that are run again."""

    def began(self, number: int, choices: Mapping[str, Any], cost: Mapping[str, int]) -> None:
        """A trial begins."""

    def step(self, step: int, steps: int) -> None:
        """A step of an epoch was taken."""

    def epoch(self, number: int, epoch: int, accuracy: float) -> None:
        """An epoch of a trial has ended."""

    def ended(self, trial: TrialRecord, finished: int, best: float | None) -> None:
        """A trial has ended; `best` is the best first objective so far."""

    def finalist(self, number: int, place: int, places: int, seed: int) -> None:
        """One of the best is trained again."""

    def finalist_ended(self, number: int, seed: int, accuracy: float | None) -> None:
        """It has its second result, or failed."""

    def busy(self, what: str) -> None:
        """Something that takes a while and is no trial: reading data, drawing the report."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def of_worker(self, worker: int, event: str, *given: Any) -> None:
        """One of several workers tells one of the above; by default only what concerns all."""
        if event in ("note", "ended"):
            getattr(self, event)(*given)

    def won(self, record: Record) -> None:
        """The end: there is a winner."""
