"""Images on their way to the device: batches, and what is done to them in training.

N images of the split, B of a batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archspec.search.data.images import Data, Split
from archspec.search.train.recipe import Recipe

RESIDENT = 0.25
"""The share of free GPU memory that the images of one split may take."""


class Batches:
    """The images of a split, to be had by index on a device, scaled to 0 … 1.

    On CUDA they are uploaded once, as bytes, where they fit; otherwise each batch is gathered from
    the array, which may be mapped from a file, and moved from pinned memory.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        self._split = split
        self.device = device
        self._labels_N = torch.from_numpy(np.array(split.labels_N)).to(device)
        self._images_NCHW: Tensor | None = None
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if split.images_NCHW.nbytes <= RESIDENT * free:
                self._images_NCHW = torch.from_numpy(np.array(split.images_NCHW)).to(device)

    def __len__(self) -> int:
        return len(self._split)

    def take(self, index_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) as float32 in 0 … 1, and labels (B), on the device."""
        where_B = self._upload(torch.from_numpy(index_B))
        if self._images_NCHW is not None:
            images_BCHW = self._images_NCHW[where_B]
        else:
            images_BCHW = self._upload(torch.from_numpy(self._split.images_NCHW[index_B]))
        return images_BCHW.float().div_(255), self._labels_N[where_B]

    def in_order(self, share: range, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The images of a share of them all, in batches of at most `size`."""
        index_N = np.arange(share.start, share.stop, dtype=np.int64)
        for start in range(0, len(index_N), size):
            yield self.take(index_N[start : start + size])

    def _upload(self, tensor: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


def shuffled(count: int, size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The indices of each batch of an epoch; they depend on seed and epoch alone.

    What is left over after the last whole batch waits for another epoch, unless there is no whole
    batch at all.
    """
    order_N = np.random.default_rng((seed, epoch)).permutation(count).astype(np.int64, copy=False)
    whole = max(count // size, 1)
    return [order_N[batch * size : (batch + 1) * size] for batch in range(whole)]


LEAST_STD = 1e-6
"""What images of one colour are divided by."""


def normalisation(data: Data) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What `Normalise` takes away and divides by, per channel of images scaled to 0 … 1."""
    return data.mean, tuple(max(value, LEAST_STD) for value in data.std)


class Normalise:
    """(x − mean) / std per channel."""

    def __init__(self, data: Data, device: torch.device) -> None:
        shape = (1, len(data.mean), 1, 1)
        self._mean_1C11 = torch.tensor(data.mean, device=device).view(shape)
        std_C = torch.tensor(data.std, device=device).clamp(min=LEAST_STD)
        self._scale_1C11 = 1 / std_C.view(shape)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW - self._mean_1C11) * self._scale_1C11


class Augment:
    """Random crop and mirror image by kornia, from torch's global generator."""

    def __init__(self, recipe: Recipe, data: Data) -> None:
        import kornia.augmentation as kornia

        self._steps: list[Any] = []  # kornia's, of which PyTorch's own type says too little
        height, width = data.train.images_NCHW.shape[2:]
        padding = min(height, width) // 8 if recipe.crop_padding is None else recipe.crop_padding
        if padding:
            # "slice" copies pixels, and on CUDA waits for nothing: kornia draws on the CPU
            crop = kornia.RandomCrop((height, width), padding=padding, cropping_mode="slice")
            self._steps.append(crop)
        if data.flip if recipe.flip is None else recipe.flip:
            self._steps.append(kornia.RandomHorizontalFlip(p=0.5))

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        for step in self._steps:
            images_BCHW = step(images_BCHW)
        return images_BCHW

    def some(self, images_SCHW: Tensor, rows_S: Tensor, count: int) -> Tensor:
        """What becomes of some images of a batch when all of it is augmented.

        Args:
            rows_S: which ones they are, of `count`. What is random is drawn for all of these.
        """
        whole = torch.Size((count, *images_SCHW.shape[1:]))
        for step in self._steps:
            drawn = step.forward_parameters(whole)
            images_SCHW = step(
                images_SCHW,
                params={
                    name: value if name == "forward_input_shape" else value[rows_S]
                    for name, value in drawn.items()
                },
            )
        return images_SCHW


def mix(images_BCHW: Tensor, alpha: float) -> tuple[Tensor, float]:
    """Mixup with one weight w ~ Beta(α, α): w · x + (1 − w) · x in reverse order; and w.

    As in DeiT: kornia's draws its weights evenly instead. The batch is shuffled already.
    """
    weight = mixing_weight(alpha)
    if weight == 1.0:
        return images_BCHW, weight
    return images_BCHW.flip(0).lerp(images_BCHW, weight), weight


def mixing_weight(alpha: float) -> float:
    """The w of a batch; without mixup (α = 0), 1."""
    return float(torch.distributions.Beta(alpha, alpha).sample()) if alpha else 1.0
