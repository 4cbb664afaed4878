"""Studies that several processes share: trials of no time, written down by whom and when."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from archspec.search.listener import Listener
from archspec.search.retries import finished, place_of
from archspec.spec import Spec, loads
from tests.search import searches

SPACE = searches.SPACE.replace("choice: [4, 6, 8]", "int: [4, 130]").replace("[1, 3]", "[1, 9]")
BUDGET = "1k..100M"
"""2,286 networks are in it, all there are."""
STUDY = "shared"
_PATIENCE = 120.0
"""Seconds in which something comes to pass that a machine under load may be slow with."""


def until(holds: Callable[[], Any], what: str = "") -> Any:
    """Wait for something, and say what it was that did not come."""
    late = time.monotonic() + _PATIENCE
    while not (found := holds()):
        assert time.monotonic() < late, f"in vain: {what or holds}"
        time.sleep(0.01)
    return found


# -- what a worker does ----------------------------------------------------------------------------


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
        late = time.monotonic() + _PATIENCE
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
    patience: float = _PATIENCE
    turn: float = 60.0
    hours_ahead: float = 0.0
    """Of its clock."""
    lively: dict[str, int] = field(default_factory=dict)
    """libpq's settings by which it notices a dead connection."""
    pages: int | None = None
    """SQLite files may have no more."""
    starts_with: Path | None = None
    """It waits for a file."""
    freezes: bool = False
    """Whether it freezes itself while it chooses its first network, in its turn."""


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
    if ways.pages is not None:
        _bound_files(ways.pages)
    if ways.freezes:
        _freeze_while_choosing(log)
    if ways.starts_with is not None:
        log.write("ready")
        until(ways.starts_with.exists)
    if ways.hours_ahead:
        _set_clock(ways.hours_ahead)
    try:
        outcome = run(**options(folder, url, **more), listener=Scribe(log))
    except ArchspecError as error:
        log.write("error", str(error).replace("\n", " | "))
        os._exit(1)
    log.write("done", "elsewhere" if outcome.is_elsewhere else str(outcome.record.winner))


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


# -- what a test does ------------------------------------------------------------------------------


class Crew:
    """Workers of one study, and what is known of them."""

    def __init__(self, folder: Path, url: str, trials: int, ways: Ways | None = None) -> None:
        self.folder, self.url, self.trials, self.ways = folder, url, trials, ways or Ways()
        self.log, self.gate = Log(folder / "log"), folder / "gate"
        self.processes: list[Any] = []
        self.dead: set[int] = set()
        self.frozen: set[int] = set()
        """Those that were killed, and those that others took for dead."""

    def start(self, count: int = 1, ways: Ways | None = None, **more: Any) -> list[Any]:
        given = {"trials": self.trials, "finalists": 0} | more
        started = [
            searches.start(work, self.folder, self.url, ways or self.ways, given)
            for _ in range(count)
        ]
        self.processes += started
        return started

    def close_gate(self) -> None:
        self.gate.mkdir()

    def let_through(self, count: int) -> None:
        """Let so many trials end."""
        for _ in range(count):
            (self.gate / secrets.token_hex(8)).touch()

    def open_gate(self) -> None:
        shutil.rmtree(self.gate)

    def began(self, count: int) -> list[tuple[int, str]]:
        """Wait until so many trials have begun."""
        return self.heard("began", count)

    def heard(self, event: str, count: int = 1) -> list[tuple[int, str]]:
        """Wait until workers have written something down so many times."""

        def enough() -> bool:
            if len(self.log.of(event)) >= count:
                return True
            assert any(process.is_alive() for process in self.processes), self.log.lines()
            return False

        until(enough, f"{count} × {event}")
        return self.log.of(event)

    def freeze(self, process: Any) -> None:
        self.frozen.add(process.pid)
        os.kill(process.pid, signal.SIGSTOP)

    def wake(self, process: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)

    def kill(self, process: Any) -> None:
        self.dead.add(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    def join(self) -> list[int]:
        """Wait for all workers that were not killed; how they ended."""
        for process in self.processes:
            process.join(_PATIENCE)
            assert process.exitcode is not None, self._where(process.pid)
        errors = self.log.of("error")
        assert not errors, errors
        return [p.exitcode for p in self.processes if p.pid not in self.dead]

    def _where(self, pid: int) -> str:
        """Where a process hangs."""
        path = self.folder / f"stack-{pid}"
        if path.exists():
            os.kill(pid, signal.SIGUSR1)
            time.sleep(1)
        return f"{pid} hangs: {path.read_text() if path.exists() else 'it never began'}"

    def forgive(self) -> None:
        """Forget the errors so far, which were expected."""
        text = self.log.path.read_text()
        self.log.path.write_text(text.replace(" error ", " expected "))

    def stop(self) -> None:
        """Leave nobody behind, whatever happened."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()

    def trials_now(self) -> list[FrozenTrial]:
        return study_at(self.url).get_trials()

    def complete(self) -> dict[int, Any]:
        """The finished trials, all that is known of them."""
        return {
            t.number: (t.params, t.values, t.datetime_start, t.datetime_complete)
            for t in self.trials_now()
            if t.state == TrialState.COMPLETE
        }

    def check(self, kept: dict[int, Any] | None = None) -> list[FrozenTrial]:
        """Hold the study against what was asked for, and against what the workers wrote down.

        Args:
            kept: trials that were complete before the fault.

        Returns:
            All trials.
        """
        study = study_at(self.url)
        trials = study.get_trials()
        states = {trial.state for trial in trials}
        assert states <= {TrialState.COMPLETE, TrialState.FAIL}, "no trial is left unfinished"
        assert [trial.number for trial in trials] == list(range(len(trials)))
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        found = (finished(study), len(complete))
        assert found == (self.trials, self.trials), (found, self.log.lines())
        assert len({place_of(trial) for trial in complete}) == self.trials, "counted twice"
        networks = [self._digest(trial) for trial in complete]
        assert len(set(networks)) == self.trials, "a network was tried twice"
        assert [trial.value for trial in complete] == [value(digest) for digest in networks]
        ended = self.complete()
        assert {number: ended[number] for number in kept or {}} == (kept or {})
        begun: dict[str, list[int]] = {}
        for pid, digest in self.log.of("began"):
            begun.setdefault(digest, []).append(pid)
        assert set(networks) == set(begun), "what was begun was finished"
        for pids in begun.values():
            assert set(pids[:-1]) <= self.dead | self.frozen, "two workers had one network"
        return trials

    def _digest(self, trial: FrozenTrial) -> str:
        from archspec.search.space import Space

        space = Space(loads(SPACE, "little.yaml"))
        return space.spec_of(space.row(trial.params)).digest


def study_at(url: str) -> Any:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return optuna.load_study(study_name=STUDY, storage=url)


def workers_of(folder: Path, url: str, trials: int, ways: Ways | None = None) -> Iterator[Crew]:
    crew = Crew(folder, url, trials, ways)
    try:
        yield crew
    finally:
        crew.stop()


def attempts(trials: Sequence[FrozenTrial]) -> dict[int, list[int]]:
    """Place → numbers, of networks that were tried more than once."""
    found: dict[int, list[int]] = {}
    for trial in trials:
        found.setdefault(place_of(trial), []).append(trial.number)
    return {place: numbers for place, numbers in found.items() if len(numbers) > 1}
