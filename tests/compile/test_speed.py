"""Timing in turns, and what a runner needs of memory."""

from __future__ import annotations

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


def test_memory_is_what_a_runner_adds() -> None:
    size = 64 * 2**20

    def make() -> speed.Runner:
        weights = torch.ones(size // 4)

        def run(images_BCHW: Tensor) -> Tensor:
            return images_BCHW + weights[: len(images_BCHW)].sum() + torch.ones(
                len(images_BCHW) * size // 4
            )[0]  # fmt: skip

        return run

    _, peaks = speed.hold(make, [torch.zeros(1, 1, 1, 1), torch.zeros(3, 1, 1, 1)])
    one, three = peaks[1], peaks[3]
    if one is None or three is None:
        pytest.skip("this system does not say what memory a process uses")
    assert 1.8 * size < one < 2.5 * size  # the weights, and as much again while it runs
    assert 3.7 * size < three < 4.6 * size
