"""Training of one network, repeatable to the bit and safe to kill.

B images of a batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from archspec.errors import ArchspecError
from archspec.search.data.images import Data
from archspec.search.train.batches import shuffled
from archspec.search.train.checkpoint import (
    BrokenCheckpoint,
    Saved,
    fingerprint,
    read,
    save,
    set_aside,
)
from archspec.search.train.device import open_fabric, repeatable, seed_of
from archspec.search.train.history import Epoch, Result
from archspec.search.train.optimise import learning_rate
from archspec.search.train.outcomes import Diverged, Interrupted
from archspec.search.train.ranks import on_first
from archspec.search.train.recipe import Recipe
from archspec.search.train.steps import Steps

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKED_EVERY = 50
"""Steps between two looks at the loss, each of which waits for the device."""

_log = logging.getLogger(__name__)


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    identity: Mapping[str, str] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    fabric: Fabric | None = None,
) -> Result:
    """Train a network in place; it is left on the device, in eval mode.

    The same weights, data, recipe, seed and device give the same history, bit for bit: what is
    random in a step depends on seed, epoch and step alone. (On the CPU, with the same number of
    threads.) The weights at the start are the caller's: `with seeded(seed)` makes them repeatable.

    A step that does not fit into memory is taken again in micro-batches of half the size, whose
    gradients are summed; the batch stays what it is. Batch norm then sees micro-batches: it
    normalises by their statistics, and its running statistics move once for each.

    Several processes (`fabric`) train as one would: each takes its share of every batch, with what
    is random in it drawn for the whole batch, but for what the network draws itself (dropout).
    What they add up, they add up in another order: equal to rounding, not to the bit. Batch norm
    is as `Exchange` says. The checkpoint is the same one, for any number of processes.

    Args:
        model: images (B, C, H, W) in, logits (B, K) out.
        seed: 0 or more.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        checkpoint: a file to write after every epoch, before `on_epoch`. If it is there already,
            training goes on from it, after `on_epoch` was called for each epoch in it. A file that
            cannot be read is renamed to `NAME.broken`, which `on_note` tells, and training starts
            over; one of another training is refused.
        identity: more that the checkpoint tells trainings apart by, such as a spec's digest.
        on_epoch: called after each epoch. What it raises passes through.
        on_step: called with the step (from 1) and the steps of an epoch.
        on_note: called with what a user should know; without it, that is logged as a warning.
        should_stop: asked before each step; several processes must get the same answer.
        fabric: of processes that train together, as `joined` gives it, instead of a device of
            one's own. Each calls this with the same arguments; the first one alone reads and
            writes the checkpoint.

    Raises:
        Diverged: the loss is not finite.
        OutOfMemory: not one image fits.
        Interrupted: `should_stop` said so.
        ForeignCheckpoint: the checkpoint is of another training.
        ArchspecError: no such device, no images, fewer of them in a batch than devices, or the
            checkpoint cannot be written.
    """
    if seed < 0:
        raise ArchspecError(f"a seed is 0 or more, found {seed}")
    for name, split in (("train on", data.train), ("score on", data.held_out)):
        if not len(split):
            raise ArchspecError(f"{data.name} has no images to {name}")
    fabric = fabric or open_fabric(device, recipe.precision)
    note = on_note or (_log.warning if fabric.is_global_zero else _log.debug)
    together = min(recipe.batch_size, len(data.train))
    if together < fabric.world_size:
        raise ArchspecError(
            f"a batch of {together} images is not one for each of {fabric.world_size} devices",
            hint="fewer devices, or a larger batch",
        )
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with repeatable(), torch.random.fork_rng(cuda):
        run = _Run(Steps(model, data, recipe, fabric, note), recipe, seed)
        mark = fingerprint(model, data.digest, recipe, seed, identity or {})
        saved = on_first(
            fabric, lambda: None if checkpoint is None else _read(checkpoint, mark, note)
        )
        if saved is not None:
            run.resume(saved)
        for epoch in run.history:
            if on_epoch is not None:
                on_epoch(epoch)
        while len(run.history) < recipe.epochs:
            run.epoch(on_step, should_stop)
            on_first(
                fabric, lambda: None if checkpoint is None else save(checkpoint, mark, run.saved())
            )
            if on_epoch is not None:
                on_epoch(run.history[-1])
    model.eval()
    return Result(tuple(run.history), run.steps.micro_batch)


def _read(path: Path, mark: Mapping[str, Any], note: Callable[[str], None]) -> Saved | None:
    try:
        return read(path, mark)
    except BrokenCheckpoint as error:
        aside = set_aside(path)
        note(f"{error}; it is now {aside.name}, and training starts over")
        return None


class _Run:
    """One training, and where it has got to."""

    def __init__(self, steps: Steps, recipe: Recipe, seed: int) -> None:
        self.history: list[Epoch] = []
        self.steps = steps
        self._recipe, self._seed = recipe, seed

    def resume(self, saved: Saved) -> None:
        self.steps.model.load_state_dict(saved.model)
        self.steps.optimizer.load_state_dict(saved.optimizer)
        self.history, self.steps.micro_batch = list(saved.history), saved.micro_batch

    def saved(self) -> Saved:
        return Saved(
            self.steps.model.state_dict(), self.steps.optimizer.state_dict(),
            tuple(self.history), self.steps.micro_batch,
        )  # fmt: skip

    def epoch(
        self,
        on_step: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        """Train for one epoch, evaluate, and append to the history."""
        start, number = time.perf_counter(), len(self.history) + 1
        batches = shuffled(len(self.steps.train), self._recipe.batch_size, self._seed, number)
        count, lr, trained_on = len(batches), 0.0, 0.0
        total = torch.zeros((), device=self.steps.device)
        for step, index_B in enumerate(batches, 1):
            if should_stop is not None and should_stop():
                raise Interrupted(f"stopped in epoch {number} of {self._recipe.epochs}")
            lr = learning_rate(self._recipe, (number - 1) * count + step, count)
            total += self.steps.step(index_B, lr, seed_of(self._seed, number, step))
            if step % CHECKED_EVERY == 0 or step == count:
                trained_on = float(self.steps.exchange.mean(total))
                _check(trained_on, "loss", number, step)
            if on_step is not None:
                on_step(step, count)
        trained = time.perf_counter() - start
        accuracy, loss = self.steps.evaluate()
        _check(loss, "loss on held-out images", number, count)
        self.history.append(
            Epoch(
                number, accuracy, loss, trained_on / count, lr,
                seconds=time.perf_counter() - start,
                images_per_second=sum(map(len, batches)) / trained,
            )
        )  # fmt: skip


def _check(loss: float, what: str, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"diverged: the {what} is {loss} by step {step} of epoch {epoch}",
            hint="a lower lr or grad_clip, or a longer warm-up, may help",
        )
