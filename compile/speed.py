"""How fast an artefact is: against eager mode, side by side in one process.

Each round runs every runner once, in turns, so that a disturbance of the machine meets all alike;
a ratio is taken within a round.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from archspec.clock import clock_for
from archspec.compile.backends.base import Runner
from archspec.compile.manifest import Timing

WARM_UP = 0.2
"""Seconds of each runner before anything is measured (as TensorRT's trtexec)."""
SECONDS = 3.0
"""How long each runner is measured, about."""
ROUNDS = (5, 400)
"""Fewest and most, whatever time they take."""
EAGER = "eager fp32"
"""What the others are compared with."""
ARTEFACT = "artefact"


def measure(
    runners: Mapping[str, Runner],
    images_BCHW: Tensor,
    *,
    seconds: float = SECONDS,
    base: str = EAGER,
    peaks: Mapping[str, int | None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Timing]:
    """Time runners on one batch, interleaved.

    Args:
        runners: name → runner; one is called `base`.
        images_BCHW: on the device where they run.
        seconds: for each runner, about.
        peaks: what each needs of memory at this batch size, as `hold` found it.
        progress: told the share that is done.
    """
    clock = clock_for(images_BCHW.device.type)
    tasks = {name: partial(runner, images_BCHW) for name, runner in runners.items()}
    with torch.inference_mode():
        for task in tasks.values():
            start = time.perf_counter()
            clock(task)
            while time.perf_counter() - start < WARM_UP:
                clock(task)
        times: dict[str, list[float]] = {name: [] for name in runners}
        names = list(tasks)
        start, rounds = time.perf_counter(), 0
        limit = seconds * len(names)
        while rounds < ROUNDS[0] or (time.perf_counter() - start < limit and rounds < ROUNDS[1]):
            turn = rounds % len(names)
            for name in names[turn:] + names[:turn]:
                times[name].append(clock(tasks[name]))
            rounds += 1
            if progress is not None:
                progress(min((time.perf_counter() - start) / limit, rounds / ROUNDS[0], 1.0))
    return [
        _timing(name, len(images_BCHW), times[name], times[base], (peaks or {}).get(name))
        for name in runners
    ]


def _timing(
    name: str, batch: int, times: list[float], base: list[float], peak: int | None
) -> Timing:
    ratios = [theirs / ours for ours, theirs in zip(times, base, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    median = statistics.median(times)
    return Timing(
        runner=name, batch=batch, median_ms=1e3 * median,
        p90_ms=1e3 * statistics.quantiles(times, n=10, method="inclusive")[-1],
        images_per_second=batch / median, ratio=middle, ratio_low=low, ratio_high=high,
        rounds=len(times), peak_memory=peak,
    )  # fmt: skip


def hold(
    make: Callable[[], Runner], batches: Sequence[Tensor]
) -> tuple[Runner, dict[int, int | None]]:
    """Make a runner and run it, watching what memory that takes.

    Args:
        make: loads or builds it.
        batches: images (B, C, H, W), the smallest batch first.

    Returns:
        The runner, and for each batch size the bytes that were added at the peak since before it
        was made: weights, code and activations. None where nobody says.
    """
    device = batches[0].device
    before = _before(device)
    runner = make()
    found: dict[int, int | None] = {}
    with torch.inference_mode():
        for images_BCHW in batches:
            runner(images_BCHW)
            peak = _peak(device)
            is_known = before is not None and peak is not None
            found[len(images_BCHW)] = max((peak or 0) - (before or 0), 0) if is_known else None
    return runner, found


def _before(device: torch.device) -> int | None:
    """Bytes that are held now, with the count of the peak started anew; None: nobody says."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what is free, and only kept by the allocator
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux
    except OSError:
        return None
    return _resident("VmRSS")


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    return _resident("VmHWM")


def _resident(field: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    return None
