"""How long a call takes, on the device where it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Task = Callable[[], object]
Clock = Callable[[Task], float]
"""Runs a task and gives its seconds."""


def wall(task: Task) -> float:
    """Seconds by the clock on the wall."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def cuda(task: Task) -> float:
    """Seconds between two events on the current CUDA stream."""
    import torch

    event: Any = torch.cuda.Event  # untyped
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    task()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def clock_for(kind: str) -> Clock:
    """The clock of a kind of device: `cpu`, `cuda`."""
    return cuda if kind == "cuda" else wall
