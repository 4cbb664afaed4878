"""Data and networks small enough to train in a fraction of a second."""

from __future__ import annotations

import numpy as np
from torch import nn

from archspec.search.data.images import Data, Split
from archspec.search.train.device import seeded


def tiny_data(train: int = 40, held_out: int = 12, *, flip: bool = True, side: int = 6) -> Data:
    """Noise with a bright upper half (class 0) or lower half (class 1)."""
    random = np.random.default_rng(7)

    def split(count: int) -> Split:
        labels_N = np.arange(count) % 2
        images_NCHW = random.integers(0, 100, (count, 3, side, side), dtype=np.uint8)
        for image_CHW, label in zip(images_NCHW, labels_N, strict=True):
            half = slice(0, side // 2) if label == 0 else slice(side // 2, side)
            image_CHW[:, half] += 100
        return Split(images_NCHW, labels_N.astype(np.int64))

    return Data(
        "tiny", ("upper", "lower"), split(train), split(held_out), None,
        (0.4, 0.4, 0.4), (0.2, 0.2, 0.2), flip, f"digest of {train} and {held_out}",
    )  # fmt: skip


def tiny_network(*, norm: bool = True, dropout: float = 0.0, classes: int = 2) -> nn.Module:
    """The same weights every time."""
    with seeded(3):
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(4 * 6 * 6, classes),
        )
