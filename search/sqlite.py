"""A study's SQLite file: told from whatever else lies there, and made whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path

from optuna.storages import RDBStorage

from archspec.errors import Mark
from archspec.search.addresses import FILE
from archspec.search.errors import StudyError

DAMAGED = "is no study's database, or is damaged; it was left as it is"
MOVE = "move it away to begin anew; --storage names another"


def literal(url: str) -> str:
    """A URL for Optuna, which takes it for a template."""
    return url.replace("{", "{{").replace("}", "}}")


def is_database(path: Path) -> bool:
    """Whether there is a study's SQLite file already.

    Raises:
        StudyError: there is something else; nothing was written into it.
    """
    mark = Mark(str(path))
    try:
        if path.is_dir():
            raise StudyError("is a folder, not a database", mark=mark)
        if not path.exists():
            return False
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StudyError(f"cannot be opened: {error.strerror or error}", mark=mark) from None
    if not head:
        return False
    if head != b"SQLite format 3\0":
        raise StudyError(DAMAGED, mark=mark, hint=MOVE)
    with contextlib.closing(sqlite3.connect(path)) as database:
        # a process that was killed left a journal: reading plays it back
        found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in found}
        (whole,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if whole != "ok":
        raise StudyError(DAMAGED, mark=mark, hint=MOVE)
    if tables and "studies" not in tables:
        raise StudyError(
            "is another program's database, not a study's; it was left as it is", mark=mark,
            hint=MOVE,
        )  # fmt: skip
    return True


def make_file(path: Path) -> None:
    """Make an SQLite file with Optuna's tables, whole or not at all.

    Optuna makes a table and then its index. A process that is killed between them leaves a database
    that takes two studies of one name, and then none.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}.db")
        try:
            storage = RDBStorage(literal(f"{FILE}{unfinished}"))
            storage.remove_session()
            storage.engine.dispose()
            _put(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(
            f"cannot be written: {error.strerror or error}", mark=Mark(str(path))
        ) from None


def _put(unfinished: Path, path: Path) -> None:
    """Move a file to its place, unless another process was faster."""
    if path.exists() and not path.stat().st_size:
        path.unlink()
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not path.exists():
            unfinished.rename(path)
