"""How soon the networks inside a budget are counted and drawn, and what the next one costs."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

from archspec.clock import Task
from benchmarks.registry import Benchmark, Device, Row
from benchmarks.timing import Quartiles, interleave, rate

DRAWN = 1_000_000
TRIALS = 1_000
ASKS = 20
ROUNDS = 7


def run(device: Device) -> list[Row]:
    import numpy as np
    import optuna

    from archspec.search import Space, budget, feasible
    from archspec.search.samplers import samplers
    from archspec.search.samplers.base import distributions

    limits = {"smlpnet_space": "5GFLOPs", "hybrid_space": "5GFLOPs"}

    def counted(name: str) -> Task:
        return lambda: feasible(Space(name), budget(limits[name]))

    seconds = interleave({name: counted(name) for name in limits}, ROUNDS)
    rows = [
        Row(f"{name} at {limits[name]}", f"counted: {found.count:,} of {found.space.size:,}",
            Quartiles.of(seconds[name]), "s")
        for name in limits
        for found in [feasible(Space(name), budget(limits[name]))]
    ]  # fmt: skip
    found = feasible(Space("smlpnet_space"), budget("5GFLOPs"))
    rng = np.random.default_rng(0)
    drawn = interleave({"drawn": lambda: found.sample(DRAWN, rng)}, ROUNDS)["drawn"]
    rows.append(
        Row("smlpnet_space at 5GFLOPs", f"{DRAWN:,} networks drawn", rate(drawn, DRAWN / 1e6),
            "million networks/s")
    )  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on what is experimental
        storage = optuna.storages.RDBStorage(f"sqlite:///{Path(folder) / 'study.db'}")
        study = optuna.create_study(storage=storage, direction="maximize")
        kinds = distributions(found.space)
        study.add_trials(
            optuna.create_trial(
                params=found.space.choices(row), distributions=kinds, value=float(rng.random())
            )
            for row in found.sample(TRIALS, rng).tolist()
        )
        for name, make in samplers().items():
            study.sampler = make(found, 0)
            asked = []
            for _ in range(ASKS):
                start = time.process_time()
                study.ask(kinds)
                asked.append(1e3 * (time.process_time() - start))
            rows.append(
                Row(f"{TRIALS:,} finished trials in SQLite", f"CPU time of an ask, {name}",
                    Quartiles.of(asked[1:]), "ms")
            )  # fmt: skip
    return rows


BENCHMARK = Benchmark(
    "feasible",
    "counting the networks inside a budget, drawing them, and asking for the next one",
    ("cpu",),
    run,
)
