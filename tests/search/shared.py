"""What workers of a shared study do: trials of no time, written down by whom and when."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archspec.search.listener import Listener
from archspec.spec import Spec, loads
from tests.search import searches

SPACE = searches.SPACE.replace("choice: [4, 6, 8]", "int: [4, 130]").replace("[1, 3]", "[1, 9]")
BUDGET = "1k..100M"
"""2,286 networks are in it, all there are."""
STUDY = "shared"
PATIENCE = 120.0
"""Seconds in which something comes to pass that a machine under load may be slow with."""


def until(holds: Callable[[], Any], what: str = "") -> Any:
    """Wait for something, and say what it was that did not come."""
    late = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < late, f"in vain: {what or holds}"
        time.sleep(0.01)
    return found


@dataclass(frozen=True)
class Log:
    """A file that processes write lines to, each at once: who, what, of which network."""

    path: Path

    def write(self, event: str, about: str = "") -> None:
        line = f"{os.getpid()} {event} {about}".strip() + "\n"
        end = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(end, line.encode())
        finally:
            os.close(end)

    def lines(self) -> list[tuple[int, str, str]]:
        if not self.path.exists():
            return []
        parts = (line.split(" ", 2) for line in self.path.read_text().splitlines())
        return [(int(pid), event, rest[0] if rest else "") for pid, event, *rest in parts]

    def of(self, event: str) -> list[tuple[int, str]]:
        return [(pid, about) for pid, kind, about in self.lines() if kind == event]


@dataclass(frozen=True)
class Score:
    """What networks are judged by: a number made of their digest.

    While the folder `gate` is there, a trial ends only when it finds a file in it, which it takes.
    """

    folder: Path
    seconds: float = 0.0

    def __call__(self, spec: Spec) -> float:
        log, gate = Log(self.folder / "log"), self.folder / "gate"
        log.write("began", spec.digest)
        late = time.monotonic() + PATIENCE
        while gate.exists() and not _passes(gate) and time.monotonic() < late:
            time.sleep(0.01)
        time.sleep(self.seconds)
        log.write("ended", spec.digest)
        return value(spec.digest)


def _passes(gate: Path) -> bool:
    for path in gate.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            return True
    return False


def value(digest: str) -> float:
    return int(digest[:8], 16) / 2**32


class Scribe(Listener):
    """Writes down what a worker is told."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def note(self, text: str) -> None:
        self._log.write("note", text)


def options(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    return {
        "space": loads(SPACE, "little.yaml"), "budget": BUDGET, "objective": Score(folder),
        "storage": url, "study": STUDY, "folder": folder / "runs", "sampler": "uniform",
        "report": False, "device": "cpu",
    } | more  # fmt: skip


@dataclass(frozen=True)
class Ways:
    """How a worker differs from others."""

    heartbeat: int = 1
    grace: int = 600
    patience: float = PATIENCE
    turn: float = 60.0
    hours_ahead: float = 0.0
    """Of its clock."""
    zone: str = "UTC"
    """Where it believes to be, and tells PostgreSQL."""
    lively: dict[str, int] = field(default_factory=dict)
    """libpq's settings by which it notices a dead connection."""
    pages: int | None = None
    """SQLite files may have no more."""
    starts_with: Path | None = None
    """It waits for a file."""
    stops: float | None = None
    """SIGTERM stops it in good order, and those of its crew that take longer are killed."""
    freezes: bool = False
    """Whether it freezes itself while it chooses its first network, in its turn."""
    dies_at: int | None = None
    """Before which statement to its database it kills itself, counted from 1."""


def work(folder: Path, url: str, ways: Ways, more: dict[str, Any]) -> None:
    """The whole life of a worker."""
    from archspec.errors import ArchspecError
    from archspec.search import database, patience, trying, turns
    from archspec.search.searching import run

    log = Log(folder / "log")
    stack = (folder / f"stack-{os.getpid()}").open("w")
    faulthandler.register(signal.SIGUSR1, file=stack)
    database.HEARTBEAT, database.GRACE = ways.heartbeat, ways.grace
    patience.LIMIT, patience._LONGEST, turns.PATIENCE = ways.patience, 1.0, ways.turn
    trying.PATIENCE, trying.POLL = ways.turn, 0.1
    database._LIVELY.update(ways.lively)
    if ways.stops is not None:
        more |= {"should_stop": _stopped_by_a_signal(ways.stops)}
    if ways.pages is not None:
        _bound_files(ways.pages)
    if ways.freezes:
        _freeze_while_choosing(log)
    if ways.dies_at is not None:
        searches.die_in_statement(ways.dies_at)
    if ways.starts_with is not None:
        log.write("ready")
        until(ways.starts_with.exists)
    os.environ["TZ"] = os.environ["PGTZ"] = ways.zone
    time.tzset()
    if ways.hours_ahead:
        _set_clock(ways.hours_ahead)
    try:
        outcome = run(**options(folder, url, **more), listener=Scribe(log))
    except ArchspecError as error:
        log.write("error", str(error).replace("\n", " | "))
        os._exit(1)
    log.write("done", "elsewhere" if outcome.is_elsewhere else str(outcome.record.winner))


def _stopped_by_a_signal(seconds: float) -> Callable[[], bool]:
    from archspec.search import crew

    crew.STOPS, asked = seconds, threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    return asked.is_set


def _set_clock(hours: float) -> None:
    """What Optuna's storage takes for the time."""
    import datetime as real

    from optuna.storages._rdb import storage

    class Ahead(real.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.datetime.now(tz) + real.timedelta(hours=hours)

    storage.datetime = Ahead


def _bound_files(pages: int) -> None:
    """SQLite says itself when it is full."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(
        Engine, "connect", lambda file, _: file.execute(f"PRAGMA max_page_count = {pages}")
    )


def _freeze_while_choosing(log: Log) -> None:
    from archspec.search import candidate

    suggest = candidate.suggest

    def frozen(*args: Any) -> Any:
        candidate.suggest = suggest
        log.write("choosing")
        os.kill(os.getpid(), signal.SIGSTOP)
        return suggest(*args)

    candidate.suggest = frozen
