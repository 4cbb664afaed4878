"""Parts of an axis: a piece of it, one position of it, or more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, unless_default
from archspec.shape import CHANNELS, Shape
from archspec.sizes import Count, Real, Size, is_symbol, require, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


def _need_room(x: Shape, axis: str, end: Any, who: str) -> None:
    size = x.size(axis)
    if not is_symbol(size) and not is_symbol(end) and not require(end <= size):
        raise ShapeError(f"'{who}' ends at position {show(end)}, and {axis} has {show(size)}")


class Slice(Op):
    """`size` positions of `axis` from `start` on; all the rest unless `size` is given."""

    name: ClassVar[str] = "slice"
    is_view: ClassVar[bool] = True

    axis: Axis = CHANNELS
    start: Count = 0
    size: Size | None = None

    def _size(self, x: Shape) -> Any:
        return x.size(self.axis) - self.start if self.size is None else self.size

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        least = 1 if self.size is None else self.size
        _need_room(x, self.axis, self.start + least, self.name)
        return x.replace(**{self.axis: self._size(x)})

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        dim = x.order.index(self.axis)
        return b.method(
            "narrow", x, dim, self.start, self._size(x.shape),
            order=x.order, shape=self.infer(x.shape),
        )  # fmt: skip


class Select(Op):
    """One position of `axis`, which is gone then: the class token is `select: {axis: tokens}`."""

    name: ClassVar[str] = "select"
    shorthand: ClassVar[str | None] = "axis"
    is_view: ClassVar[bool] = True

    axis: Axis
    index: Count = 0

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        _need_room(x, self.axis, self.index + 1, self.name)
        return x.without(self.axis)

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        dim = x.order.index(self.axis)
        order = tuple(axis for axis in x.order if axis != self.axis)
        return b.method("select", x, dim, self.index, order=order, shape=self.infer(x.shape))


class Pad(Op):
    """More positions along `axis`: `before` its first one and `after` its last.

    `mode: constant` fills them with `value`, `circular` with what stands at the other end,
    `replicate` with the first and the last position, `reflect` with a mirror image about these.
    """

    name: ClassVar[str] = "pad"

    axis: Axis
    before: Count = 0
    after: Count = 0
    mode: Literal["constant", "circular", "replicate", "reflect"] = "constant"
    value: Real = 0.0

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        if "value" in self.model_fields_set and self.mode != "constant":
            raise ShapeError(f"'pad' with mode {self.mode} has no value to fill in")
        for what, count in (("before", self.before), ("after", self.after)):
            self._check_source(x, what, count)
        return x.replace(**{self.axis: x.size(self.axis) + self.before + self.after})

    def _check_source(self, x: Shape, what: str, count: Any) -> None:
        """The positions that are copied must be there."""
        size = x.size(self.axis)
        if self.mode not in ("circular", "reflect") or is_symbol(size) or is_symbol(count):
            return
        # a mirror image leaves the first position out
        room = size if self.mode == "circular" else size - 1
        if not require(count <= room):
            raise ShapeError(
                f"'pad' with mode {self.mode} copies at most {show(room)} of {self.axis} "
                f"{show(size)}, found {what}: {show(count)}"
            )

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        dim, shape = x.order.index(self.axis), self.infer(x.shape)
        if self.mode != "constant":
            return b.layer(
                x, "Pad", order=x.order, resize=shape,
                before=self.before, after=self.after, dim=dim, mode=self.mode,
            )  # fmt: skip
        # F.pad counts dimensions from the last
        pad = (*(0,) * (2 * (len(x.order) - 1 - dim)), self.before, self.after)
        value = unless_default({"value": 0.0}, value=self.value)
        return b.call("F.pad", x, order=x.order, shape=shape, pad=pad, **value)
