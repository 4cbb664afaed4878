"""Images in memory: what every source of data is turned into, and all that training sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Split:
    """Images of one size with their classes."""

    images_NCHW: NDArray[np.uint8]
    """In memory, or mapped from a file where they would not fit."""
    labels_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True)
class Data:
    """A data set, ready to train on."""

    name: str
    """What the user gave: `digits`, a path."""
    classes: tuple[str, ...]
    train: Split
    held_out: Split
    """Never trained on; candidates are scored on it."""
    test: Split | None
    """A split that the data set itself keeps for the end, if it has one."""
    mean: tuple[float, ...]
    """Per channel, of the training images scaled to 0 … 1."""
    std: tuple[float, ...]
    flip: bool
    """Whether a mirrored image still shows the same class (not so for digits)."""
    digest: str
    """Of the pixels and labels: two data sets with the same one are the same."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Images that could not be read, and why."""

    def describe(self) -> str:
        """`digits: 1,437 images to train, 360 held out, 10 classes`."""
        parts = [f"{len(self.train):,} images to train", f"{len(self.held_out):,} held out"]
        if self.test is not None:
            parts.append(f"{len(self.test):,} to test")
        parts.append(f"{len(self.classes)} classes")
        if self.skipped:
            parts.append(f"{len(self.skipped):,} unreadable, skipped")
        return f"{self.name}: {', '.join(parts)}"
