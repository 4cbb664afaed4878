"""Accuracy and loss of a network on a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.search.data.images import Data, Split
from archspec.search.train.batches import Batches, Normalise
from archspec.search.train.device import open_fabric, repeatable
from archspec.search.train.recipe import Precision


def evaluate(
    model: nn.Module,
    split: Split,
    data: Data,
    *,
    batch_size: int = 256,
    device: str = "auto",
    precision: Precision | None = None,
) -> tuple[float, float]:
    """Accuracy (0 to 1) and mean cross entropy (nats) on a split of the data.

    The model is moved to the device and left in eval mode.

    Raises:
        ArchspecError: there is no such device.
    """
    fabric = open_fabric(device, precision)
    prepared = fabric.setup_module(model)
    batches, normalise = Batches(split, fabric.device), Normalise(data, fabric.device)
    with repeatable():
        return measure(prepared, batches, normalise, batch_size)


def measure(
    model: nn.Module, batches: Batches, normalise: Callable[[Tensor], Tensor], size: int
) -> tuple[float, float]:
    """Accuracy and mean cross entropy over all batches of at most `size` images."""
    model.eval()
    # on the device, so that nothing waits for it before the end
    right = torch.zeros((), dtype=torch.int64, device=batches.device)
    nats = torch.zeros((), dtype=torch.float32, device=batches.device)
    with torch.inference_mode():
        for images_BCHW, labels_B in batches.in_order(size):
            logits_BK = model(normalise(images_BCHW)).float()
            right += (logits_BK.argmax(1) == labels_B).sum()
            nats += F.cross_entropy(logits_BK, labels_B, reduction="sum")
    return int(right) / len(batches), float(nats) / len(batches)
