"""How long a network takes."""

from __future__ import annotations

import statistics
import time
from functools import partial

import torch
from torch import nn

from archspec.clock import clock_for
from archspec.search.train.device import open_fabric

WARM_UP = 0.2
"""The share of the time that passes before anything is measured."""
FEWEST = 5
"""Runs that are measured even if that takes longer."""


def latency(
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    device: str = "auto",
    batch: int = 1,
    seconds: float = 1.0,
) -> float:
    """Seconds for a batch in fp32, eval and inference mode: the median after a warm-up.

    On CUDA, the time between two events on the device; elsewhere, wall time. The model is moved to
    the device and left in eval mode.

    Args:
        shape: of one image (channels, height, width).
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        batch: images.
        seconds: how long to measure for, about.

    Raises:
        ArchspecError: there is no such device.
    """
    place = open_fabric(device, "fp32").device
    model.to(place).eval()
    images_BCHW = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0)).to(place)
    clock, task = clock_for(place.type), partial(model, images_BCHW)
    with torch.inference_mode():
        start = time.perf_counter()
        clock(task)  # allocations and choices of kernels
        while time.perf_counter() - start < WARM_UP * seconds:
            clock(task)
        times: list[float] = []
        while len(times) < FEWEST or time.perf_counter() - start < seconds:
            times.append(clock(task))
    return statistics.median(times)
