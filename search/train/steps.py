"""Steps of the optimizer, in micro-batches as small as memory asks for.

B images of a batch, S of them this process's share, M of a micro-batch; C channels, H height,
W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archspec.errors import ArchspecError
from archspec.search.data.images import Data
from archspec.search.train.batches import Augment, Batches, Normalise, mix, mixing_weight
from archspec.search.train.device import quiet, seed_of
from archspec.search.train.evaluation import measure, scores
from archspec.search.train.exchange import Exchange
from archspec.search.train.optimise import make_optimizer, mixed_loss
from archspec.search.train.outcomes import (
    LateOutOfMemory,
    OutOfMemory,
    TrainingFailed,
    is_out_of_memory,
)
from archspec.search.train.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

TRIED = 2
"""Steps with micro-batches of a size that several processes try by themselves first."""


class Steps:
    """A network and its optimizer on a device, with the images."""

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        recipe: Recipe,
        fabric: Fabric,
        note: Callable[[str], None],
    ) -> None:
        self.exchange, self.device = Exchange(fabric), fabric.device
        self.model = model = self.exchange.adopted(model.to(fabric.device))
        self.optimizer = make_optimizer(model, recipe)
        self.micro_batch = min(recipe.micro_batch or recipe.batch_size, recipe.batch_size)
        self.train = Batches(data.train, self.device)
        self._held_out = Batches(data.held_out, self.device)
        self._recipe, self._fabric, self._note = recipe, fabric, note
        with quiet():
            self._net, self._wrapped = fabric.setup(model, self.optimizer)
        self._normalise, self._augment = Normalise(data, self.device), Augment(recipe, data)
        self._classes = len(data.classes)
        # what a forward pass changes (batch norm's running statistics), to be able to take it back
        self._buffers = list(model.buffers())
        self._before = [buffer.clone() for buffer in self._buffers]
        self._untried = TRIED
        self._is_trial = False

    def evaluate(self) -> tuple[float, float]:
        """Accuracy and mean cross entropy on held-out images."""
        self.exchange.average_statistics()
        images, share = self._held_out, self.exchange.share(len(self._held_out))
        measured = self._retrying(
            lambda: measure(self._net, images, self._normalise, self.micro_batch, share)
        )
        return scores(measured, images, self.exchange)

    def step(self, index_B: NDArray[np.int64], lr: float, seed: int) -> Tensor:
        """One step on a batch; what is random in it depends on `seed`.

        Returns:
            The mean loss of the batch, still on the device. With several processes, it is what
            `exchange.mean` makes of theirs.

        Raises:
            OutOfMemory: not one image fits.
        """
        _copy(self._buffers, self._before)
        if self.exchange.size == 1:
            loss = self._retrying(lambda: self._gradients(index_B, seed), self._undo)
        else:
            loss = self._gradients_of_all(index_B, seed)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self._recipe.grad_clip is not None:
            self._fabric.clip_gradients(
                self._net, self._wrapped,
                max_norm=self._recipe.grad_clip, error_if_nonfinite=False,
            )  # fmt: skip
        self._wrapped.step()
        return loss

    def _gradients_of_all(self, index_B: NDArray[np.int64], seed: int) -> Tensor:
        """The same with other processes, each with its share of the batch.

        Gradients travel during the backward pass, in which no process can turn back while others
        go on. So the first steps with micro-batches of a size are tried before, where each is by
        itself: the second one too, since the optimizer takes its memory at the end of the first.
        """
        if self._untried:
            self._is_trial = True
            with self.exchange.silent():
                self._retrying(lambda: self._gradients(index_B, seed), self._undo)
            self._is_trial = False
            self._check_all_used()
            self._undo()
            self._untried -= 1
        try:
            return self._gradients(index_B, seed)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise LateOutOfMemory(
                f"out of memory on {self.device}, where {self._recipe.batch_size} images in parts "
                f"of {self.micro_batch} did fit before",
                hint="does another program use it? The same command goes on from the last epoch",
            ) from None

    def _check_all_used(self) -> None:
        unused = [
            name
            for name, weight in self.model.named_parameters()
            if weight.requires_grad and weight.grad is None
        ]
        if unused:
            raise ArchspecError(
                f"the logits do not depend on {len(unused)} of the network's weights "
                f"({', '.join(unused[:3])}{', …' if unused[3:] else ''}), and several devices wait "
                "for a gradient of each",
                hint="take them out of the network, or train on one device",
            )

    def _gradients(self, index_B: NDArray[np.int64], seed: int) -> Tensor:
        """Gradients of the mean loss of a batch, summed over its micro-batches."""
        torch.manual_seed(seed)
        self._net.train()
        self.optimizer.zero_grad(set_to_none=True)
        count, size = len(index_B), self.exchange.size
        if size == 1:
            images_SCHW, labels_S = self.train.take(index_B)
            images_SCHW, weight = mix(
                self._normalise(self._augment(images_SCHW)), self._recipe.mixup
            )
            others_S = labels_S.flip(0)
        else:
            images_SCHW, labels_S, others_S, weight = self._own(index_B)
            torch.manual_seed(seed_of(seed, self.exchange.rank))  # for dropout and its like
        total = torch.zeros((), device=self.device)
        # all of about one size: batch norm has little to go by in a small remainder
        own = len(labels_S)
        parts = -(-self.exchange.largest_share(count) // self.micro_batch)
        for part in range(parts):
            start, stop = part * own // parts, (part + 1) * own // parts
            # where others have one image more, in parts of one image: one that does not count
            cut = slice(start, max(stop, start + 1))
            is_held = self._is_trial or part < parts - 1
            with self.exchange.held_back(self._net, is_held):
                logits_MK = self._forward(images_SCHW[cut])
                loss = mixed_loss(
                    logits_MK, labels_S[cut], others_S[cut], weight, self._recipe.label_smoothing
                )
                loss = loss * ((stop - start) / count * size)  # PyTorch takes the mean of them all
                self._fabric.backward(loss)
            total += loss.detach()
        return total

    def _own(self, index_B: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, float]:
        """This process's images of a batch, as they would be if it had them all; labels, labels of
        what is mixed in, and the weight of the former. What is random is drawn for all."""
        count = len(index_B)
        share = self.exchange.share(count)
        rows = torch.arange(share.start, share.stop)
        if self._recipe.mixup:
            rows = torch.cat([rows, count - 1 - rows])
        images_CHW, labels = self.train.take(index_B[rows.numpy()])
        images = self._normalise(self._augment.some(images_CHW, rows, count))
        weight = mixing_weight(self._recipe.mixup)
        own = len(share)
        if self._recipe.mixup:
            images = images[own:].lerp(images[:own], weight)
        return images, labels[:own], labels[-own:], weight

    def _forward(self, images_BCHW: Tensor) -> Tensor:
        try:
            logits_BK: Tensor = self._net(images_BCHW)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingFailed(
                "batch norm cannot train on one value per channel, which a micro-batch of one "
                "image leaves it here",
                hint="a larger micro_batch, or a larger resolution",
            ) from None
        if logits_BK.ndim != 2 or logits_BK.shape[1] != self._classes:
            found = "×".join(map(str, logits_BK.shape[1:]))
            raise ArchspecError(
                f"the network gives {found or 'one number'} for an image, expected one logit for "
                f"each of the {self._classes} classes of the data"
            )
        return logits_BK.float()

    def _retrying(self, action: Callable[[], T], undo: Callable[[], None] | None = None) -> T:
        """Do it, with the micro-batch halved for as long as memory runs out in any process.

        Args:
            action: what waits for no other process.
        """
        while True:
            done: list[T] = []
            try:
                done.append(action())
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if not self.exchange.any(not done):
                return done[0]
            # out of the handler, whose exception keeps alive what the failed pass had allocated
            self._halve()
            if undo is not None:
                undo()

    def _halve(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        largest = self.exchange.largest_share(self._recipe.batch_size)
        self.micro_batch = min(self.micro_batch, largest)
        if self.micro_batch == 1:
            raise OutOfMemory(
                f"out of memory on {self.device}: not even one image at a time can be trained on",
                hint="a smaller network or resolution may fit",
            )
        self.micro_batch //= 2
        self._untried = TRIED
        self._note(
            f"out of memory on {self.device}: batches of {self._recipe.batch_size} images are now "
            f"taken in parts of {self.micro_batch}"
        )

    def _undo(self) -> None:
        """Take back what forward passes changed since the step began."""
        _copy(self._before, self._buffers)


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    """All at once: on CUDA, a launch for each tensor would cost more than the copy."""
    if source:
        torch._foreach_copy_(target, source)
