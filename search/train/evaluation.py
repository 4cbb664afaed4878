"""Accuracy and loss of a network on a split."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.search.data.images import Data, Split
from archspec.search.train.batches import Batches, Normalise
from archspec.search.train.device import open_fabric, quiet, repeatable
from archspec.search.train.exchange import Exchange
from archspec.search.train.recipe import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def evaluate(
    model: nn.Module,
    split: Split,
    data: Data,
    *,
    batch_size: int = 256,
    device: str = "auto",
    precision: Precision | None = None,
    fabric: Fabric | None = None,
) -> tuple[float, float]:
    """Accuracy (0 to 1) and mean cross entropy (nats) on a split of the data.

    The model is moved to the device and left in eval mode.

    Args:
        fabric: of processes that share the images, instead of a device of one's own.

    Raises:
        ArchspecError: there is no such device.
    """
    fabric = fabric or open_fabric(device, precision)
    exchange = Exchange(fabric)
    with quiet():
        prepared = fabric.setup_module(model)
    batches, normalise = Batches(split, fabric.device), Normalise(data, fabric.device)
    share = exchange.share(len(batches))
    with repeatable():
        return scores(measure(prepared, batches, normalise, batch_size, share), batches, exchange)


def measure(
    model: nn.Module,
    batches: Batches,
    normalise: Callable[[Tensor], Tensor],
    size: int,
    share: range,
) -> tuple[Tensor, Tensor]:
    """How many images of a share are classified right, and the sum of their cross entropy.

    Args:
        size: images of a forward pass, at most.
    """
    model.eval()
    # on the device, so that nothing waits for it before the end
    right = torch.zeros((), dtype=torch.int64, device=batches.device)
    nats = torch.zeros((), dtype=torch.float32, device=batches.device)
    with torch.inference_mode():
        for images_BCHW, labels_B in batches.in_order(share, size):
            logits_BK = model(normalise(images_BCHW)).float()
            right += (logits_BK.argmax(1) == labels_B).sum()
            nats += F.cross_entropy(logits_BK, labels_B, reduction="sum")
    return right, nats


def scores(
    measured: tuple[Tensor, Tensor], batches: Batches, exchange: Exchange
) -> tuple[float, float]:
    """Accuracy and mean cross entropy of all images, of what each process measured."""
    right, nats = map(exchange.sum, measured)
    return int(right) / len(batches), float(nats) / len(batches)
