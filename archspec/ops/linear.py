"""Linear maps along one named axis: the op that MLP-Mixer, sMLP and a pointwise layer share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from archspec.ops.base import Axis, Op
from archspec.shape import CHANNELS, Shape
from archspec.sizes import Size

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class Linear(Op):
    """y[…, o, …] = Σᵢ W[o, i] x[…, i, …] + b[o], along `axis`, the same at every other position.

    Along channels it is a pointwise (1×1) convolution, along tokens MLP-Mixer's token mixing
    (arXiv 2105.01601), along height and width the two directions of sparse MLP
    (arXiv 2109.05422). `out` defaults to the size that is there.
    """

    name: ClassVar[str] = "linear"
    shorthand: ClassVar[str | None] = "out"
    is_product: ClassVar[bool] = True
    other: ClassVar[str | None] = "bias"

    out: Size | None = None
    axis: Axis = CHANNELS
    bias: bool = True

    def _out(self, x: Shape) -> Any:
        return x.size(self.axis) if self.out is None else self.out

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        x.size(self.axis)
        return x.replace(**{self.axis: self._out(x)})

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return self._out(x) * x[self.axis] + (self._out(x) if self.bias else 0)

    def flops(self, *xs: Shape) -> Any:
        (x,) = xs
        return x.numel() * self._out(x)

    def other_operations(self, *xs: Shape) -> Any:
        return self.infer(*xs).numel() if self.bias else 0

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        size, out = x.shape[self.axis], self._out(x.shape)
        if self.axis == CHANNELS and x.shape.is_grid and b.pointwise == "conv":
            # On a CPU in eager mode, oneDNN's pointwise convolution is faster than a matrix
            # product by MKL, and on channels-last memory neither copies.
            return b.layer(
                x, "nn.Conv2d", order=x.channels_first, resize={CHANNELS: out},
                in_channels=size, out_channels=out, kernel_size=1, bias=self.bias,
            )  # fmt: skip
        if self.axis == x.channels_last[-1]:
            return b.layer(
                x, "nn.Linear", order=x.channels_last, resize={self.axis: out},
                in_features=size, out_features=out, bias=self.bias,
            )  # fmt: skip
        x = b.order(x, x.channels_last)
        return b.layer(
            x, "AxisLinear", order=x.order, resize={self.axis: out},
            in_features=size, out_features=out, bias=self.bias, dim=x.order.index(self.axis),
        )  # fmt: skip
