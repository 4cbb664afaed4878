"""Several workers on a Ray cluster: tasks that share a study, placed and restarted by Ray.

What `crew` does with processes of this machine, with another placement: this process opens the
study, submits one task per worker, tells what the study says of them, and trains the finalists
itself when they are done. A task whose process or node dies is started again by Ray, elsewhere if
need be. When this process dies, Ray ends its tasks.
"""

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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError, Mark, brief
from archspec.search.addresses import concealed, url_of
from archspec.search.errors import MissingError, StudyError
from archspec.search.listener import Listener
from archspec.search.train.outcomes import Interrupted
from archspec.search.workers import STOPS

if TYPE_CHECKING:
    from archspec.search.bench import Bench
    from archspec.search.plan import Plan
    from archspec.search.ready import Ready

OPTION = "--ray"
ANSWERS = 30.0
"""Seconds within which a cluster answers. Ray itself would try for a quarter of an hour."""
_POLL = 0.5
_ADDRESS = re.compile(r"auto|(\[[0-9A-Fa-f:]+\]|[^\s:/\[\]]+):\d{1,5}")


# -- before any work -------------------------------------------------------------------------------


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
        pipe.send(_gist(error.__cause__ or error))
    else:
        pipe.send(None)
        ray.shutdown()


def _gist(error: BaseException) -> str:
    """What an error says in one line; the last one where it has a traceback in it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0][:200]


# -- the driver's side -----------------------------------------------------------------------------


def work(
    arguments: Mapping[str, Any],
    workers: int,
    ready: Ready,
    bench: Bench,
    plan: Plan,
    should_stop: Callable[[], bool],
) -> None:
    """Let tasks try networks until there are enough.

    Args:
        arguments: those of `archspec.search.run` that say what is searched.
        workers: how many tasks; one GPU each where the device is CUDA, else one CPU.

    Raises:
        Interrupted: the caller stopped it; all tasks have stopped in good order.
        ArchspecError: what a task could not go on with.
    """
    import ray

    from archspec.search.following import Follower

    is_gpu = ready.shop.settings.device == "cuda"
    _check_gpus(str(arguments["device"]), is_gpu)
    listener = ready.shop.listener
    given = ray.put(_for_elsewhere(arguments, ready))
    listener.busy(f"starting {workers} workers on Ray")
    # one process per task, started again however often it dies: a network that kills its process
    # is given up after a while (`retries.DEATHS`)
    task = ray.remote(num_cpus=1, num_gpus=int(is_gpu), max_retries=-1, max_calls=1)(_task)
    task = task.options(name=f"archspec {ready.name}", scheduling_strategy="SPREAD")
    tasks = [task.remote(given) for _ in range(workers)]
    follower = Follower(bench.study, ready.shop.objectives[0].direction, workers, listener)
    try:
        _look_after(tasks, follower, plan.trials, should_stop)
    except BaseException as error:
        again = isinstance(error, KeyboardInterrupt) and should_stop()
        listener.busy("stopping the workers")
        _stop(tasks, 0.0 if again else STOPS)
        raise
    follower.look()
    if should_stop():
        raise Interrupted(f"stopped with {plan.trials} trials planned")


def _check_gpus(asked: str, is_gpu: bool) -> None:
    """Refuse to leave a cluster's GPUs alone, only since this machine has none."""
    import ray

    if asked == "auto" and not is_gpu and ray.cluster_resources().get("GPU", 0) >= 1:
        raise ArchspecError(
            "the cluster has GPUs, and this machine, which trains the finalists, has none",
            mark=Mark(OPTION),
            hint="give the command on a node with a GPU, or by `ray job submit "
            "--entrypoint-num-gpus 1`; --device cpu leaves the GPUs alone",
        )


def _for_elsewhere(arguments: Mapping[str, Any], ready: Ready) -> dict[str, Any]:
    """The arguments with nothing in them that is relative to this process."""
    from archspec.search.data.source import exists, path_of

    data = arguments["data"]
    if isinstance(data, str | Path) and exists(path_of(str(data))):
        data = str(path_of(str(data)).resolve())
    return {
        **arguments, "space": ready.shop.feasible.space, "budget": ready.budget,
        "study": ready.name, "data": data, "folder": Path(arguments["folder"]).resolve(),
        "device": ready.shop.settings.device, "threads": None,
    }  # fmt: skip


def _look_after(
    tasks: Sequence[Any], follower: Any, trials: int, should_stop: Callable[[], bool]
) -> None:
    import ray

    late: float | None = None
    """When those are ended that were asked to stop."""
    running = list(tasks)
    while running:
        ended, running = ray.wait(running, num_returns=1, timeout=_POLL)
        are_enough = follower.look() >= trials
        for task in ended:
            _check_end(task, late is not None)
        # those that wait for a place in the cluster would find nothing to do
        if late is None and (are_enough or should_stop()):
            late = time.monotonic() + STOPS
            for task in running:
                ray.cancel(task)
        elif late is not None and time.monotonic() >= late:
            _stop(running, 0.0)


def _check_end(task: Any, is_stopping: bool) -> None:
    """Raise what a task could not go on with."""
    import ray

    try:
        fault = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        fault = _unexpected(error.cause)
    except ray.exceptions.RayError as error:
        if is_stopping:
            return
        fault = _unexpected(error)
    if fault is not None:
        raise fault


def _unexpected(error: BaseException) -> StudyError:
    return StudyError(
        f"a worker on Ray cannot go on: {type(error).__name__}: {_gist(error)}",
        hint="has every node the same archspec, Python and Ray?",
    )


def _stop(tasks: Sequence[Any], seconds: float) -> None:
    """Stop all tasks: in good order, and those that are not done in time at once."""
    import ray

    running = list(tasks)
    try:
        if seconds:
            for task in running:
                ray.cancel(task)
            _, running = ray.wait(running, num_returns=len(running), timeout=seconds)
    finally:  # also at a second Ctrl-C
        for task in running:
            ray.cancel(task, force=True)


# -- the worker's side -----------------------------------------------------------------------------


def _task(arguments: dict[str, Any]) -> ArchspecError | None:
    """The whole life of a worker; what it could not go on with.

    Nothing is raised: Ray would write it down with all that led to it.
    """
    from archspec.search.crew import share

    order = threading.Event()
    # Ray cancels a task as Ctrl-C would: here, that is the word to stop in good order
    signal.signal(signal.SIGINT, lambda signum, frame: order.set())
    try:
        share(dict(arguments), Listener(), order.is_set)
    except Interrupted:
        return None
    except ArchspecError as error:
        return error
    except Exception as error:  # noqa: BLE001 - as above
        fault = _unexpected(error)
        url = url_of(arguments["storage"], Path())
        return StudyError(concealed(fault.message, url), hint=fault.hint)
    return None
