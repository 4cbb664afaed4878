"""How a network is trained: the sMLPNet and DeiT recipe, scaled down for short runs.

Those papers (arXiv 2109.05422, 2012.12877) train for 300 epochs in batches of 1,024 images with
AdamW, weight decay 0.05, label smoothing 0.1 and a cosine schedule after a linear warm-up; the same
holds here. What only pays off in long training (RandAugment, CutMix, random erasing, strong
mixup, averaged weights) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from archspec.errors import ArchspecError, brief, did_you_mean

Precision = Literal["fp32", "bf16"]

BASE_LR = 2e-3
"""The learning rate for a batch of `BASE_BATCH` images."""
BASE_BATCH = 128
SMALLEST_BATCH = 32
STEPS = 40


class Recipe(BaseModel):
    """The settings of one training. Make one of outside values with `make_recipe`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=10, ge=1, le=100_000)
    """How often the network sees all training images; the schedule ends with the last one."""
    batch_size: int = Field(default=128, ge=1)
    """Images per step of the optimizer, over all devices."""
    lr: float | None = Field(default=None, gt=0)
    """Highest learning rate. None: 2e-3 · √(batch_size / 128), the square-root rule for adaptive
    optimizers (arXiv 2205.10287)."""
    min_lr: float = Field(default=1e-5, ge=0)
    """Learning rate at the end of the cosine."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Of AdamW, on weights of two or more axes; norms, scales and biases have none."""
    warmup_epochs: float | None = Field(default=None, ge=0)
    """How long the learning rate rises from 0. None: a tenth of the epochs, at most 5."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """How much of each label is spread evenly over all classes."""
    mixup: float = Field(default=0.0, ge=0)
    """The α of mixup (arXiv 1710.09412): one weight from Beta(α, α) a batch. 0: no mixup."""
    crop_padding: int | None = Field(default=None, ge=0)
    """Pixels of black around each image before a random crop back to its size. None: an eighth of
    its size, as is usual for CIFAR's 32 pixels. 0: no crop."""
    flip: bool | None = None
    """Whether to mirror images at random. None: where the data allows it."""
    grad_clip: float | None = Field(default=5.0, gt=0)
    """Highest L2 norm of all gradients together. None: no clipping."""
    precision: Precision | None = None
    """bf16: products in bfloat16, weights in fp32. None: bf16 on CUDA, fp32 elsewhere."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Images per forward pass of a device; gradients are summed up. None: all at once."""

    @property
    def peak_lr(self) -> float:
        """The highest learning rate, whether given or by the rule."""
        return self.lr if self.lr is not None else BASE_LR * (self.batch_size / BASE_BATCH) ** 0.5

    @property
    def warmup(self) -> float:
        """Epochs of warm-up, whether given or by the rule."""
        return min(5.0, self.epochs / 10) if self.warmup_epochs is None else self.warmup_epochs

    @model_validator(mode="after")
    def _is_consistent(self) -> Recipe:
        if self.min_lr > self.peak_lr:
            raise ValueError(f"min_lr ({self.min_lr:g}) is above lr ({self.peak_lr:g})")
        if self.warmup >= self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup:g}) leaves none of the {self.epochs} epochs"
            )
        return self


def suited_batch_size(images: int) -> int:
    """Images per step for a training set: 128, or as few as 32 so that an epoch has 40 steps.

    With fewer steps, the running statistics of batch norm lag behind the weights, and a network is
    scored far below what it has learnt.
    """
    size = BASE_BATCH
    while size > SMALLEST_BATCH and images < STEPS * size:
        size //= 2
    return size


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe of values from outside; None stands for the default.

    Raises:
        ArchspecError: the first value that cannot be, by its name.
    """
    for name in values:
        if name not in Recipe.model_fields:
            raise ArchspecError(
                f"a recipe has no {name!r}", hint=did_you_mean(name, Recipe.model_fields)
            )
    try:
        return Recipe(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        what = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise ArchspecError(what) from None
        what = what[:1].lower() + what[1:]
        raise ArchspecError(f"{first['loc'][0]}: {what}, found {brief(first['input'])}") from None
