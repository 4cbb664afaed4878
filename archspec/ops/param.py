"""Tensors that come from no other tensor: learnable ones, and the constants of window attention.

Each of these ops reads a tensor for the sizes of its axes and for the batch, not for its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, pair, unless_default
from archspec.shape import Shape
from archspec.sizes import Offset, Real, Size, equal, is_symbol, require, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class Param(Op):
    """A learnable tensor, the same for every image: position embedding, class token.

    `axes` gives its axes and their sizes, in the order in which checkpoints hold them:
    `param: {axes: {tokens: N, channels: C}}`; `axes: {}` is one number. It starts normally
    distributed with standard deviation `std`, or as the constant `init` everywhere.
    """

    name: ClassVar[str] = "param"
    is_view: ClassVar[bool] = True

    axes: dict[Axis, Size]
    init: Real | None = None
    std: Real = Field(default=0.02, gt=0)

    def infer(self, *xs: Shape) -> Shape:
        return Shape(self.axes)

    def params(self, *xs: Shape) -> Any:
        return Shape(self.axes).numel()

    def lower(self, b: Builder, *xs: Value) -> Value:
        defaults = {"init": None, "std": 0.02}
        extra = unless_default(defaults, init=self.init, std=self.std)
        return b.join(
            xs, "Param", order=("batch", *self.axes), shape=Shape(self.axes),
            size=tuple(self.axes.values()), **extra,
        )  # fmt: skip


class _OfWindow(Op):
    """What window attention adds to its scores, which it reads."""

    window: Size | tuple[Size, Size]
    """Its height and width."""
    queries: Axis = "queries"
    """The axis of the positions that attend, row by row."""
    keys: Axis = "keys"
    """The axis of those attended to."""

    def _check_window(self, x: Shape) -> None:
        height, width = pair(self.window)
        for axis in (self.queries, self.keys):
            if not equal(x.size(axis), height * width):
                raise ShapeError(
                    f"a window of {show(height)}×{show(width)} has {show(height * width)} "
                    f"positions, and {axis} has {show(x[axis])}"
                )
        if self.queries == self.keys:
            raise ShapeError(f"'{self.name}' needs queries and keys to be two axes")


class RelativePositionBias(_OfWindow):
    """A learnable value for each head and each offset of a key from a query (arXiv 2103.14030).

    Reads the scores of attention within windows; `add` what it gives to them. The parameter
    holds (2 · height − 1) · (2 · width − 1) offsets by heads.
    """

    name: ClassVar[str] = "relative_position_bias"

    heads: Axis = "heads"

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        self._check_window(x)
        if self.heads in (self.queries, self.keys):
            raise ShapeError(f"'{self.name}' needs heads to be an axis of their own")
        axes = (self.heads, self.queries, self.keys)
        return Shape({axis: x.size(axis) for axis in axes})

    def params(self, *xs: Shape) -> Any:
        (x,) = xs
        height, width = pair(self.window)
        return (2 * height - 1) * (2 * width - 1) * x.size(self.heads)

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        height, width = pair(self.window)
        shape = self.infer(x.shape)
        return b.join(
            xs, "RelativePositionBias", order=("batch", *shape), shape=shape,
            heads=x.shape[self.heads], height=height, width=width,
        )  # fmt: skip


class ShiftedWindowMask(_OfWindow):
    """−100 between positions of a window that a circular shift has brought together, else 0.

    Reads the scores of attention within windows that lie in a grid of `rows` × `columns`; `add`
    what it gives to them, before the softmax (arXiv 2103.14030). `by` is what `shift` moved the
    image by: one offset, or one along the height and one along the width.
    """

    name: ClassVar[str] = "shifted_window_mask"

    by: Offset | tuple[Offset, Offset]
    rows: Axis = "rows"
    columns: Axis = "columns"

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        self._check_window(x)
        for offset, size in zip(pair(self.by), pair(self.window), strict=True):
            symbolic = is_symbol(offset) or is_symbol(size)
            if not symbolic and not require(abs(offset) < size):
                raise ShapeError(
                    f"a shift by {show(offset)} is not less than the window's {show(size)}"
                )
        axes = (self.rows, self.columns, self.queries, self.keys)
        if len(set(axes)) < len(axes):
            raise ShapeError(f"'{self.name}' needs four different axes")
        return Shape({axis: x.size(axis) for axis in axes})

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        shape = self.infer(x.shape)
        return b.join(
            xs, "ShiftedWindowMask", order=("batch", *shape), shape=shape,
            windows=(x.shape[self.rows], x.shape[self.columns]),
            window=pair(self.window), by=pair(self.by),
        )  # fmt: skip
