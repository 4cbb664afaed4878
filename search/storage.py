"""Where a study is kept, and how one is opened, gone on with, and read."""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from archspec.errors import Mark
from archspec.search.errors import StudyError
from archspec.search.objectives import Direction
from archspec.search.samplers.history import OUTCOME, retry_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SETTINGS = "archspec:settings"
PLAN = "archspec:plan"
FINALIST = "archspec:finalist:"
WINNER = "archspec:winner"
"""Under which names a study keeps what is not Optuna's own."""

HEARTBEAT = 30
"""Seconds between two signs of life of a worker."""
GRACE = 180
"""Seconds without one after which another worker takes its trial over."""
RETRIES = 3
"""How often a trial whose process died is run again."""


@contextlib.contextmanager
def messages(where: str) -> Iterator[None]:
    """Turn what databases raise into one message."""
    import sqlalchemy.exc

    try:
        yield
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise _message(error, where) from None


def _message(error: BaseException, where: str) -> StudyError:
    causes = [str(error)]
    inner = error.__cause__ or error.__context__
    while inner is not None and len(causes) < 8:
        causes.append(str(inner))
        inner = inner.__cause__ or inner.__context__
    text = " ".join(causes).lower()
    mark = Mark(where)
    if "disk is full" in text or "no space left" in text:
        return StudyError(
            "the disk is full", mark=mark,
            hint="free some space and give the same command again; finished trials are kept",
        )  # fmt: skip
    if "not a database" in text or "malformed" in text or "no such table" in text:
        return StudyError(
            "is no study's database, or is damaged; it was left as it is", mark=mark,
            hint="move it away to begin anew, or name another study with --study",
        )  # fmt: skip
    if "readonly" in text or "unable to open" in text or "permission denied" in text:
        return StudyError("cannot be written", mark=mark, hint="is the folder yours to write?")
    if "locked" in text:
        return StudyError(
            "is locked by another program", mark=mark, hint="close it and give the command again"
        )
    first = causes[-1].strip().splitlines()[0] if causes[-1].strip() else type(error).__name__
    return StudyError(f"the storage failed: {first[:200]}", mark=mark)


def url_of(storage: str | None, folder: Path) -> str:
    """The database's URL: that of `--storage`, or a file in the study's folder."""
    if storage is None:
        return f"sqlite:///{folder / 'study.db'}"
    return storage if "://" in storage else f"sqlite:///{storage}"


def shown(url: str) -> str:
    """A storage for messages: a file's path, and never a password."""
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "--storage"


def connect(url: str) -> RDBStorage:
    """A storage that notices dead workers.

    Raises:
        StudyError: it cannot be opened.
    """
    where = shown(url)
    if url.startswith("sqlite:///"):
        _check_file(Path(url.removeprefix("sqlite:///")))
    with messages(where), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return RDBStorage(
                url,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
            )
        except ImportError as error:
            raise StudyError(
                f"needs a driver that is not installed: {error.name or error}", mark=Mark(where),
                hint="pip install 'psycopg[binary]' for PostgreSQL (postgresql+psycopg://…)",
            ) from None  # fmt: skip
        except (ValueError, RuntimeError) as error:
            raise StudyError(str(error).splitlines()[0], mark=Mark(where)) from None


def _check_file(path: Path) -> None:
    """Refuse what is no SQLite file before anything is written into it."""
    mark = Mark(str(path))
    try:
        if path.is_dir():
            raise StudyError("is a folder, not a database", mark=mark)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StudyError(f"cannot be opened: {error.strerror or error}", mark=mark) from None
    if head and head != b"SQLite format 3\0":
        raise StudyError(
            "is no study's database, or is damaged; it was left as it is", mark=mark,
            hint="move it away to begin anew, or name another study with --study",
        )  # fmt: skip


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a study's folder to this process, until it ends in whatever way.

    Raises:
        StudyError: another process is at it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
        for unfinished in folder.glob("**/.*-*.*"):  # of files that a killed process was writing
            if unfinished.is_file():
                unfinished.unlink()
    except Timeout:
        raise StudyError(
            "another process is searching there", mark=Mark(str(folder)),
            hint="wait for it, or name another study with --study",
        ) from None  # fmt: skip
    except OSError as error:
        raise StudyError(
            f"cannot be written: {error.strerror or error}", mark=Mark(str(folder))
        ) from None
    try:
        yield
    finally:
        lock.release()


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
    optuna.logging.set_verbosity(optuna.logging.ERROR)
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


def recover(study: Study) -> list[int]:
    """Queue again what was cut: trials whose process is gone, and interrupted ones.

    Only for a study that no other process works on. Returns the numbers of the trials that were
    queued; a trial whose process died `RETRIES` times is given up.
    """
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    settled = {_first(trial) for trial in trials if not is_cut(trial)}
    cut = {_first(trial): trial for trial in trials if is_cut(trial)}
    retry = RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
    before = len(trials)
    for first, trial in sorted(cut.items()):
        if first not in settled and trial.params:
            retry(study, trial)
    return [trial.number for trial in study.get_trials(deepcopy=False)[before:]]


def _first(trial: FrozenTrial) -> int:
    original = retry_of(trial)
    return trial.number if original is None else original


def is_cut(trial: FrozenTrial) -> bool:
    """Whether a trial ended for no fault of its network: nobody said what the fault was."""
    return trial.state == TrialState.FAIL and OUTCOME not in trial.user_attrs


def finished(study: Study) -> int:
    """Networks that were tried to an end, good or bad."""
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False)
    ended = {_first(t) for t in trials if t.state in done or OUTCOME in t.user_attrs}
    history = RetryHeartbeatStaleTrialCallback.retry_history
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        given_up = {_first(t) for t in trials if is_cut(t) and len(history(t)) >= RETRIES}
    return len(ended | given_up)


def load_study(name: str, url: str) -> Study:
    """A study to read.

    Raises:
        StudyError: there is none.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    where = shown(url)
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise StudyError("there is no such study", mark=Mark(where))
    storage = connect(url)
    with messages(where):
        names = optuna.get_all_study_names(storage)
        if name not in names:
            known = ", ".join(names[:10]) or "none"
            raise StudyError(
                f"there is no study {name!r}", mark=Mark(where), hint=f"known: {known}"
            )
        return optuna.load_study(study_name=name, storage=storage)
