"""What the command line takes to start, beyond what Python itself takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from archspec.clock import Task
from benchmarks.registry import Benchmark, Device, Row
from benchmarks.timing import Quartiles, difference, interleave

ROUNDS = 21


def _start(*command: str) -> Task:
    def task() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return task


def run(device: Device) -> list[Row]:
    archspec = str(Path(sys.executable).with_name("archspec"))
    commands = ("--help", "specs")
    tasks = {"bare": _start(sys.executable, "-c", "pass")}
    tasks |= {command: _start(archspec, command) for command in commands}
    seconds = interleave(tasks, ROUNDS)
    rows = [Row("python -c pass", "wall time", Quartiles.of(seconds["bare"]), "s")]
    for command in commands:
        more = difference(seconds[command], seconds["bare"])
        rows.append(Row(f"archspec {command}", "more than a bare Python start", more, "s"))
    return rows


BENCHMARK = Benchmark(
    "startup", "the start of `archspec --help` and `archspec specs`", ("cpu",), run
)
