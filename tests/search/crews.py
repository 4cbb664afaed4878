"""Workers of a shared study from outside: started, killed, frozen, and held to what was asked."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from archspec.search.retries import finished, place_of
from archspec.spec import loads
from tests import processes
from tests.search.shared import PATIENCE, SPACE, STUDY, Log, Ways, until, value, work


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
            processes.start(work, self.folder, self.url, ways or self.ways, given)
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
            process.join(PATIENCE)
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
