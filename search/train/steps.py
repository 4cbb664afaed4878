"""Steps of the optimizer, in micro-batches as small as memory asks for.

B images of a batch, C channels, H height, W width, K classes.
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
from archspec.search.train.batches import Augment, Batches, Normalise, mix
from archspec.search.train.evaluation import measure
from archspec.search.train.optimise import make_optimizer, mixed_loss
from archspec.search.train.outcomes import OutOfMemory, TrainingFailed, is_out_of_memory
from archspec.search.train.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


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
        self.model, self.device = model.to(fabric.device), fabric.device
        self.optimizer = make_optimizer(model, recipe)
        self.micro_batch = min(recipe.micro_batch or recipe.batch_size, recipe.batch_size)
        self.train = Batches(data.train, self.device)
        self._held_out = Batches(data.held_out, self.device)
        self._recipe, self._fabric, self._note = recipe, fabric, note
        self._net, self._wrapped = fabric.setup(model, self.optimizer)
        self._normalise, self._augment = Normalise(data, self.device), Augment(recipe, data)
        self._classes = len(data.classes)
        # what a forward pass changes (batch norm's running statistics), to be able to take it back
        self._buffers = list(model.buffers())
        self._before = [buffer.clone() for buffer in self._buffers]

    def evaluate(self) -> tuple[float, float]:
        """Accuracy and mean cross entropy on held-out images."""
        return self._retrying(
            lambda: measure(self._net, self._held_out, self._normalise, self.micro_batch)
        )

    def step(self, index_B: NDArray[np.int64], lr: float, seed: int) -> Tensor:
        """One step on a batch; what is random in it depends on `seed`.

        Returns:
            The mean loss of the batch, still on the device.

        Raises:
            OutOfMemory: not one image fits.
        """
        _copy(self._buffers, self._before)
        loss = self._retrying(
            lambda: self._gradients(index_B, seed), lambda: _copy(self._before, self._buffers)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self._recipe.grad_clip is not None:
            self._fabric.clip_gradients(
                self._net, self._wrapped,
                max_norm=self._recipe.grad_clip, error_if_nonfinite=False,
            )  # fmt: skip
        self._wrapped.step()
        return loss

    def _gradients(self, index_B: NDArray[np.int64], seed: int) -> Tensor:
        """Gradients of the mean loss of a batch, summed over its micro-batches."""
        torch.manual_seed(seed)
        self._net.train()
        self.optimizer.zero_grad(set_to_none=True)
        images_BCHW, labels_B = self.train.take(index_B)
        images_BCHW, weight = mix(self._normalise(self._augment(images_BCHW)), self._recipe.mixup)
        others_B = labels_B.flip(0)
        total = torch.zeros((), device=self.device)
        # all of about one size: batch norm has little to go by in a small remainder
        count = len(index_B)
        parts = -(-count // self.micro_batch)
        for part in range(parts):
            cut = slice(part * count // parts, (part + 1) * count // parts)
            logits_BK = self._forward(images_BCHW[cut])
            loss = mixed_loss(
                logits_BK, labels_B[cut], others_B[cut], weight, self._recipe.label_smoothing
            )
            loss = loss * (len(logits_BK) / count)
            self._fabric.backward(loss)
            total += loss.detach()
        return total

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
        """Do it, with the micro-batch halved for as long as memory runs out."""
        while True:
            try:
                return action()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # out of the handler, whose exception keeps alive what the failed pass had allocated
            self._halve()
            if undo is not None:
                undo()

    def _halve(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.micro_batch == 1:
            raise OutOfMemory(
                f"out of memory on {self.device}: not even one image at a time can be trained on",
                hint="a smaller network or resolution may fit",
            )
        self.micro_batch //= 2
        self._note(
            f"out of memory on {self.device}: batches of {self._recipe.batch_size} images are now "
            f"taken in parts of {self.micro_batch}"
        )


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    """All at once: on CUDA, a launch for each tensor would cost more than the copy."""
    if source:
        torch._foreach_copy_(target, source)
