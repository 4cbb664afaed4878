"""Pooling: windows over the grid, and reductions over whole axes. fvcore counts these as zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, fold, further, pair, unfold, unless_default
from archspec.ops.conv import Windowed, one
from archspec.shape import GRID, Shape

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class _Pool(Windowed):
    """A window without weights over height and width; `stride` is 1 unless given."""

    function: ClassVar[str]

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        for kernel, pad in zip(pair(self.kernel), self.pads(), strict=True):
            if 2 * pad > kernel:
                raise ShapeError(f"padding {pad} is more than half of the window of {kernel}")
        return x.replace(**self.slide(x))

    def other_operations(self, *xs: Shape) -> Any:
        height, width = pair(self.kernel)
        return self.infer(*xs).numel() * height * width

    def _arguments(self) -> dict[str, Any]:
        return {
            "kernel_size": one(self.kernel),
            "stride": one(self.stride),
            "padding": one(self.pads()),
        }

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        y, axes = self.infer(x.shape), further(x.shape, GRID)
        folded = fold(b, x, axes)
        folded = b.order(folded, folded.channels_first)
        pooled = b.call(
            self.function, folded, order=folded.order, shape=y.without(*axes), **self._arguments()
        )
        return unfold(b, pooled, y, axes)


class AvgPool(_Pool):
    """The mean over a window of the grid. `count_include_pad: false` leaves padding out of it.

    Every position of further axes is an image of its own.
    """

    name: ClassVar[str] = "avg_pool"
    shorthand: ClassVar[str | None] = "kernel"
    function: ClassVar[str] = "F.avg_pool2d"

    dilation: Literal[1] = 1
    count_include_pad: bool = True

    def _arguments(self) -> dict[str, Any]:
        exclude = {} if self.count_include_pad else {"count_include_pad": False}
        return super()._arguments() | exclude


class MaxPool(_Pool):
    """The largest value in a window of the grid, at every position of further axes."""

    name: ClassVar[str] = "max_pool"
    shorthand: ClassVar[str | None] = "kernel"
    function: ClassVar[str] = "F.max_pool2d"

    def _arguments(self) -> dict[str, Any]:
        dilated = {} if one(self.dilation) == 1 else {"dilation": one(self.dilation)}
        return super()._arguments() | dilated


class GlobalPool(Op):
    """One value per channel: the mean or the maximum over `axes` (default: all but channels)."""

    name: ClassVar[str] = "global_pool"
    shorthand: ClassVar[str | None] = "kind"

    kind: Literal["average", "max"] = "average"
    axes: tuple[Axis, ...] | None = None
    keep: bool = False
    """Keep the axes with size 1 instead of removing them."""

    def _axes(self, x: Shape) -> tuple[str, ...]:
        axes = x.others if self.axes is None else self.axes
        for axis in axes:
            x.size(axis)
        if not axes or len(set(axes)) != len(axes):
            raise ShapeError(f"there is nothing to pool over in {x}")
        return axes

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        axes = self._axes(x)
        return x.replace(**dict.fromkeys(axes, 1)) if self.keep else x.without(*axes)

    def other_operations(self, *xs: Shape) -> Any:
        return xs[0].numel()

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        axes = self._axes(x.shape)
        dims = sorted(x.order.index(axis) for axis in axes)
        order = x.order if self.keep else tuple(axis for axis in x.order if axis not in axes)
        method = "mean" if self.kind == "average" else "amax"
        # mean, not AdaptiveAvgPool2d: that one splits TensorRT engines with a dynamic batch
        keep = unless_default({"keepdim": False}, keepdim=self.keep)
        return b.method(method, x, order=order, shape=self.infer(x.shape), dim=tuple(dims), **keep)
