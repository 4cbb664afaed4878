"""Workers: what each calls itself, which places there are in a folder, and who of them is gone.

Several processes may search for one study, on one machine or on many. Each has a place in the
study's folder on its machine, a locked file that the system lets go of when the process ends in
whatever way; and what it calls itself is kept with every trial that it runs.
"""

from __future__ import annotations

import contextlib
import platform
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial

from archspec.errors import Mark
from archspec.search.errors import StudyError
from archspec.search.kept import LOCK
from archspec.search.retries import WORKER

STOPS = 120.0
"""Seconds in which a worker that is to stop does: one step of a training."""
_MOST = 1000
"""Workers of one study in one folder of one machine."""


def worker_at(folder: Path, place: int | None = None) -> str:
    """What a process calls itself that searches in this folder.

    Args:
        place: among those of this machine, where several search there.
    """
    name = f"{platform.node()}:{folder.resolve()}"
    return name if place is None else f"{name}#{place}"


class At(NamedTuple):
    """Where a worker runs."""

    machine: str
    folder: str
    place: int | None


def parted(worker: str) -> At:
    """What a worker calls itself, in its parts."""
    found = re.fullmatch(r"([^:]*):(.*?)(?:#(\d{1,4}))?", worker, re.DOTALL)
    if found is None:
        return At(worker, "", None)
    return At(found[1], found[2], None if found[3] is None else int(found[3]))


def lock_of(folder: Path, place: int) -> Path:
    """The file that a place is a lock on. Machines that share a folder have places of their own."""
    node = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())
    return folder / f".worker-{node}-{place}.lock"


@contextlib.contextmanager
def placed(folder: Path) -> Iterator[str]:
    """Take the first free place in a folder, for as long as the block lasts.

    Returns:
        What the worker calls itself.

    Raises:
        StudyError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in range(_MOST):
            lock = FileLock(lock_of(folder, place))
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                break
        else:
            raise StudyError(f"{_MOST} processes are searching there", mark=Mark(str(folder)))
    except OSError as error:
        raise StudyError(
            f"cannot be written: {error.strerror or error}", mark=Mark(str(folder))
        ) from None
    try:
        yield worker_at(folder, place)
    finally:
        lock.release()


def is_gone(worker: str, folder: Path) -> bool:
    """Whether a worker of this machine and folder does not run any more.

    Of other machines nothing is known: False.
    """
    at = parted(worker)
    if worker_at(folder) != f"{at.machine}:{at.folder}":
        return False
    lock = FileLock(folder / LOCK if at.place is None else lock_of(folder, at.place))
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return False
    lock.release()
    return True


class Watch:
    """Tells which running trials are dead, as far as one worker can see.

    Optuna notices trials whose signs of life have ended. These are the others: trials of this
    machine whose process is gone, and those that never said where they run, since their process
    died right after asking for them. The latter are watched for a while, on a clock that nobody
    sets.

    Args:
        folder: the study's.
        worker: what the watching worker calls itself.
        grace: seconds for which a trial without a word is watched.
        steady: for how many the study's database has answered (`Patience.steady`): while it is
            away, nobody can say a word.
    """

    def __init__(
        self, folder: Path, worker: str, grace: float, steady: Callable[[], float]
    ) -> None:
        self._folder, self._worker, self._grace, self._steady = folder, worker, grace, steady
        self._since: dict[int, float] = {}

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Whether a trial that runs by the study's word does so no longer."""
        worker = trial.user_attrs.get(WORKER)
        if worker is None:
            now = time.monotonic()
            watched = now - self._since.setdefault(trial.number, now)
            return min(watched, self._steady()) > self._grace
        # one's own trials have ended whenever one is asked
        return worker == self._worker or is_gone(str(worker), self._folder)


def await_absence(folder: Path) -> None:
    """Wait for workers of an earlier command, which stop when they notice that it is gone.

    Raises:
        StudyError: they do not end.
    """
    until = time.monotonic() + STOPS
    while there := _present(folder):
        if time.monotonic() >= until:
            raise StudyError(
                f"{there} workers of an earlier command are still at it", mark=Mark(str(folder)),
                hint="wait for them to end their step, or stop them",
            )  # fmt: skip
        time.sleep(0.2)


def _present(folder: Path) -> int:
    """How many workers of this machine are at a folder's study now."""
    return sum(not is_gone(worker_at(folder, place), folder) for place in places_in(folder))


def places_in(folder: Path) -> list[int]:
    """The places of this machine that were ever taken in a folder."""
    node = lock_of(folder, 0).name.removesuffix("0.lock")
    # not by a pattern: a machine's name may have signs of one
    names = (path.name for path in folder.glob(".worker-*.lock"))
    places = (name.removeprefix(node).removesuffix(".lock") for name in names)
    return sorted(int(place) for place in places if place.isdigit())
