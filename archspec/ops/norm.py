"""Normalisation. FLOPs as fvcore counts them in eval mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, fold, unfold, unless_default
from archspec.shape import CHANNELS, Shape
from archspec.sizes import Real, Size, is_symbol, require, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class _Norm(Op):
    eps: Real = Field(default=1e-5, gt=0)
    affine: bool = True


class _NormOfImage(_Norm):
    """A norm with statistics of each image on its own."""

    bias: bool = True
    """Whether to add one after the weight; without `affine` there is neither."""

    def _held(self) -> int:
        """Parameters for each entry."""
        return (2 if self.bias else 1) if self.affine else 0

    def _per_element(self) -> int:
        """FLOPs for each element; fvcore asks for the weight alone."""
        return 5 if self.affine else 4

    def _no_bias(self) -> dict[str, Any]:
        """The layer's argument, where it is not the default and means something."""
        return {"bias": False} if self.affine and not self.bias else {}


class BatchNorm(_Norm):
    """Per channel, over batch and all positions (arXiv 1502.03167); running statistics in eval."""

    name: ClassVar[str] = "batch_norm"

    momentum: Real = Field(default=0.1, gt=0, le=1)

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return 2 * x.channels if self.affine else 0

    def flops(self, *xs: Shape) -> Any:
        (x,) = xs
        return x.numel() * (2 if self.affine else 1)

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        x.size(CHANNELS)
        return x

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        defaults = {"eps": 1e-5, "momentum": 0.1, "affine": True}
        extra = unless_default(defaults, eps=self.eps, momentum=self.momentum, affine=self.affine)
        # PyTorch has none for so many axes; that for one row a position has the same statistics
        axes = x.shape.others if len(x.shape) > 3 else ()
        folded = fold(b, x, axes)
        made = b.layer(
            folded, "nn.BatchNorm2d" if len(folded.shape) == 3 else "nn.BatchNorm1d",
            order=folded.channels_first, num_features=x.shape[CHANNELS],
            **extra,
        )  # fmt: skip
        return unfold(b, made, x.shape, axes)


class LayerNorm(_NormOfImage):
    """Over `axis` (default: channels) at every position on its own (arXiv 1607.06450)."""

    name: ClassVar[str] = "layer_norm"

    axis: Axis = CHANNELS

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return self._held() * x.size(self.axis)

    def flops(self, *xs: Shape) -> Any:
        (x,) = xs
        return x.numel() * self._per_element()

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        x.size(self.axis)
        return x

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        last = (*(a for a in x.channels_last if a != self.axis), self.axis)
        defaults = {"eps": 1e-5, "elementwise_affine": True}
        extra = unless_default(defaults, eps=self.eps, elementwise_affine=self.affine)
        return b.layer(
            x, "nn.LayerNorm", order=last, normalized_shape=x.shape[self.axis],
            **extra, **self._no_bias(),
        )  # fmt: skip


class GroupNorm(_NormOfImage):
    """Over groups of channels and all positions of one image (arXiv 1803.08494)."""

    name: ClassVar[str] = "group_norm"
    shorthand: ClassVar[str | None] = "groups"

    groups: Size = 1

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return self._held() * x.channels

    def flops(self, *xs: Shape) -> Any:
        (x,) = xs
        return x.numel() * self._per_element()

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        if not is_symbol(x.channels) and not require(x.channels % self.groups == 0):
            raise ShapeError(
                f"{show(x.channels)} channels do not divide into {show(self.groups)} groups"
            )
        if not is_symbol(x.numel()) and not require(x.numel() > self.groups):
            raise ShapeError(
                f"'group_norm' of {x} would normalise single values, which PyTorch refuses"
            )
        return x

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        extra = unless_default({"eps": 1e-5, "affine": True}, eps=self.eps, affine=self.affine)
        return b.layer(
            x, "GroupNorm" if self.affine else "nn.GroupNorm", order=x.channels_first,
            num_groups=self.groups, num_channels=x.shape[CHANNELS], **extra, **self._no_bias(),
        )  # fmt: skip


class Affine(Op):
    """y = weight · x + bias per channel, no statistics (ResMLP's norm, arXiv 2105.03404)."""

    name: ClassVar[str] = "affine"

    def infer(self, *xs: Shape) -> Shape:
        xs[0].size(CHANNELS)
        return xs[0]

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return 2 * x.channels

    def other_operations(self, *xs: Shape) -> Any:
        return 2 * xs[0].numel()

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        return b.layer(x, "Affine", order=x.channels_last, channels=x.shape[CHANNELS])


class Scale(Op):
    """y = weight · x per channel, `init` at the start: layer scale (arXiv 2103.17239)."""

    name: ClassVar[str] = "scale"
    shorthand: ClassVar[str | None] = "init"

    init: Real = 1.0

    def infer(self, *xs: Shape) -> Shape:
        xs[0].size(CHANNELS)
        return xs[0]

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return x.channels

    def other_operations(self, *xs: Shape) -> Any:
        return xs[0].numel()

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        return b.layer(
            x, "Scale", order=x.channels_last, channels=x.shape[CHANNELS], init=self.init
        )
