"""Processes that others start: who hears Ctrl-C, how one ended, and whether its parent lives.

And what share of the CPU each takes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Children that are started here do not hear Ctrl-C: the parent tells them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ending(code: int | None) -> str:
    """How a process with this exit code ended, in words."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def on_word(pipe: Connection, action: Callable[[], None]) -> None:
    """Do something as soon as the parent sends a word, or is no more; in a thread."""

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        action()

    threading.Thread(target=listen, daemon=True).start()


def threads_each(workers: int, device: str) -> int | None:
    """Threads of one of several workers on the CPU; None leaves it to PyTorch."""
    if device != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, len(os.sched_getaffinity(0)) // workers)
