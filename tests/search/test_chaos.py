"""Workers are killed and frozen at random, the database restarted; the study is as if nothing was.

ARCHSPEC_CHAOS=600 makes it last about so many seconds: `pytest -s tests/search/test_chaos.py`.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from benchmarks.postgres import Server
from tests.search.crews import Crew, attempts, workers_of
from tests.search.shared import Score, Ways

WORKERS = 4


def test_chaos(tmp_path: Path, url: str, server: Server) -> None:
    seconds = float(os.environ.get("ARCHSPEC_CHAOS", "15"))
    is_long = seconds > 60
    each, pause = (1.0, (2.0, 6.0)) if is_long else (0.3, (1.0, 2.0))
    trials = round(seconds * WORKERS / (each + 0.3))
    faults = ["kill"] * 8 + ["freeze"] * 2 + (["fast", "immediate"] if is_long else [])
    for crew in workers_of(tmp_path, url, trials, Ways(grace=5)):
        found = torment(crew, server, Score(tmp_path, each), faults, pause)
        found |= summary(crew)
        print(json.dumps(found, indent=2))
        crew.check()
        assert found["faults"]["kill"] >= 3
        assert found["attempts"] > trials


def summary(crew: Crew) -> dict[str, Any]:
    """What the study has become, whether it is as it should be or not."""
    trials = crew.trials_now()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    networks = Counter(str(sorted(trial.params.items())) for trial in complete)
    return {
        "trials asked for": crew.trials,
        "trials finished": len(complete),
        "attempts": len(trials),
        "networks run again": len(attempts(trials)),
        "networks finished twice": sum(count > 1 for count in networks.values()),
        "trials left unfinished": sum(not trial.state.is_finished() for trial in trials),
        "notes": Counter(text.split(" ", 2)[-1] for _, text in crew.log.of("note")),
    }


def torment(
    crew: Crew, server: Server, score: Score, faults: list[str], pause: tuple[float, float]
) -> dict[str, Any]:
    """Do one fault after the other until the study is done; what was done, and for how long."""
    draw, done, started = random.Random(6), Counter[str](), 0
    began = time.monotonic()
    crew.start(WORKERS, objective=score)
    crew.began(WORKERS)
    while living := [p for p in crew.processes if p.is_alive()]:
        time.sleep(draw.uniform(*pause))
        for process in living:
            crew.wake(process)
        if len(crew.log.of("ended")) >= crew.trials - WORKERS:
            break
        fault = draw.choice(faults)
        begun = {pid for pid, _ in crew.log.of("began")}
        victims = [process for process in living if process.pid in begun]
        if not victims:  # all have only just been started
            continue
        done[fault] += 1
        if fault == "kill":
            crew.kill(draw.choice(victims))
            started += len(crew.start(1, objective=score))
        elif fault == "freeze":
            crew.freeze(draw.choice(victims))
        else:
            server.restart(fault)
    assert set(crew.join()) == {0}
    seconds = round(time.monotonic() - began)
    return {"seconds": seconds, "faults": dict(done), "workers started again": started}
