"""What a trial costs besides its training, in a study that has thousands of them.

A worker chooses a network, says what it does, and ends its trial as in any search; only that its
training does nothing. One worker alone shows what that takes, and how long it holds the turn in
which one worker at a time chooses: the bound on what any number of them can do. Many workers, whose
trials last some seconds each, show how long they wait for each other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import postgres
from benchmarks.registry import Benchmark, Device, Findings, Row
from benchmarks.timing import Quartiles

if TYPE_CHECKING:
    from archspec.search.bench import Bench
    from archspec.search.candidate import Workshop
    from archspec.search.record import TrialRecord
    from archspec.search.train.history import Result
    from archspec.spec import Spec

SPACE, BUDGET = "smlpnet_space", "5GFLOPs"
STUDY = "asking"
COUNTS = (0, 1_000, 10_000)
"""So many trials there are already."""
ALONE = 20
"""Trials of one worker alone, the first not counted: it looks at all trials for the first time."""
MANY = (8, 32)
"""So many workers at once, where there are the most trials."""
EACH = 2
"""Trials of each."""
PACE = 15.0
"""Seconds that their trials last in the mean; exponentially distributed."""
EPOCHS = 8
_REACHED = {1: 0.5, 2: 0.25, 4: 0.125, EPOCHS: 0.125}
"""Epochs that trials come to, and the share that does: successive halving."""


def run(device: Device) -> Iterator[Findings]:
    studies: list[dict[str, Any]] = []
    for database, url, folder in databases():
        for count in COUNTS:
            fill(url, folder, count)
            for workers in (1, *(MANY if count == COUNTS[-1] else ())):
                found = alone(url, folder) if workers == 1 else together(url, folder, workers)
                studies.append(about(database, count, workers, "tpe", found))
                yield Findings(rows(studies), {"pace": PACE, "studies": studies})
        for sampler in ("gp", "nsga2", "uniform"):
            studies.append(about(database, count, 1, sampler, alone(url, folder, sampler)))
            yield Findings(rows(studies), {"pace": PACE, "studies": studies})


def databases() -> Iterator[tuple[str, str, Path]]:
    """Empty ones: what they are, their URLs, and a folder for the study's files."""
    with tempfile.TemporaryDirectory() as folder, postgres.server() as server:
        yield "PostgreSQL", server.database(), Path(folder)
    with tempfile.TemporaryDirectory() as folder:
        yield "SQLite", f"sqlite:///{folder}/study.db", Path(folder)


def about(
    database: str, count: int, workers: int, sampler: str, found: Sequence[Cost]
) -> dict[str, Any]:
    return {
        "database": database, "trials": count, "workers": workers, "sampler": sampler,
        "costs": {
            each.name: [round(getattr(cost, each.name), 5) for cost in found]
            for each in fields(Cost)
        },
    }  # fmt: skip


def rows(studies: Sequence[dict[str, Any]]) -> list[Row]:
    found: list[Row] = []
    for study in studies:
        case = f"{study['database']}, {study['trials']:,} trials, {study['workers']} worker"
        case += "s" * (study["workers"] > 1) + f", {study['sampler']}"
        cost = study["costs"]
        found += [
            Row(case, "a trial besides its training", Quartiles.of(cost["whole"]), "s"),
            Row(case, "of that, in its turn", Quartiles.of(cost["held"]), "s"),
        ]
        if study["workers"] > 1:
            found += [
                Row(case, "wait for the turn", Quartiles.of(cost["waited"]), "s"),
                Row(case, "longest wait for the turn", Quartiles.of([max(cost["waited"])]), "s"),
            ]
        else:
            shares = [100 * whole / 60 for whole in cost["whole"]]
            bounds = [3600 / held for held in cost["held"]]
            found += [
                Row(case, "CPU time of the worker", Quartiles.of(cost["cpu"]), "s"),
                Row(case, "against a trial of a minute", Quartiles.of(shares), "%"),
                Row(case, "bound by turns", Quartiles.of(bounds), "trials/h"),
                Row(case, "statements to the database", Quartiles.of(cost["statements"]), ""),
                Row(case, "of those, in its turn", Quartiles.of(cost["statements_held"]), ""),
            ]
    return found


