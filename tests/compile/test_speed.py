"""Timing in turns, and what a runner needs of memory."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch
from torch import Tensor

from archspec.compile import speed


def sleeper(seconds: float) -> speed.Runner:
    def run(images_BCHW: Tensor) -> Tensor:
        time.sleep(seconds)
        return images_BCHW

    return run


def test_ratios_are_taken_within_rounds() -> None:
    images_BCHW = torch.zeros(4, 1, 1, 1)
    runners = {"artefact": sleeper(0.002), "eager fp32": sleeper(0.006)}
    done: list[float] = []
    fast, slow = speed.measure(runners, images_BCHW, seconds=0.1, progress=done.append)
    assert (fast.runner, slow.runner) == ("artefact", "eager fp32")
    assert fast.rounds == slow.rounds >= speed.ROUNDS[0]
    assert slow.ratio == slow.ratio_low == slow.ratio_high == 1
    assert fast.ratio_low <= fast.ratio <= fast.ratio_high
    assert fast.ratio > 1  # a sleep is never shorter than asked for
    assert fast.images_per_second == pytest.approx(4 / (fast.median_ms / 1e3))
    assert fast.p90_ms >= fast.median_ms
    assert done == sorted(done)
    assert done[-1] <= 1


ADDS = """
import torch
from archspec.compile import speed
size = 64 * 2**20
def make():
    weights = torch.ones(size // 4)
    return lambda x: x + weights[0] + torch.ones(len(x) * size // 4)[0]
_, peaks = speed.hold(make, [torch.zeros(1, 1, 1, 1), torch.zeros(3, 1, 1, 1)])
print(*[None if peak is None else peak / size for peak in peaks.values()])
"""


def test_memory_is_what_a_runner_adds() -> None:
    """In a process of its own: what other tests have freed would be taken again."""
    done = subprocess.run([sys.executable, "-c", ADDS], capture_output=True, text=True, check=True)
    one, three = done.stdout.split()
    if "None" in (one, three):
        pytest.skip("this system does not say what memory a process uses")
    assert 1.8 < float(one) < 2.5  # the weights, and as much again while it runs
    assert 3.7 < float(three) < 4.6
