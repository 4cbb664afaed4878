"""Trials an hour against the number of workers that share a study on PostgreSQL.

Two kinds of trials. Trainings of the same networks, whoever tries them, on one machine: how far its
cores or its GPU are put to use. And trials that only wait a second, so that nothing but the
coordination can keep N workers from N times as many: what it costs.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import postgres
from benchmarks.registry import Benchmark, Device, Findings, Row
from benchmarks.timing import Quartiles

if TYPE_CHECKING:
    from archspec.search.data import Data
    from archspec.spec import Spec

STUDY = "workers"
WAITS = "trials of a second"
WAIT = 1.0
"""Seconds that a trial lasts which does nothing."""
EACH = 20
"""Such trials for each worker."""
WAITING: dict[Device, tuple[int, ...]] = {"cpu": (1, 2, 4, 8, 16), "cuda": ()}
"""So many workers wait."""
TRAINING: dict[Device, tuple[int, ...]] = {"cpu": (1, 2), "cuda": (1, 2, 4, 8)}
"""So many workers train; on the CPU, each has one thread."""
TRIALS = 16
IMAGES: dict[Device, int] = {"cpu": 600, "cuda": 2000}
ROUNDS: dict[Device, int] = {"cpu": 2, "cuda": 1}
SPACE, BUDGET = "smlpnet_cifar_space", "3.7MFLOPs"


def run(device: Device) -> Iterator[Findings]:
    studies: list[dict[str, Any]] = []
    with postgres.server() as server:
        for _ in range(ROUNDS[device]):
            for count in TRAINING[device]:
                studies.append(trained(server.database(), device, count))
                yield Findings(rows(studies), {"studies": studies})
        for count in WAITING[device]:
            studies.append(waited(server.database(), count))
            yield Findings(rows(studies), {"studies": studies})


def rows(studies: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The figures of studies: of trainings, against one worker's in the same round."""
    found: list[Row] = []
    rates: dict[tuple[str, int], list[float]] = {}
    for study in studies:
        rate = study["trials"] / study["seconds"] * 3600
        rates.setdefault((study["kind"], study["workers"]), []).append(rate)
    for (kind, count), each in rates.items():
        case = f"{kind}, {count} worker{'s' * (count > 1)}"
        gains = [here / alone for here, alone in zip(each, rates[kind, 1], strict=False)]
        found.append(Row(case, "throughput", Quartiles.of(each), "trials/h"))
        found.append(Row(case, "throughput / 1 worker", Quartiles.of(gains), "×"))
        if kind == WAITS:
            between = [gap for s in studies if (s["kind"], s["workers"]) == (kind, count)
                       for gap in s["between"]]  # fmt: skip
            found.append(Row(case, "coordination of a trial", Quartiles.of(between), "s"))
    return found


# -- trials that train -----------------------------------------------------------------------------


def trained(storage: str, device: Device, workers: int) -> dict[str, Any]:
    """A search in so many processes; always the same networks, each trained to its end."""
    from archspec.search.searching import run as search

    with tempfile.TemporaryDirectory() as folder, one_thread(device):
        start = time.time()
        # several objectives: nothing is pruned; uniform: what is chosen hangs on nobody's result
        outcome = search(
            SPACE, BUDGET, objective="accuracy,flops", sampler="uniform", trials=TRIALS,
            data=noise(IMAGES[device]), storage=storage, study=STUDY, device=device,
            epochs=2, batch_size=100, finalists=0, workers=workers, folder=folder, report=False,
        )  # fmt: skip
        states = [trial.state for trial in outcome.record.trials]
    if states != ["complete"] * TRIALS:
        raise RuntimeError(f"not every trial came to its end: {states}")
    return {"kind": "trainings", "workers": workers, "trials": len(states)} | times(storage, start)


@contextlib.contextmanager
def one_thread(device: Device) -> Iterator[None]:
    """On the CPU, processes of one thread: so that N workers have N times what one has."""
    import torch

    if device != "cpu":
        yield
        return
    before, threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def noise(count: int) -> Data:
    """Images of 32×32 to train on; what is in them does not change how long that takes."""
    from archspec.search.data import Data, Split

    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        images_NCHW = random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        return Split(images_NCHW, np.arange(count, dtype=np.int64) % 10)

    return Data(
        "noise", tuple(map(str, range(10))), split(count), split(count // 10), None,
        (0.5, 0.5, 0.5), (0.3, 0.3, 0.3), True, f"noise {count}",
    )  # fmt: skip


# -- trials that wait ------------------------------------------------------------------------------


def waited(storage: str, workers: int) -> dict[str, Any]:
    """Processes that share a study whose trials last a second, from the same instant on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["archspec.search.bench", "archspec.search.trying"])
    trials = workers * EACH
    with tempfile.TemporaryDirectory() as folder:
        ready = context.Barrier(workers)
        crew = [
            context.Process(target=_worker, args=(storage, folder, trials, ready))
            for _ in range(workers)
        ]
        start = time.time()
        for process in crew:
            process.start()
        for process in crew:
            process.join()
        if any(process.exitcode for process in crew):
            raise RuntimeError(f"a worker ended with {[process.exitcode for process in crew]}")
    return {"kind": WAITS, "workers": workers, "trials": trials} | times(storage, start)


def _worker(storage: str, folder: str, trials: int, ready: Barrier) -> None:
    from archspec.search.bench import opened
    from archspec.search.ready import prepare
    from archspec.search.trying import try_networks

    asked = prepare(
        "smlpnet_space", "5GFLOPs", objective=wait, trials=trials, time_limit=None, data=None,
        limit=None, study=STUDY, storage=storage, seed=0, device="cpu", resolution=None,
        sampler=None, epochs=None, batch_size=None, precision=None, finalists=0, folder=folder,
        listener=None, should_stop=lambda: False,
    )  # fmt: skip
    with opened(asked, alone=False) as bench:
        ready.wait()
        try_networks(bench, trials, None)


def wait(spec: Spec) -> float:
    """An objective that takes a second, and depends on the network alone."""
    time.sleep(WAIT)
    return int(spec.digest[:8], 16) / 2**32


# -- what a study says -----------------------------------------------------------------------------


def times(storage: str, start: float) -> dict[str, Any]:
    """When what happened, in seconds.

    Returns:
        `seconds` from the first trial's beginning to the last one's end, `starting` until the first
        one began, and `between`: of each worker, what a trial and the time until the next took
        longer than a second.
    """
    from archspec.search import storage as store
    from archspec.search.retries import WORKER

    trials = store.load_study(STUDY, storage).get_trials(deepcopy=False)
    begun = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    of_workers: dict[str, list[float]] = {}
    for trial in trials:
        assert trial.datetime_start is not None
        of_workers.setdefault(trial.user_attrs[WORKER], []).append(trial.datetime_start.timestamp())
    return {
        "seconds": (max(ended) - min(begun)).total_seconds(),
        "starting": min(begun).timestamp() - start,
        "between": [gap for starts in of_workers.values() for gap in _gaps(sorted(starts))],
        "trials_of_workers": sorted(len(starts) for starts in of_workers.values()),
    }


def _gaps(starts: Sequence[float]) -> list[float]:
    return [round(b - a - WAIT, 4) for a, b in itertools.pairwise(starts)]


def lacks(device: Device) -> str | None:
    """What is missing here, if anything is."""
    return postgres.missing()


BENCHMARK = Benchmark(
    "workers",
    "trials an hour of several workers that share a study on PostgreSQL, and what sharing costs",
    ("cpu", "cuda"),
    run,
    lacks,
    is_long=True,
)
