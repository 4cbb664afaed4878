"""The database behind a study: how it is named, made and opened, and what it says when it fails."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage

from archspec.errors import ArchspecError, Mark
from archspec.search.addresses import FILE, SUCH, check, concealed, shown
from archspec.search.errors import StudyError
from archspec.search.patience import Patience, PatientStorage
from archspec.search.retries import WORKER, run_again
from archspec.search.sqlite import DAMAGED, MOVE, is_database, literal, make_file

HEARTBEAT = 30
"""Seconds between two signs of life of a worker, where several share a study."""
GRACE = 180
"""Seconds without one after which another worker takes its trial over."""
_NEVER = 10**9
"""Seconds."""


# -- what goes wrong -------------------------------------------------------------------------------


@contextlib.contextmanager
def messages(url: str) -> Iterator[None]:
    """Turn what databases raise into one message, without the secrets of the database's URL."""
    try:
        yield
    except ArchspecError:
        raise
    except Exception as error:
        causes = _chain(error)
        if not any(isinstance(cause, _storage_errors()) for cause in causes):
            raise
        raise _message(causes, url) from None


def _storage_errors() -> tuple[type[Exception], ...]:
    import sqlalchemy.exc

    return (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error)


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what led to it. Optuna trips over a failed storage itself: the cause of an
    UnboundLocalError or an AssertionError is the storage's error."""
    causes: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in causes:
        causes.append(inner)
        inner = inner.__cause__ or inner.__context__
    return causes


def _message(causes: Sequence[BaseException], url: str) -> StudyError:
    text, where = " ".join(str(cause) for cause in causes).lower(), shown(url)
    mark = Mark(where)
    if "is full" in text or "no space left" in text:
        return StudyError(
            "the disk is full", mark=mark,
            hint="free some space and give the same command again; finished trials are kept",
        )  # fmt: skip
    if "not a database" in text or "malformed" in text or "no such table" in text:
        return StudyError(DAMAGED, mark=mark, hint=MOVE)
    if not _exists(where) and ("readonly" in text or "disk i/o" in text or "unable to" in text):
        return StudyError("was removed while it was in use", mark=mark)
    if "readonly" in text or "unable to open" in text or "permission denied" in text:
        return StudyError("cannot be written", mark=mark, hint="is the folder yours to write?")
    if "database is locked" in text:
        return StudyError(
            "is locked by another program", mark=mark, hint="close it and give the command again"
        )
    if "version_info" in text and ("does not exist" in text or "doesn't exist" in text):
        return StudyError("there is no study in this database", mark=mark)
    lines = concealed(str(causes[-1]), url).strip().splitlines()
    first = (lines[0] if lines else type(causes[-1]).__name__)[:200]
    if any(
        word in text
        for word in ("refused", "resolve", "timed out", "timeout", "can't connect", "to server")
    ):
        return StudyError(
            f"cannot be reached: {first}", mark=mark,
            hint="does it run, and may this machine connect to it? Finished trials are kept",
        )  # fmt: skip
    return StudyError(f"the storage failed: {first}", mark=mark)


def _exists(where: str) -> bool:
    """Whether what is no database's URL is a file that is there."""
    return "://" in where or Path(where).exists()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log, and without its notes on what is experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.filterwarnings("ignore", module=r"optuna\.")
            yield
    finally:
        optuna.logging.set_verbosity(level)


# -- where it is -----------------------------------------------------------------------------------


def connect(
    url: str,
    *,
    shared: bool = False,
    patience: Patience | None = None,
    reading: bool = False,
) -> PatientStorage:
    """A storage.

    Args:
        shared: whether several workers may be at it, who then notice when another one dies.
        patience: with the database, once it has answered; none at all unless given.
        reading: nothing is made there.

    Raises:
        StudyError: it cannot be opened.
    """
    where = shown(url)
    mark = Mark(where)
    if url in ("sqlite://", FILE):
        raise StudyError(
            "a study is kept in a file or a database, and this is neither", mark=Mark("--storage")
        )
    import sqlalchemy.exc

    check(url)
    with messages(url), quiet():
        try:
            if url.startswith(FILE) and not is_database(Path(url.removeprefix(FILE))):
                if reading:
                    raise StudyError("there is no study in this file", mark=mark)
                make_file(Path(url.removeprefix(FILE)))
            return _opened(url, shared, patience or Patience(where), reading)
        except sqlalchemy.exc.NoSuchModuleError:
            raise StudyError(
                f"there is no kind of database {url.partition(':')[0]!r}", mark=Mark("--storage"),
                hint=SUCH,
            ) from None  # fmt: skip
        except sqlalchemy.exc.ArgumentError:
            raise StudyError(
                "cannot be read as the URL of a database", mark=Mark("--storage"),
                hint=SUCH,
            ) from None  # fmt: skip
        except ImportError as error:
            driver = getattr(error.__cause__ or error.__context__, "name", None)
            raise StudyError(
                f"needs a driver that is not installed: {driver or error}", mark=mark,
                hint="pip install 'psycopg[binary]' for postgresql+psycopg://…, PyMySQL for "
                "mysql+pymysql://…",
            ) from None  # fmt: skip
        except (ValueError, RuntimeError) as error:  # RuntimeError: of another version of Optuna
            text = concealed(str(error), url)
            raise StudyError(text.splitlines()[0], mark=mark) from None


