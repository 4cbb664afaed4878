"""How long a search is going to take, from a few steps of one of its networks."""

from __future__ import annotations

import time

import numpy as np

from archspec.errors import ArchspecError
from archspec.search.candidate import Workshop
from archspec.search.choose import FINALIST_SEEDS

_STEPS = 2


def seconds_left(
    shop: Workshop, trials: int, rungs: tuple[int, ...], factor: int, finalists: int
) -> float | None:
    """An estimate of the seconds that `trials` more trials and the finalists take.

    A network from the middle of the set is trained for a few steps; of the trials at each rung, all
    but one in `factor` are taken to end there. None if that network cannot be trained here.
    """
    from archspec.search.train.outcomes import is_out_of_memory

    try:
        per_epoch = _epoch_seconds(shop)
    except ArchspecError:
        return None  # the trials will tell
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise
    epochs, left, before = 0.0, 1.0, 0
    for rung in (*rungs, shop.recipe.epochs):
        epochs += left * (rung - before)
        left, before = left / factor, rung
    assert shop.data is not None
    scoring = per_epoch / len(shop.data.train) * 150  # some passes over a small batch
    return trials * (epochs * per_epoch + scoring) + (
        finalists * len(FINALIST_SEEDS) * shop.recipe.epochs * per_epoch
    )


def _epoch_seconds(shop: Workshop) -> float:
    import torch

    from archspec.api import build
    from archspec.search.train.device import open_fabric

    assert shop.data is not None
    rows = shop.feasible.sample(33, np.random.default_rng(0))
    rows = rows[np.argsort(shop.feasible.figures(rows).params)]
    spec = shop.feasible.space.spec_of(rows[len(rows) // 2])
    fabric = open_fabric(shop.device, shop.recipe.precision)
    model = build(shop.trained_spec(spec)).to(fabric.device).train()
    size = min(shop.recipe.micro_batch or shop.recipe.batch_size, len(shop.data.train), 32)
    shape = shop.data.train.images_NCHW.shape[1:]
    images_BCHW = torch.rand(size, *shape, device=fabric.device)
    labels_B = torch.zeros(size, dtype=torch.long, device=fabric.device)

    def step() -> None:
        with fabric.autocast():
            loss = torch.nn.functional.cross_entropy(model(images_BCHW).float(), labels_B)
        loss.backward()  # type: ignore[no-untyped-call]
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)

    step()
    start = time.perf_counter()
    for _ in range(_STEPS):
        step()
    per_image = (time.perf_counter() - start) / (_STEPS * size)
    # held-out images take a forward pass alone: about a third
    return per_image * (len(shop.data.train) + len(shop.data.held_out) / 3)
