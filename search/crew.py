"""Several workers on this machine: processes that share a study, and one that looks after them.

The parent opens the study, starts the workers and tells what they do; it trains nothing until they
are done, and then the finalists. A worker that is killed is started again. When the parent is
killed, its workers notice and stop in good order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError
from archspec.search.errors import StudyError
from archspec.search.listener import Listener
from archspec.search.processes import deaf, ending, on_word
from archspec.search.retries import DEATHS
from archspec.search.train.outcomes import Interrupted
from archspec.search.workers import STOPS

if TYPE_CHECKING:
    from archspec.search.plan import Plan

_POLL = 0.25
_TOLD_EVERY = 0.2
"""Seconds between two steps that a worker tells of."""


# -- the parent's side -----------------------------------------------------------------------------


@dataclass
class _Member:
    """One worker."""

    number: int
    process: BaseProcess
    pipe: Connection
    deaths: int = 0
    """Kills since a trial of it has ended."""
    finished: int = 0
    """Networks of the study that were finished when it told of that last."""
    fault: ArchspecError | None = field(default=None)


def work(
    arguments: Mapping[str, Any],
    workers: int,
    plan: Plan,
    listener: Listener,
    should_stop: Callable[[], bool],
) -> None:
    """Let workers try networks until there are enough.

    Args:
        arguments: those of `archspec.search.run` that say what is searched.
        workers: how many; each has a GPU of its own where there are enough, else they take turns.

    Raises:
        Interrupted: the caller stopped it; all workers have stopped in good order.
        ArchspecError: what a worker could not go on with.
    """
    listener.busy(f"starting {workers} workers")
    crew = [_start(number, arguments, device) for number, device in _devices(arguments, workers)]
    try:
        _look_after(crew, arguments, plan, listener, should_stop)
    except BaseException as error:
        again = isinstance(error, KeyboardInterrupt) and should_stop()
        listener.busy("stopping the workers")
        _stop(crew, 0.0 if again else STOPS)
        raise
    if should_stop():
        raise Interrupted(f"stopped with {plan.trials} trials planned")


def _look_after(
    crew: list[_Member],
    arguments: Mapping[str, Any],
    plan: Plan,
    listener: Listener,
    should_stop: Callable[[], bool],
) -> None:
    late: float | None = None
    """When those are killed that were asked to stop."""
    running = list(crew)
    while running:
        wait([*(m.pipe for m in running), *(m.process.sentinel for m in running)], _POLL)
        # one that has been frozen since before another took its trial over never ends by itself
        are_enough = max(member.finished for member in crew) >= plan.trials
        if late is None and (are_enough or should_stop()):
            late = time.monotonic() + STOPS
            for member in running:
                _ask_to_stop(member)
        for member in list(running):
            _hear(member, listener)
            if late is not None and time.monotonic() >= late and member.process.is_alive():
                then = "" if are_enough else "; the same command runs its trial again"
                listener.note(
                    f"worker {member.number} did not stop in {STOPS:g} s and was killed{then}"
                )
                member.process.kill()
                member.process.join()
            if member.process.is_alive():
                continue
            _hear(member, listener)  # what it said last
            running.remove(member)
            if member.fault is not None:
                raise member.fault
            code = member.process.exitcode
            if code == 0 or late is not None:
                continue
            member.deaths += 1
            if member.deaths >= DEATHS:
                raise StudyError(
                    f"worker {member.number} ended {DEATHS} times without finishing a trial "
                    f"({ending(code)})",
                    hint="is there enough memory for so many workers? The same command goes on",
                )
            listener.note(f"worker {member.number} ended ({ending(code)}); it is started again")
            again = _start(member.number, arguments, _device(member.number, arguments))
            again.deaths, again.finished = member.deaths, member.finished
            crew[crew.index(member)] = again
            running.append(again)


def _hear(member: _Member, listener: Listener) -> None:
    """Tell on what a worker has told."""
    with contextlib.suppress(EOFError, OSError):
        while member.pipe.poll():
            event, *given = member.pipe.recv()
            if event == "fault":
                member.fault = given[0]
                continue
            if event == "ended":
                member.deaths, member.finished = 0, given[1]
            listener.of_worker(member.number, event, *given)


def _start(number: int, arguments: Mapping[str, Any], device: str) -> _Member:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_worker, args=(theirs, {**arguments, "device": device}), name=f"worker {number}"
    )
    with deaf():
        process.start()
    theirs.close()  # so that the end of the worker is the end of the pipe
    return _Member(number, process, ours)


def _ask_to_stop(member: _Member) -> None:
    with contextlib.suppress(OSError):
        member.pipe.send("stop")


def _stop(crew: Sequence[_Member], seconds: float) -> None:
    """Stop all workers: in good order, and those that are not done in time at once."""
    for member in crew:
        _ask_to_stop(member)
    until = time.monotonic() + seconds
    try:
        for member in crew:
            member.process.join(max(0.0, until - time.monotonic()))
    finally:  # also at a second Ctrl-C
        for member in crew:
            member.process.kill()
            member.process.join()
            member.pipe.close()


def _devices(arguments: Mapping[str, Any], workers: int) -> list[tuple[int, str]]:
    return [(number, _device(number, arguments)) for number in range(1, workers + 1)]


def _device(number: int, arguments: Mapping[str, Any]) -> str:
    """Each worker its own GPU where there are several; `cuda:1` is that one for all."""
    import torch

    device = str(arguments["device"])
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{(number - 1) % torch.cuda.device_count()}"
    return device


# -- the worker's side -----------------------------------------------------------------------------


def _worker(pipe: Connection, arguments: dict[str, Any]) -> None:
    """The whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: order.set())
    on_word(pipe, order.set)  # to stop, or the parent is gone
    code = 0
    try:
        share(arguments, _Teller(pipe), order.is_set)
    except Interrupted:
        code = 130
    except ArchspecError as error:
        code = error.exit_code
        with contextlib.suppress(OSError):
            pipe.send(("fault", error))
    finally:
        with contextlib.suppress(OSError):
            pipe.close()
    # not sys.exit: threads of libraries may wait for ever on what the parent has closed
    os._exit(code)


def share(arguments: dict[str, Any], listener: Listener, should_stop: Callable[[], bool]) -> None:
    """What a worker does, wherever it runs: its share of a study.

    Args:
        arguments: those of `archspec.search.ready.prepare`, and `threads` of the CPU.
    """
    import torch

    from archspec.search.bench import opened
    from archspec.search.ready import prepare
    from archspec.search.trying import try_networks

    threads = arguments.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    ready = prepare(**arguments, listener=listener, should_stop=should_stop)
    with opened(ready, alone=False, patient=True) as bench:
        try_networks(bench, ready.trials, arguments["time_limit"])


class _Teller(Listener):
    """Tells the parent what a worker hears."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._told = pipe, 0.0

    def _tell(self, event: str, *given: Any) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, which the worker notices itself
            self._pipe.send((event, *given))

    def busy(self, what: str) -> None:
        self._tell("busy", what)

    def note(self, text: str) -> None:
        self._tell("note", text)

    def began(self, number: int, choices: Mapping[str, Any], cost: Mapping[str, int]) -> None:
        self._tell("began", number, dict(choices), dict(cost))

    def step(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            self._tell("step", step, steps)

    def epoch(self, number: int, epoch: int, accuracy: float) -> None:
        self._tell("epoch", number, epoch, accuracy)

    def ended(self, trial: Any, finished: int, best: float | None) -> None:
        self._tell("ended", trial, finished, best)