def _opened(url: str, shared: bool, patience: Patience, reading: bool) -> PatientStorage:
    """A storage, with its tables; other workers may be making them at this very moment."""
    if reading:
        return _Storage(url, shared, patience, skip_table_creation=True)
    if patience.from_start:
        return patience.outlast(lambda: _made(url, shared, patience))
    return _made(url, shared, patience)


def _made(url: str, shared: bool, patience: Patience) -> PatientStorage:
    from sqlalchemy.exc import SQLAlchemyError

    for wait in (0.1, 0.3, 1.0, 3.0):
        try:
            return _Storage(url, shared, patience)
        except SQLAlchemyError as error:
            if not any(word in str(error) for word in ("already exists", "duplicate key")):
                raise
        time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret
    return _Storage(url, shared, patience)


@contextlib.contextmanager
def connected(
    url: str, *, shared: bool = False, patience: Patience | None = None
) -> Iterator[PatientStorage]:
    """A storage whose connections are closed in the end; what it raises is one message.

    Raises:
        StudyError: it cannot be opened, or fails later.
    """
    storage = connect(url, shared=shared, patience=patience)
    with messages(url):
        try:
            yield storage
        finally:
            with contextlib.suppress(*_storage_errors()):
                storage.remove_session()
                storage.engine.dispose()


class _Storage(PatientStorage):
    """A storage whose workers give signs of life where it is shared."""

    def __init__(self, url: str, shared: bool, patience: Patience, **more: Any) -> None:
        self.patience = Patience(patience.where)  # none, until it has answered once
        self._grace: int | None = None
        super().__init__(
            literal(url),
            engine_kwargs=_engine_arguments(url, shared),
            heartbeat_interval=HEARTBEAT if shared else None,
            grace_period=GRACE if shared else None,
            heartbeat_stale_trial_callback=run_again if shared else None,
            **more,
        )
        self.patience = patience
        patience.gap = 2 * HEARTBEAT

    @property
    def grace_period(self) -> int | None:
        """Seconds without a sign of life that Optuna takes a trial for dead after.

        Nobody gave one while the database was away, and who has only just come knows nothing of
        that: a worker takes nobody for dead before all that live had the time for their next one.
        """
        is_new = self._grace is not None and self.patience.steady() < 2 * HEARTBEAT
        return _NEVER if is_new else self._grace

    @grace_period.setter
    def grace_period(self, seconds: int | None) -> None:
        self._grace = seconds

    def record_heartbeat(self, trial_id: int) -> None:
        # in a thread of its own, where nobody would catch it; the trial meets the same error
        try:
            super().record_heartbeat(trial_id)
        except _storage_errors():
            self.patience.missed = True
        else:
            self.patience.answered()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if key == WORKER and self.heartbeat_interval is not None:
            # whoever says where it runs has given a sign of life, so that others notice its death
            self.patience.call(self, RDBStorage.record_heartbeat, trial_id)
        super().set_trial_user_attr(trial_id, key, value)


def _engine_arguments(url: str, shared: bool) -> dict[str, Any]:
    """So that a dead connection is noticed, and SQLite waits for other workers."""
    from sqlalchemy.engine import make_url

    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        return {"connect_args": {"timeout": _BUSY}} if shared else {}
    options: dict[str, Any] = {"pool_pre_ping": True}
    if kind in _IN_UTC:
        options["pool_events"] = [(partial(_say, _IN_UTC[kind]), "connect")]
    if kind == "postgresql":
        options["connect_args"] = _LIVELY
    return options


def _say(statement: str, connection: Any, *_: Any) -> None:
    """Tell a database something as soon as there is a connection."""
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(statement)
    connection.commit()


_IN_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}
"""Optuna writes signs of life down by the clock of the connection's own time zone, without it: of
workers in two zones, one would be taken for dead."""
_BUSY = 60
"""Seconds that SQLite waits while another worker writes."""
_LIVELY = {
    "connect_timeout": 10, "keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5,
    "keepalives_count": 3, "tcp_user_timeout": 30_000,
}  # fmt: skip
"""libpq's settings by which a connection whose other end is gone fails within half a minute."""