# -- a study ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(url: str, folder: Path) -> Iterator[Bench]:
    """The study, at whose trials nothing is trained."""
    from archspec.search import bench
    from archspec.search.objectives import OBJECTIVES
    from archspec.search.ready import prepare

    ready = prepare(
        SPACE, BUDGET, objective=nothing, trials=10 * COUNTS[-1], time_limit=None, data=None,
        limit=None, study=STUDY, storage=url, seed=0, device="cpu", resolution=None, sampler="tpe",
        epochs=EPOCHS, batch_size=None, precision=None, finalists=0, folder=folder, listener=None,
        should_stop=lambda: False,
    )  # fmt: skip
    with bench.opened(ready, alone=False) as found:
        # as a search for accuracy, with its reports and its pruning, and without images
        shop = replace(found.shop, objectives=(OBJECTIVES["accuracy"],), function=None)
        yield replace(found, shop=shop)


def nothing(spec: Spec) -> float:
    return 0.0


def fill(url: str, folder: Path, count: int) -> None:
    """Add ended trials until there are so many: networks inside the budget, with random results."""
    from optuna.trial import TrialState, create_trial

    from archspec.search.retries import DEVICE, WORKER
    from archspec.search.retries import EPOCHS as REACHED
    from archspec.search.samplers.base import distributions

    with opened(url, folder) as bench:
        feasible, study = bench.shop.feasible, bench.study
        there = len(study.get_trials(deepcopy=False))
        rng = np.random.default_rng(there)
        networks = feasible.sample(max(count - there, 0), rng)
        costs, kinds = feasible.figures(networks), distributions(feasible.space)
        for i, network in enumerate(networks.tolist()):
            last = int(rng.choice(list(_REACHED), p=list(_REACHED.values())))
            curve = accuracies(rng.random())[:last]
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE if last == EPOCHS else TrialState.PRUNED,
                    value=curve[-1],
                    params=feasible.space.choices(network),
                    distributions=kinds,
                    intermediate_values=dict(enumerate(curve, 1)),
                    user_attrs={
                        WORKER: bench.shop.worker, DEVICE: "cpu", REACHED: last, "loss": 1.0,
                        "flops": int(costs.flops[i]), "params": int(costs.params[i]),
                    },
                )
            )  # fmt: skip


def accuracies(final: float) -> list[float]:
    """After each epoch."""
    return [final * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]


# -- a worker --------------------------------------------------------------------------------------


@dataclass
class Cost:
    """What a trial took besides its training, in seconds and statements."""

    whole: float = 0.0
    """From the end of the trial before; neither training nor waiting for the turn."""
    held: float = 0.0
    """While it was this worker's turn."""
    waited: float = 0.0
    """For the turn."""
    cpu: float = 0.0
    """Processor time of this process."""
    statements: int = 0
    statements_held: int = 0


@dataclass
class Meter:
    """Takes the time of one worker's trials."""

    costs: list[Cost] = field(default_factory=list)
    now: Cost = field(default_factory=Cost)
    trained: float = 0.0
    _since: float | None = None
    """When the turn began."""

    def begin(self) -> None:
        self.now, self.trained = Cost(), 0.0
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        whole = time.perf_counter() - self._start
        self.now.whole = whole - self.now.waited - self.trained
        self.now.cpu = time.process_time() - self._cpu
        self.costs.append(self.now)
        self.begin()

    def statement(self, *_: Any) -> None:
        self.now.statements += 1
        self.now.statements_held += self._since is not None

    @contextlib.contextmanager
    def at_turns(self) -> Iterator[None]:
        """Meanwhile it is told of every turn."""
        from archspec.search.turns import Turn

        take, give = Turn.take, Turn.give

        def taking(turn: Turn, *args: Any) -> bool:
            start = time.perf_counter()
            got = take(turn, *args)
            self._since = time.perf_counter()
            self.now.waited += self._since - start
            return got

        def giving(turn: Turn) -> None:
            give(turn)
            if self._since is not None:
                self.now.held += time.perf_counter() - self._since
                self._since = None

        Turn.take, Turn.give = taking, giving  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Turn.take, Turn.give = take, give  # type: ignore[method-assign]


