"""Turns: what one worker of a study does at a time, wherever the others are.

The database that the workers share keeps the turn: an advisory lock of PostgreSQL or MySQL, which
ends with its holder's connection, or a lock on a file beside SQLite's. So a worker that is killed
holds up nobody.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
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
        longest: seconds after which the database takes the turn from whoever has it: a worker that
            is frozen. None leaves it, as long as the machine that has it can be reached.
    """

    def __init__(
        self, storage: PatientStorage | None, name: str, longest: float | None = None
    ) -> None:
        self._storage, self._name, self._longest = storage, name, longest
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

    def is_lost(self) -> bool:
        """Whether the turn was ours, and the database has forgotten: it was restarted, say."""
        held = self._held
        if held is None or isinstance(held, FileLock):
            return False
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            held.execute(text("SELECT 1"))
            held.commit()
        except SQLAlchemyError:
            return True
        return False

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
            if got:
                self._bound(connection)
            connection.commit()  # the lock is the connection's, not the transaction's
        except BaseException:
            connection.close()
            raise
        if not got:
            connection.close()
            return False
        self._held = connection
        return True

    def _bound(self, connection: Connection) -> None:
        """Let the database end a connection whose holder is frozen, or cut off, or gone."""
        from sqlalchemy import text

        if connection.dialect.name == "postgresql":
            wanted = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5,
                      "tcp_keepalives_count": 3}  # fmt: skip
            if self._longest is not None:
                wanted["idle_session_timeout"] = math.ceil(self._longest * 1000)
            for name, value in wanted.items():  # where there is no such setting, nothing is set
                connection.execute(
                    text(
                        "SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name"
                    ),
                    {"name": name, "value": str(value)},
                )
        elif self._longest is not None:
            connection.execute(
                text("SET SESSION wait_timeout = :value"), {"value": math.ceil(self._longest)}
            )


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
