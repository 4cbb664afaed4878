"""Where `archspec build specs/smlpnet_b.yaml` spends its time.

Each round is a process of its own, which times its own parts: `python -m benchmarks.build FILE`
runs the command with a clock around the imports, fvcore, and the making of the module.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archspec.clock import wall
from benchmarks.registry import Benchmark, Device, Row
from benchmarks.timing import Quartiles

ROUNDS = 7
SPEC = "specs/smlpnet_b.yaml"

IMPORT_TORCH = "import torch"
IMPORT_DYNAMO = "import torch._dynamo (FlopCounterMode on a first run does)"
IMPORT_FVCORE = "import fvcore"
FVCORE = "fvcore counts"
FLOP_COUNTER = "FlopCounterMode counts"
MODULE = "making the module (random weights)"
OURS = "archspec itself (load, expand, count, lower, compare, print)"
REST = "Python's own start and exit"


class Parts:
    """Seconds by part. What runs inside a part of its own is not counted in the one around it,
    so that they add up however calls nest; `to_module` calls itself, for one.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._open: list[str] = []
        self._since = 0.0

    def _charge(self) -> None:
        """Give the time since the last change to the innermost open part."""
        now = self._clock()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its time charged to `part`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._charge()
            self._open.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._charge()
                self._open.pop()

        return call


def run(device: Device) -> list[Row]:
    totals: list[float] = []
    parts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "parts.json"
        command = [sys.executable, "-m", "benchmarks.build", str(report)]
        for number in range(ROUNDS + 1):
            total = wall(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
            if number == 0:
                continue  # reads files that later rounds find in memory
            seconds: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
            seconds[REST] = total - sum(seconds.values())
            if seconds[REST] < 0:
                raise RuntimeError(f"the parts add up to more than the whole: {seconds}, {total}")
            totals.append(total)
            for name, value in seconds.items():
                parts.setdefault(name, []).append(value / total)
    case = f"archspec build {SPEC}"
    rows = [Row(case, "wall time", Quartiles.of(totals), "s")]
    for name, shares in parts.items():
        rows.append(Row(case, name, Quartiles.of([100 * share for share in shares]), "%"))
    return rows


def timed_build(report: Path) -> None:
    """Run the command in this process and write the seconds of its parts."""
    parts = Parts()
    parts.timed(IMPORT_TORCH, __import__)("torch")
    parts.timed(IMPORT_DYNAMO, __import__)("torch._dynamo")
    parts.timed(IMPORT_FVCORE, __import__)("fvcore.nn")
    parts.timed(OURS, __import__)("archspec.api")
    from archspec import cli, measure, module

    # `build` imports these when it needs them, and so gets the timed ones
    measure._torch_flops = parts.timed(FLOP_COUNTER, measure._torch_flops)
    measure.measure = parts.timed(FVCORE, measure.measure)
    module.to_module = parts.timed(MODULE, module.to_module)
    sys.argv = ["archspec", "build", SPEC]
    try:
        parts.timed(OURS, cli.main)()
    finally:
        report.write_text(json.dumps(parts.seconds), encoding="utf-8")


BENCHMARK = Benchmark(
    "build", "where `archspec build` of sMLPNet-B spends its time, in shares", ("cpu",), run
)

if __name__ == "__main__":
    timed_build(Path(sys.argv[1]))
