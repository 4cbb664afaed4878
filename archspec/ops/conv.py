"""Convolution over the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from archspec.errors import ShapeError
from archspec.ops.base import Op, fold, further, need_grid, pair, unfold, unless_default
from archspec.shape import CHANNELS, GRID, Shape
from archspec.sizes import Count, Size, divide, is_symbol, require, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


def same_padding(kernel: Any, stride: Any, dilation: Any) -> Any:
    """The padding that gives ⌈size / stride⌉ positions: 0 for patches, else half the kernel."""
    if kernel == stride and dilation == 1:
        return 0
    if kernel % 2 == 0:
        raise ShapeError(
            f"'same' padding needs an odd kernel, found {kernel}", hint="give padding as a number"
        )
    return divide(dilation * (kernel - 1), 2)


def window_size(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, axis: str, must_fit: bool
) -> Any:
    """Positions of a sliding window along an axis: PyTorch's rule.

    Args:
        must_fit: whether patches (windows that neither overlap nor leave gaps) must divide the
            size; otherwise what is left over is cut off.

    Raises:
        ShapeError: the window is larger than the padded input, or patches do not divide it.
    """
    is_patch = kernel == stride and padding == 0 and dilation == 1
    if is_patch and (must_fit or is_symbol(size)):
        if not is_symbol(size) and not require(size % kernel == 0):
            raise ShapeError(
                f"{axis} {show(size)} does not divide into patches of {kernel}",
                hint="'padding: 0' cuts off what is left over, as PyTorch does",
            )
        return divide(size, stride)
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not require(room >= 0):
        raise ShapeError(f"a window of {kernel} does not fit into {axis} {show(size)}")
    return room + 1 if stride == 1 else room // stride + 1


class Windowed(Op):
    """What convolution and pooling share: kernel, stride, padding, dilation over the grid.

    Every position of further axes is an image of its own.
    """

    kernel: Size | tuple[Size, Size]
    stride: Size | tuple[Size, Size] = 1
    padding: Count | tuple[Count, Count] | Literal["same"] = "same"
    dilation: Size | tuple[Size, Size] = 1

    def pads(self) -> tuple[Any, Any]:
        if self.padding != "same":
            return pair(self.padding)
        k, s, d = pair(self.kernel), pair(self.stride), pair(self.dilation)
        return same_padding(k[0], s[0], d[0]), same_padding(k[1], s[1], d[1])

    def slide(self, x: Shape) -> dict[str, Any]:
        """The grid's size after the window has moved over it."""
        need_grid(x, f"'{self.name}'")
        k, s, d, p = pair(self.kernel), pair(self.stride), pair(self.dilation), self.pads()
        must_fit = self.padding == "same"
        return {
            axis: window_size(x[axis], k[i], s[i], p[i], d[i], axis, must_fit)
            for i, axis in enumerate(GRID)
        }


def one(value: Any) -> Any:
    """`(3, 3)` as `3`, so that emitted source reads as people write it."""
    first, second = pair(value)
    return first if first == second else (first, second)


class Conv(Windowed):
    """2-D convolution over height and width, PyTorch's arguments, `padding: same` by default.

    `out` defaults to the channels that are there; `groups: C` makes it depthwise. A kernel equal
    to its stride cuts the image into patches, and must divide it unless `padding: 0` is given.
    Every position of further axes is an image of its own.
    """

    name: ClassVar[str] = "conv"
    is_product: ClassVar[bool] = True
    other: ClassVar[str | None] = "bias"

    out: Size | None = None
    groups: Size = 1
    bias: bool = True

    def _out(self, x: Shape) -> Any:
        return x.channels if self.out is None else self.out

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        grid = self.slide(x)
        for what, size in (("input", x.channels), ("output", self._out(x))):
            symbolic = is_symbol(size) or is_symbol(self.groups)
            if not symbolic and not require(size % self.groups == 0):
                raise ShapeError(
                    f"{show(size)} {what} channels do not divide into {show(self.groups)} groups"
                )
        return x.replace(channels=self._out(x), **grid)

    def _taps(self, x: Shape) -> Any:
        """Weights that meet in one output element."""
        kernel = pair(self.kernel)
        return divide(x.channels, self.groups) * kernel[0] * kernel[1]

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        return self._out(x) * self._taps(x) + (self._out(x) if self.bias else 0)

    def flops(self, *xs: Shape) -> Any:
        (x,) = xs
        return self.infer(x).numel() * self._taps(x)

    def other_operations(self, *xs: Shape) -> Any:
        return self.infer(*xs).numel() if self.bias else 0

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        y = self.infer(x.shape)
        axes = further(y, GRID)
        folded = fold(b, x, axes)
        extra = unless_default(
            {"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
            stride=one(self.stride), padding=one(self.pads()),
            dilation=one(self.dilation), groups=self.groups,
        )  # fmt: skip
        made = b.layer(
            folded, "nn.Conv2d", order=folded.channels_first, resize=dict(y.without(*axes)),
            in_channels=x.shape[CHANNELS], out_channels=y[CHANNELS],
            kernel_size=one(self.kernel), **extra, bias=self.bias,
        )  # fmt: skip
        return unfold(b, made, y, axes)
