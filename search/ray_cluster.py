"""A Ray cluster to search on: what it must be, and how a process joins it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from archspec.errors import ArchspecError, Mark, brief
from archspec.search.addresses import concealed, url_of
from archspec.search.errors import MissingError, StudyError
from archspec.search.listener import Listener

OPTION = "--ray"
ANSWERS = 30.0
"""Seconds within which a cluster answers. Ray itself would try for a quarter of an hour."""
_ADDRESS = re.compile(r"auto|(\[[0-9A-Fa-f:]+\]|[^\s:/\[\]]+):\d{1,5}")


def check(address: str, storage: str | None, device: str) -> None:
    """Refuse what cannot be searched on a Ray cluster; nothing is connected to.

    Raises:
        MissingError: Ray is not installed.
        ArchspecError: with what to do instead.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingError(
            f"{OPTION} needs the package ray, which is not installed",
            hint="pip install 'archspec-vision[ray]', here and on every node",
        )
    mark = Mark(OPTION)
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    if not _ADDRESS.fullmatch(address):
        raise ArchspecError(
            f"takes the address of a cluster that runs, found {brief(address)}", mark=mark,
            hint="HOST:PORT as `ray start --head` says it, or auto for the cluster of this machine",
        )  # fmt: skip
    url = None if storage is None else url_of(storage, Path())
    if url is None or url.startswith("sqlite"):
        raise ArchspecError(
            "needs a database that all nodes reach, and SQLite's file is none", mark=mark,
            hint="such as --storage postgresql+psycopg://user@host/name",
        )  # fmt: skip
    if concealed(url, url) != url:
        raise ArchspecError(
            "a password in --storage would be seen in Ray, which keeps the commands of its jobs",
            mark=mark,
            hint="put it into ~/.pgpass of each node, or set PGPASSWORD before `ray start` there",
        )
    if device.startswith("cuda:"):
        raise ArchspecError(
            f"places workers on GPUs itself, found --device {device}", mark=mark,
            hint="leave --device out, or give cuda",
        )  # fmt: skip


@contextlib.contextmanager
def joined(address: str, listener: Listener) -> Iterator[None]:
    """Be a driver of a cluster that runs, for as long as the block lasts; none is ever started.

    Raises:
        StudyError: it does not answer, or refuses.
    """
    import ray

    if ray.is_initialized():  # the caller's own
        yield
        return
    listener.busy("connecting to the Ray cluster")
    _try(address)
    with _own_signals():
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself where it connects; it stays what it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _try(address: str) -> None:
    """Connect in a process of its own, which can be ended: Ray's patience cannot be set.

    Raises:
        StudyError: that fails.
    """
    why = _nobody(address) or _tried(address)
    if why is not None:
        raise StudyError(
            f"no Ray cluster at {address}: {why}", mark=Mark(OPTION),
            hint="does it run, with this version of Ray, and is RAY_AUTH_MODE here as it is there?",
        )  # fmt: skip


def _nobody(address: str) -> str | None:
    """Why nobody can be there, if so."""
    if address == "auto":
        return None
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error)
    return None


def _tried(address: str) -> str | None:
    """Why the cluster cannot be connected to, if so."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_connect, args=(theirs, address))
    process.start()
    theirs.close()
    why: str | None = f"it does not answer within {ANSWERS:g} s"
    try:
        if ours.poll(ANSWERS):
            why = "it cannot be connected to"
            with contextlib.suppress(EOFError):
                why = ours.recv()
    finally:
        process.kill()
        process.join()
        ours.close()
    return why


def _connect(pipe: Connection, address: str) -> None:
    """Say None, or why the cluster cannot be connected to."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    import ray

    try:
        ray.init(address=address, log_to_driver=False)
    except Exception as error:  # noqa: BLE001 - whatever Ray refuses with
        pipe.send(gist(error.__cause__ or error))
    else:
        pipe.send(None)
        ray.shutdown()


def gist(error: BaseException) -> str:
    """What an error says in one line; the last one where it has a traceback in it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0][:200]
