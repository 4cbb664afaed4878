"""Where a study is kept, and how one is opened, gone on with, and read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study

from archspec.errors import Mark
from archspec.search.addresses import FILE, shown, url_of
from archspec.search.database import connect, connected, messages, quiet
from archspec.search.errors import StudyError
from archspec.search.kept import LOCK
from archspec.search.objectives import Direction

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

__all__ = [
    "CLOSER", "FINALIST", "PLAN", "SETTINGS", "connect", "connected", "load_study", "locked",
    "messages", "open_study", "opened_study", "quiet", "shown", "url_of",
]  # fmt: skip

SETTINGS = "archspec:settings"
PLAN = "archspec:plan"
FINALIST = "archspec:finalist:"
CLOSER = "archspec:closer"
"""Under which names a study keeps what is not Optuna's own."""


_UNFINISHED = re.compile(r"\.(.{1,40})-[a-z0-9_]{8}\.[a-z]+(-journal)?")
"""Names of files that a process was writing (`archspec.files.replacing`, `make_file`)."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a study's folder to this process, until it ends in whatever way.

    Raises:
        StudyError: another process is at it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    mark = Mark(str(folder))
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        for path in folder.rglob(".*"):
            if _UNFINISHED.fullmatch(path.name) and path.is_file():
                path.unlink()
    except Timeout:
        raise StudyError(
            "another process is searching there", mark=mark,
            hint="wait for it, or name another study with --study",
        ) from None  # fmt: skip
    except OSError as error:
        lock.release()
        raise StudyError(f"cannot be written: {error.strerror or error}", mark=mark) from None
    try:
        yield
    finally:
        lock.release()


# -- studies ---------------------------------------------------------------------------------------


def open_study(
    name: str,
    storage: RDBStorage,
    directions: Sequence[Direction],
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
) -> Study:
    """The study of that name, made if there is none.

    Raises:
        StudyError: there is one with other objectives.
    """
    with quiet():
        study = optuna.create_study(
            study_name=name, storage=storage, sampler=sampler, pruner=pruner,
            directions=list(directions), load_if_exists=True,
        )  # fmt: skip
    if [d.name.lower() for d in study.directions] != list(directions):
        raise StudyError(
            f"the study {name!r} is another one: it has other objectives",
            hint="choose another name with --study",
        )
    return study


def load_study(name: str, url: str) -> Study:
    """A study to read (`opened_study`)."""
    return opened_study(name, url)[0]


def opened_study(name: str, url: str) -> tuple[Study, RDBStorage]:
    """A study to read, and its storage; neither is made.

    Raises:
        StudyError: there is none.
    """
    where = shown(url)
    if url.startswith(FILE) and not Path(url.removeprefix(FILE)).exists():
        raise StudyError(
            "there is no such study", mark=Mark(where),
            hint="--storage names its database, if that is elsewhere",
        )  # fmt: skip
    storage = connect(url, reading=True)
    with messages(url), quiet():
        names = optuna.get_all_study_names(storage)
        if name not in names:
            known = ", ".join(names[:10]) or "none"
            raise StudyError(
                f"there is no study {name!r}", mark=Mark(where), hint=f"known: {known}"
            )
        return optuna.load_study(study_name=name, storage=storage), storage
