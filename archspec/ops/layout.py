"""Moving values without computing: identity, reshape between grid and tokens, rename, shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, unless_default
from archspec.shape import CHANNELS, GRID, HEIGHT, TOKENS, WIDTH, Shape
from archspec.sizes import Offset, Size, equal, is_array, is_symbol, multiply, require, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class Identity(Op):
    """The input, unchanged: a branch that does nothing, or a name for a tensor."""

    name: ClassVar[str] = "identity"
    is_view: ClassVar[bool] = True

    def lower(self, b: Builder, *xs: Value) -> Value:
        return xs[0]


class Flatten(Op):
    """Several axes into one, the last running fastest: the grid into tokens by default."""

    name: ClassVar[str] = "flatten"
    is_view: ClassVar[bool] = True

    axes: tuple[Axis, ...] = Field(default=GRID, min_length=2)
    into: Axis = TOKENS

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        total: Any = 1
        for axis in self.axes:
            total = multiply(total, x.size(axis))
        rest = x.without(*self.axes)
        if self.into in rest or len(set(self.axes)) != len(self.axes):
            raise ShapeError(f"'flatten' of {x} would have an axis twice")
        return Shape({**rest, self.into: total})

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        shape = self.infer(x.shape)
        # channels stay last when they are not among the axes that are joined
        last = () if CHANNELS in self.axes else ("channels",) if CHANNELS in x.shape else ()
        rest = [a for a in x.channels_last[1:] if a not in self.axes and a not in last]
        x = b.order(x, ("batch", *rest, *self.axes, *last))
        order = ("batch", *rest, self.into, *last)
        start = 1 + len(rest)
        return b.method("flatten", x, start, start + len(self.axes) - 1, order=order, shape=shape)


class Unflatten(Op):
    """One axis into several, the last running fastest: tokens into a square grid by default.

    `into` maps each new axis to its size, in order.
    """

    name: ClassVar[str] = "unflatten"
    is_view: ClassVar[bool] = True

    axis: Axis = TOKENS
    into: dict[Axis, Size] | None = Field(default=None, min_length=2)

    def _into(self, x: Shape) -> dict[str, Any]:
        size = x.size(self.axis)
        if self.into is None:
            if is_array(size) or is_symbol(size):
                raise ShapeError("'unflatten' needs 'into' when the number of tokens varies")
            side = round(size**0.5)
            if side * side != size:
                raise ShapeError(
                    f"{self.axis} {size} is not a square; give 'into: {{height: …, width: …}}'"
                )
            return {HEIGHT: side, WIDTH: side}
        total: Any = 1
        for part in self.into.values():
            total = multiply(total, part)
        if not equal(total, size):
            parts = " × ".join(f"{axis} {show(part)}" for axis, part in self.into.items())
            raise ShapeError(
                f"{self.axis} {show(size)} does not unflatten into {parts} = {show(total)}"
            )
        return dict(self.into)

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        into, rest = self._into(x), x.without(self.axis)
        for axis in into:
            if axis in rest:
                raise ShapeError(f"'unflatten' would make axis {axis!r} of {x} twice")
        return Shape({**rest, **into})

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        into = self._into(x.shape)
        dim = x.order.index(self.axis)
        order = (*x.order[:dim], *into, *x.order[dim + 1 :])
        return b.method(
            "unflatten", x, dim, tuple(into.values()), order=order, shape=self.infer(x.shape)
        )


class Rename(Op):
    """Give axes other names: `rename: {axes: {tokens: keys}}`."""

    name: ClassVar[str] = "rename"
    shorthand: ClassVar[str | None] = "axes"
    is_view: ClassVar[bool] = True

    axes: dict[Axis, Axis]

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        for axis in self.axes:
            x.size(axis)
        renamed = {self.axes.get(axis, axis): size for axis, size in x.items()}
        if len(renamed) != len(x):
            raise ShapeError(f"'rename' would give {x} an axis twice")
        return Shape(renamed)

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        order = tuple(self.axes.get(axis, axis) for axis in x.order)
        return b.renamed(x, order, self.infer(x.shape))


class Shift(Op):
    """Move values along `axis` by `by` positions; with several offsets, one per group of channels.

    Groups are cut as torch.chunk cuts: ⌈C / n⌉ channels each, the last may be smaller. With
    `grouping: cycle` neighbours belong to different groups: channel c moves by `by[c % n]`.
    `mode: circular` rolls around (torch.roll), `zero` and `replicate` fill what is uncovered.
    """

    name: ClassVar[str] = "shift"

    axis: Axis
    by: Offset | Annotated[tuple[Offset, ...], Field(min_length=1)] = 1
    mode: Literal["circular", "zero", "replicate"] = "circular"
    grouping: Literal["chunk", "cycle"] = "chunk"

    def _offsets(self) -> tuple[int, ...]:
        return tuple(self.by) if isinstance(self.by, tuple) else (self.by,)

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        size = x.size(self.axis)
        offsets = self._offsets()
        if len(offsets) > 1 and self.axis == CHANNELS:
            raise ShapeError("'shift' along channels takes one offset, not one per group of them")
        if not is_symbol(size) and not all(require(abs(offset) < size) for offset in offsets):
            raise ShapeError(
                f"a shift by {list(offsets)} leaves nothing of {self.axis} {show(size)}"
            )
        if len(offsets) > 1 and not is_symbol(x.channels):
            self._check_groups(x.channels, len(offsets))
        return x

    def _check_groups(self, channels: Any, count: int) -> None:
        if self.grouping == "cycle":
            if not require(channels >= count):
                raise ShapeError(f"{show(channels)} channels do not form {count} groups")
            return
        # groups of ⌈C / n⌉ channels, as torch.chunk cuts them; the last has what is left
        group = (channels + count - 1) // count
        if not require(group * (count - 1) < channels):
            raise ShapeError(
                f"{show(channels)} channels do not form {count} groups of "
                f"{show(group)} (the last may be smaller)"
            )

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        dim = x.order.index(self.axis)
        offsets = self._offsets()
        if self.mode == "circular" and len(offsets) == 1:
            return b.call(
                "torch.roll", x, order=x.order, shape=x.shape, shifts=offsets[0], dims=dim
            )
        groups: dict[str, Any] = {}
        if len(offsets) > 1:
            cycle = unless_default({"grouping": "chunk"}, grouping=self.grouping)
            groups = {"group_dim": x.order.index(CHANNELS), **cycle}
        return b.layer(
            x, "Shift", order=x.order, offsets=offsets, dim=dim, mode=self.mode, **groups
        )