def work(bench: Bench, trials: int, seconds: Callable[[], float]) -> list[Cost]:
    """Try so many networks.

    Args:
        seconds: how long the next training lasts.
    """
    from sqlalchemy import event

    from archspec.search.candidate import Workshop
    from archspec.search.listener import Listener
    from archspec.search.train.outcomes import Interrupted
    from archspec.search.trying import try_networks

    meter = Meter()

    class Ears(Listener):
        def ended(self, trial: TrialRecord, finished: int, best: float | None) -> None:
            meter.end()

    class Idle(Workshop):
        def train(self, spec: Spec, seed: int, on_epoch: Any = None, on_end: Any = None) -> Result:
            lasts = seconds()
            time.sleep(lasts)
            meter.trained += lasts
            curve = accuracies(int(spec.digest[:8], 16) / 2**32)
            for epoch, accuracy in enumerate(curve, 1):
                on_epoch(SimpleNamespace(number=epoch, accuracy=accuracy))
            last: Any = SimpleNamespace(history=[SimpleNamespace(loss=1.0)], accuracy=curve[-1])
            found: Result = last
            return found

    given = {each.name: getattr(bench.shop, each.name) for each in fields(Workshop)}
    shop: Workshop = Idle(
        **given | {"listener": Ears(), "should_stop": lambda: len(meter.costs) >= trials}
    )
    event.listen(bench.storage.engine, "before_cursor_execute", meter.statement)
    with meter.at_turns(), contextlib.suppress(Interrupted):
        meter.begin()
        try_networks(replace(bench, shop=shop), 100 * COUNTS[-1], None)
    event.remove(bench.storage.engine, "before_cursor_execute", meter.statement)
    return meter.costs


def alone(url: str, folder: Path, sampler: str = "tpe") -> list[Cost]:
    """One worker, whose trials take no time."""
    from archspec.search.samplers import samplers

    with opened(url, folder) as bench:
        bench.study.sampler = samplers()[sampler](bench.shop.feasible, 0)
        return work(bench, 1 + ALONE, lambda: 0.0)[1:]


def together(url: str, folder: Path, workers: int) -> list[Cost]:
    """Processes that share the study, each at its own pace."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "archspec.search.bench", "archspec.search.trying"])
    ready = context.Barrier(workers)
    pipes, crew = [], []
    for seed in range(workers):
        mine, its = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(url, folder, seed, ready, its))
        process.start()
        its.close()
        pipes.append(mine)
        crew.append(process)
    found: list[Cost] = [cost for pipe in pipes for cost in pipe.recv()]
    for process in crew:
        process.join()
    return found


def _worker(url: str, folder: Path, seed: int, ready: Barrier, pipe: Connection) -> None:
    rng = np.random.default_rng(seed)
    with opened(url, folder) as bench:
        bench.study.get_trials(deepcopy=False)  # the first look takes seconds: before all begin
        ready.wait()
        time.sleep(rng.uniform(0, PACE))
        pipe.send(work(bench, EACH, lambda: float(rng.exponential(PACE))))


def lacks(device: Device) -> str | None:
    """What is missing here, if anything is."""
    return postgres.missing()


BENCHMARK = Benchmark(
    "asking",
    "what a trial costs besides its training, with up to 10,000 trials and 32 workers",
    ("cpu",),
    run,
    lacks,
    is_long=True,
)
