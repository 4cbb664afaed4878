"""Several workers on a Ray cluster: tasks that share a study, placed and restarted by Ray.

What `crew` does with processes of this machine, with another placement: this process opens the
study, submits one task per worker, tells what the study says of them, and trains the finalists
itself when they are done. A task whose process or node dies is started again by Ray, elsewhere if
need be. When this process dies, Ray ends its tasks.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError, Mark
from archspec.search.addresses import concealed, url_of
from archspec.search.errors import StudyError
from archspec.search.listener import Listener
from archspec.search.ray_cluster import OPTION, gist
from archspec.search.train.outcomes import Interrupted
from archspec.search.workers import STOPS

if TYPE_CHECKING:
    from archspec.search.bench import Bench
    from archspec.search.plan import Plan
    from archspec.search.ready import Ready

_POLL = 0.5


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
        f"a worker on Ray cannot go on: {type(error).__name__}: {gist(error)}",
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
