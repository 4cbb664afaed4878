"""A storage that outlasts its database's absence: what fails is tried again, ever less often.

Optuna's workers end when a database is restarted. Here every call that fails for want of a
connection is made again until the database answers, or for as long as patience lasts.
"""

from __future__ import annotations

import functools
import inspect
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage

_T = TypeVar("_T")

LIMIT = 600.0
"""Seconds after which a database that does not answer is given up."""
_FIRST, _LONGEST = 0.25, 15.0
"""Seconds between two tries: the first, and the longest."""


@dataclass
class Patience:
    """How long a worker waits for its database, and whom it tells."""

    where: str = "the database"
    """What messages call it; never with a password."""
    limit: float = 0.0
    note: Callable[[str], None] = field(default=lambda text: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    from_start: bool = False
    """Also with a database that has yet to answer for the first time."""
    gap: float = math.inf
    """Seconds between two answers after which one was away oneself: frozen, say."""
    missed: bool = False
    """Whether a call or a sign of life was lost since the database answered last."""
    _since: float = 0.0
    """When it began to answer without a gap (time.monotonic)."""
    _last: tuple[float, float] | None = None
    """When it answered last, by two clocks: one that nobody sets, and one that does not stand still
    while the machine sleeps."""
    _inside: threading.local = field(default_factory=threading.local)

    def call(
        self, storage: RDBStorage, method: Callable[..., Any], *args: Any, **given: Any
    ) -> Any:
        """Call a storage's method until the database has answered.

        Raises:
            Exception: what the method raises, if that is no lost connection, or patience is over.
        """
        if getattr(self._inside, "call", False):  # the outermost call is the one made again
            return method(storage, *args, **given)
        tries = 0

        def once() -> Any:
            nonlocal tries
            tries += 1
            try:
                return method(storage, *args, **given)
            except UpdateFinishedTrialError:
                if tries == 1 or not _is_done(storage, method, args, given):
                    raise
                return True  # the answer to an earlier try was lost, and what it asked for is so

        def afresh() -> None:
            storage.remove_session()
            storage.engine.dispose()  # its other connections are as dead

        self._inside.call = True
        try:
            return self.outlast(once, afresh)
        finally:
            self._inside.call = False

    def outlast(self, once: Callable[[], _T], afresh: Callable[[], None] = lambda: None) -> _T:
        """Do something that needs the database, again and again until it has answered.

        Args:
            afresh: called before each further try.

        Raises:
            Exception: what `once` raises, if that is no lost connection, or patience is over.
        """
        began: float | None = None
        for wait in _waits():
            try:
                result = once()
            except Exception as error:
                now = time.monotonic()
                if not is_away(error):
                    raise
                self.missed = True
                if self.should_stop():
                    raise
                if began is None:
                    began = now
                if now - began >= self.limit:
                    raise
                if wait > _LONGEST / 2 and not self._told:
                    self._told = True
                    self.note(
                        f"{self.where} does not answer; trying again for up to {self.limit:.0f} s"
                    )
                self._wait(wait)
                afresh()
            else:
                self.answered(began)
                return result
        raise AssertionError("the waits never end")

    _told: bool = False

    def answered(self, began: float | None = None) -> None:
        """The database has answered.

        Args:
            began: when it was first found away, if it was (time.monotonic).
        """
        now = time.monotonic()
        if self.missed or self._was_away():
            self._since = now
        self.missed, self._last = False, (now, time.time())
        if began is not None and self._told:
            self._told = False
            self.note(f"{self.where} answers again, after {now - began:.0f} s")

    def steady(self) -> float:
        """Seconds for which the database has answered without a gap.

        Only who has been there for a while can tell that another one gave no sign of life.
        """
        return 0.0 if self.missed or self._was_away() else time.monotonic() - self._since

    def _was_away(self) -> bool:
        if self._last is None:
            return True
        steady, wall = self._last
        return max(time.monotonic() - steady, time.time() - wall) > self.gap

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.should_stop():
            time.sleep(min(left, 0.5))


def _waits() -> Iterator[float]:
    """Seconds to wait after each try; drawn, so that many workers do not come back at once."""
    wait = _FIRST
    while True:
        yield wait * random.uniform(0.75, 1.25)  # noqa: S311 - nothing secret
        wait = min(2 * wait, _LONGEST)


def is_away(error: BaseException) -> bool:
    """Whether the connection to a database was lost or refused; also SQLite's lock by another."""
    from sqlalchemy.exc import (
        DBAPIError,
        InterfaceError,
        OperationalError,
        PendingRollbackError,
    )

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError):
            text = str(cause.orig).lower()
            if type(cause.orig).__module__ == "sqlite3":
                return "locked" in text
            return cause.connection_invalidated or isinstance(
                cause, OperationalError | InterfaceError
            )
        # Optuna asks again at once where a query fails, and hides why it did
        hidden = cause.__context__ if isinstance(cause, PendingRollbackError) else None
        cause = cause.__cause__ or hidden
    return False


def _is_done(
    storage: RDBStorage, method: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]
) -> bool:
    """Whether a trial is in the state that a call was to bring it to."""
    if method.__name__ != "set_trial_state_values":
        return False
    wanted = inspect.signature(method).bind(storage, *args, **given).arguments
    trial = storage.get_trial(wanted["trial_id"])
    values = wanted.get("values")
    return bool(
        trial.state == wanted["state"]
        and (values is None or list(values) == list(trial.values or ()))
    )


_ONCE = ("record_heartbeat", "remove_session")
"""Not made again: the next sign of life comes soon, and closing needs no connection."""


class PatientStorage(RDBStorage):
    """Optuna's storage with patience; its own methods are as they are."""

    patience: Patience


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: PatientStorage, *args: Any, **given: Any) -> Any:
        return self.patience.call(self, method, *args, **given)

    return call


for _name, _method in vars(RDBStorage).items():
    if inspect.isfunction(_method) and not _name.startswith("__") and _name not in _ONCE:
        setattr(PatientStorage, _name, _patient(_method))
