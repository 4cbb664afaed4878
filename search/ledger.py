"""What is known of a study's trials, worked out once for each of them that has ended.

A trial that has ended does not change any more. So whoever asks a study with 10,000 of them again
and again adds up what is new and looks at those that are still open, and at no other.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar, cast
from weakref import WeakKeyDictionary

from optuna.study import Study
from optuna.trial import FrozenTrial

L = TypeVar("L", bound="Ledger")


class Ledger(ABC):
    """Something that is worked out of all trials of a study, one after the other."""

    def __init__(self) -> None:
        self.open: list[FrozenTrial] = []
        """Trials that had not ended when they were last looked at, in order."""
        self._seen = 0
        self._open_at: list[int] = []

    def read(self, trials: Sequence[FrozenTrial]) -> Self:
        """Add those trials that have ended since it was last read.

        Args:
            trials: all of the study, in order.
        """
        places = [*self._open_at, *range(self._seen, len(trials))]
        self._seen, self._open_at, self.open = len(trials), [], []
        for place in places:
            if trials[place].state.is_finished():
                self.add(trials[place])
            else:
                self._open_at.append(place)
                self.open.append(trials[place])
        return self

    @abstractmethod
    def add(self, trial: FrozenTrial) -> None:
        """Add a trial that has ended. They come in the order in which they end, not of numbers."""


class Kept:
    """The ledgers of studies, each for as long as its study is held."""

    def __init__(self) -> None:
        self._ledgers: WeakKeyDictionary[Study, dict[object, Ledger]] = WeakKeyDictionary()
        self._lock = threading.RLock()  # Optuna may ask from several threads

    @contextlib.contextmanager
    def read(self, study: Study, key: object, make: Callable[[], L]) -> Iterator[L]:
        """A study's ledger as of now, for the time of a block.

        Args:
            key: what it hangs on besides the study.
            make: an empty one, for a study that has none yet.
        """
        with self._lock:
            ledgers = self._ledgers.setdefault(study, {})
            if key not in ledgers:
                ledgers[key] = make()
            ledger = cast("L", ledgers[key])
            yield ledger.read(study.get_trials(deepcopy=False))
