"""Processes of this machine that train one network together: started, watched, and ended together.

The parent trains nothing. When one of them fails or is killed, it ends the others and tells why;
when it is killed itself, they end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import NoReturn

from archspec.errors import ArchspecError
from archspec.search.processes import deaf, ending, on_word, threads_each
from archspec.search.train.outcomes import TrainingFailed
from archspec.search.train.ranks import Lost, Place

Work = Callable[[Place], None]
"""What each process does; it can be pickled."""

PATIENCE = 120.0
"""Seconds for one step, after which the first process stops in good order."""
_PRELOAD = [
    "archspec.measure", "archspec.search.train.job", "kornia.augmentation", "lightning_fabric",
    "torch._dynamo",
]  # fmt: skip
CLEARING = 5.0
"""Seconds for the first process to leave the terminal and the folder as they should be."""


@dataclass
class _Member:
    """One process."""

    place: Place
    process: BaseProcess
    pipe: Connection


def launch(work: Work, count: int) -> None:
    """Do the work in so many processes, until all are done.

    Raises:
        KeyboardInterrupt: Ctrl-C; the first process has stopped in good order and told so.
        ArchspecError: what one of them raised, or that one was killed.
    """
    with tempfile.TemporaryDirectory(prefix="archspec-") as folder:
        crew = [
            _start(work, Place("archspec", rank, rank, count, 1, Path(folder, "meeting")))
            for rank in range(count)
        ]
        first = crew[0]
        try:
            fault = _watch(crew)
            if fault is not None:
                _order(first, signal.SIGUSR1, CLEARING)
                raise fault
        except KeyboardInterrupt:
            _order(first, signal.SIGTERM, PATIENCE)
            raise
        finally:
            for member in crew:
                member.process.kill()
                member.process.join()
                member.pipe.close()


def _watch(crew: Sequence[_Member]) -> Exception | None:
    """Wait for the end of all, or for what ends a process for a reason of its own."""
    running, lost = list(crew), None
    while running:
        wait([member.process.sentinel for member in running])
        for member in [m for m in running if not m.process.is_alive()]:
            running.remove(member)
            code = member.process.exitcode
            if code == 0:
                continue
            fault = _fault(member)
            if not isinstance(fault, Lost):
                return fault
            lost = lost or fault
    return lost


def _fault(member: _Member) -> Exception:
    """Why a process ended."""
    with contextlib.suppress(EOFError, OSError):
        if member.pipe.poll():
            told = member.pipe.recv()
            if isinstance(told, ArchspecError):
                return told
            return RuntimeError(f"in the process of device {member.place.rank}:\n{told}")
    return TrainingFailed(
        f"the process of device {member.place.rank} ended ({ending(member.process.exitcode)}), "
        "and so the others were ended",
        hint="is there enough memory? The same command goes on from the last epoch",
    )


def _order(member: _Member, number: signal.Signals, seconds: float) -> None:
    """Send a signal, and wait for the process to end."""
    if member.process.is_alive() and member.process.pid is not None:
        os.kill(member.process.pid, number)
        member.process.join(seconds)


def _start(work: Work, place: Place) -> _Member:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)  # PyTorch is imported once for all
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(work, place, theirs), name=f"rank {place.rank}")
    with deaf():
        process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Member(place, process, ours)


def _live(work: Work, place: Place, pipe: Connection) -> None:
    """The whole life of one of the processes."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGUSR1, _leave)
    on_word(pipe, lambda: os._exit(1))  # the parent is gone
    code = 0
    try:
        threads = threads_each(place.here, "cpu")
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        work(place)
    except ArchspecError as error:
        code = error.exit_code
        _tell(pipe, error)
    except KeyboardInterrupt:
        code = 130
        print("interrupted", file=sys.stderr)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - it is told, by the parent
        code = 1
        _tell(pipe, traceback.format_exc())
    # not sys.exit: threads of libraries may wait for ever for processes that are gone
    os._exit(code)


def _tell(pipe: Connection, what: object) -> None:
    with contextlib.suppress(OSError):
        pipe.send(what)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    raise SystemExit(1)
