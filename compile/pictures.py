"""Images with real statistics: what parity is looked at on, and what int8 is calibrated with.

N images, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archspec.compile.manifest import Preprocessing
from archspec.compile.subject import Subject

CALIBRATION = 64
"""Images from which the ranges of int8 are taken; accuracy is then counted on the others."""
IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What networks for RGB images are trained with, unless something else is known."""
MOST, FEWEST = 256, 8
"""Images that are read; of large ones fewer, so that they take no more than:"""
LARGEST = 2**30
"""Bytes, in float32."""


@dataclass(frozen=True)
class Pictures:
    """Normalised images, and their classes where these are known."""

    name: str
    """In a phrase: `digits, held out`."""
    images_NCHW: Tensor
    labels_N: Tensor | None

    @cached_property
    def digest(self) -> str:
        """A hash of all of them."""
        found = hashlib.sha256(self.name.encode())
        for tensor in (self.images_NCHW, self.labels_N):
            if tensor is not None:
                found.update(f"{tensor.shape}".encode())
                found.update(tensor.contiguous().numpy().data)
        return found.hexdigest()


def preprocessing(subject: Subject) -> Preprocessing:
    """How pictures are brought to what the network takes."""
    channels = subject.spec.input["channels"]
    if subject.mean is not None and subject.std is not None:
        return Preprocessing(mean=subject.mean, std=subject.std)
    if channels == len(IMAGENET.mean):
        return IMAGENET
    return Preprocessing(mean=(0.5,) * channels, std=(0.25,) * channels)


def pictures(subject: Subject, how: Preprocessing) -> Pictures:
    """Held-out images of the data that the network was trained on; else pieces of photographs."""
    size = (subject.spec.input["height"], subject.spec.input["width"])
    channels = subject.spec.input["channels"]
    if subject.images is not None and channels in (1, 3):
        from archspec.errors import ArchspecError
        from archspec.search.data import load

        try:
            data = load(subject.images, size=size, channels=channels)
        except ArchspecError:  # it was elsewhere, or is gone
            pass
        else:
            held = data.held_out
            count = min(len(held), _most(size, channels))
            labels = torch.from_numpy(np.array(held.labels_N[:count]))
            images = np.array(held.images_NCHW[:count])
            return Pictures(f"{data.name}, held out", normalised(images, how), labels)
    count = min(32, _most(size, channels))
    return Pictures("photographs", normalised(_photographs(size, channels, count), how), None)


def _most(size: tuple[int, int], channels: int) -> int:
    return min(MOST, max(FEWEST, LARGEST // (4 * channels * size[0] * size[1])))


def normalised(images_NCHW: NDArray[np.uint8], how: Preprocessing) -> Tensor:
    """(x / 255 − mean) / std per channel, float32."""
    mean_C11 = torch.tensor(how.mean).view(-1, 1, 1)
    std_C11 = torch.tensor(how.std).clamp(min=1e-6).view(-1, 1, 1)
    return (torch.from_numpy(images_NCHW).float() / 255 - mean_C11) / std_C11


def _photographs(size: tuple[int, int], channels: int, count: int) -> NDArray[np.uint8]:
    """Pieces of scikit-learn's two photographs, of random place and size.

    One channel is grey; more than red, green and blue repeat these.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    if channels == 1:
        photographs = [photograph.convert("L") for photograph in photographs]
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        edge = int(rng.integers(photograph.height // 4, photograph.height))
        left = int(rng.integers(0, photograph.width - edge + 1))
        top = int(rng.integers(0, photograph.height - edge + 1))
        piece = photograph.resize(
            (size[1], size[0]), Image.Resampling.BILINEAR, (left, top, left + edge, top + edge)
        )
        pixels_CHW = np.atleast_3d(np.asarray(piece)).transpose(2, 0, 1)
        found.append(np.resize(pixels_CHW, (channels, *size)))  # repeats or cuts channels
    return np.stack(found)
