"""Turns: what one worker of a study does at a time, wherever the others are.

The database that the workers share keeps the turn: an advisory lock of PostgreSQL or MySQL, which
ends with its holder's connection, or a lock on a file beside SQLite's. So a worker that is killed
holds up nobody.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from archspec.search.patience import PatientStorage

PATIENCE = 60.0
"""Seconds to wait for a turn before going on without: its holder may be frozen."""
_POLL = 0.05


class Turn:
    """A named turn among the workers of a study.

    Args:
        storage: where the study is kept; None where there are no other workers, and it is always
            one's turn.
        name: of the turn, the study's name in it.
    """

    def __init__(self, storage: PatientStorage | None, name: str) -> None:
        self._storage, self._name = storage, name
        self._held: Connection | FileLock | None = None
        self._file = None if storage is None else _file_beside(storage, name)

    def take(self, patience: float = PATIENCE) -> bool:
        """Wait for the turn.

        Args:
            patience: seconds; 0 asks once.

        Returns:
            Whether it is ours now, or nobody's since this database has no locks.
        """
        storage = self._storage
        if storage is None or (self._file is None and storage.engine.dialect.name not in _ASKS):
            return True
        until = time.monotonic() + patience
        while True:
            if self._held is not None or storage.patience.call(storage, self._ask):
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL)

    def give(self) -> None:
        """Pass the turn on; nothing happens if it is not ours."""
        held, self._held = self._held, None
        if held is None:
            return
        if isinstance(held, FileLock):
            held.release()
            return
        with contextlib.suppress(Exception):  # a lost connection has lost its locks too
            held.invalidate()
            held.close()

    @contextlib.contextmanager
    def taken(self, patience: float = PATIENCE) -> Iterator[bool]:
        """The turn for the time of a block; says whether it was to be had."""
        try:
            yield self.take(patience)
        finally:
            self.give()

    def _ask(self, storage: PatientStorage) -> bool:
        if self._file is not None:
            lock = FileLock(self._file)
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                self._held = lock
            return self._held is not None
        from sqlalchemy import text

        ask = _ASKS[storage.engine.dialect.name]
        connection = storage.engine.connect()
        try:
            got = connection.execute(text(ask), {"key": _digest(self._name)}).scalar()
            connection.commit()  # the lock is the connection's, not the transaction's
        except BaseException:
            connection.close()
            raise
        if not got:
            connection.close()
            return False
        self._held = connection
        return True


_ASKS = {
    "postgresql": "SELECT pg_try_advisory_lock(:key)",
    "mysql": "SELECT GET_LOCK(CONCAT('archspec-', :key), 0)",
    "mariadb": "SELECT GET_LOCK(CONCAT('archspec-', :key), 0)",
}


def _file_beside(storage: PatientStorage, name: str) -> Path | None:
    """The file that SQLite's turn is a lock on."""
    url = storage.engine.url
    if storage.engine.dialect.name != "sqlite" or not url.database:
        return None
    path = Path(url.database)
    return path.with_name(f".{path.name}-{_digest(name):x}.turn")


def _digest(name: str) -> int:
    """A number of 63 bits for a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
