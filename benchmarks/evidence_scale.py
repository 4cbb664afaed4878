"""How large the evidence is on each device, and the images that it is about."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archspec.search.data import Data, Split, load
from benchmarks.registry import Device

VARIABLE = "ARCHSPEC_CIFAR10"
"""Names the folder of CIFAR-10's Parquet files."""
USUAL = Path(__file__).parent.parent.parent / "shared" / "data" / "cifar10"
SIDE = 32


@dataclass(frozen=True)
class Scale:
    """The size of everything that is trained."""

    space: str
    values: Mapping[str, Any]
    """Put over the space's own, as by --set."""
    budget: str
    networks: int
    """Drawn from the window, stratified by width."""
    images: int | None
    """To train on in a long training; None: all there are."""
    epochs: int
    """Of a long training."""
    short: tuple[int | None, int]
    """Images and epochs of the short training that the search takes for its score."""
    longer: tuple[tuple[int | None, int], ...]
    """Further short trainings, to see what they would have told."""
    held_out: int
    """Images that a short training is scored on, at most."""
    test: int
    """Images that a long training is scored on, at most."""
    trials: int
    """Networks that the search tries."""
    seeds: tuple[int, ...]
    """Of the long trainings that are compared."""
    ablation: Mapping[str, Any]
    """The width and the depths of the ablations."""
    widened: int
    """The width of the local network, wider by as much as the paper's (112 / 80)."""


SMALL = Scale(
    space="smlpnet_cifar_space", values={}, budget="3.7MFLOPs", networks=24,
    images=4000, epochs=8, short=(1600, 1), longer=((3200, 1), (3200, 2)),
    held_out=2000, test=10_000, trials=50, seeds=(1, 2, 3),
    ablation={"dim": 10, "depths": [1, 2, 3, 1]}, widened=14,
)  # fmt: skip
"""About 50 minutes of one core."""

FULL = Scale(
    space="smlpnet_space",
    values={
        "input.height": SIDE, "input.width": SIDE, "classes": 10,
        "stages.stage1.enter.patches.size": 2,
    },
    budget="150MFLOPs", networks=32,
    images=None, epochs=40, short=(None, 2), longer=((None, 4), (None, 8)),
    held_out=10_000, test=10_000, trials=50, seeds=(1, 2, 3),
    ablation={"dim": 40, "depths": [2, 8, 14, 2]}, widened=56,
)  # fmt: skip

SCALES: Mapping[Device, Scale] = {"cpu": SMALL, "cuda": FULL}


def folder() -> Path:
    """Where CIFAR-10 is, or should be."""
    return Path(os.environ.get(VARIABLE) or USUAL)


def lacks(device: Device) -> str | None:
    """What is missing here, if anything is."""
    if not any(folder().glob("*.parquet")):
        return f"needs CIFAR-10 as Parquet files; set {VARIABLE} to their folder"
    return None


def images(scale: Scale, limit: int | None) -> Data:
    """CIFAR-10, or so many of its training images; always the same ones held out."""
    data = load(folder(), size=SIDE, limit=limit)
    assert data.test is not None
    return dataclasses.replace(
        data, name="CIFAR-10", held_out=first(data.held_out, scale.held_out),
        test=first(data.test, scale.test),
    )  # fmt: skip


def first(split: Split, most: int) -> Split:
    """The first images of each class, as many of one as of another, `most` in all."""
    if len(split) <= most:
        return split
    classes = int(split.labels_N.max()) + 1
    order = np.argsort(split.labels_N, kind="stable")
    labels = split.labels_N[order]
    count_C = np.bincount(labels, minlength=classes)
    place = np.arange(len(order)) - (np.cumsum(count_C) - count_C)[labels]
    kept = np.sort(order[place < most // classes])
    return Split(split.images_NCHW[kept], split.labels_N[kept])
