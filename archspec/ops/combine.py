"""Several tensors into one, and one into several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op
from archspec.shape import CHANNELS, Shape
from archspec.sizes import Real, Size, divide, equal, is_symbol, require, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


MAX_PARTS = 1024


class Elementwise(Op):
    """Elementwise on two or more tensors, which meet by axis name.

    An axis that one of them lacks, or has with size 1, is repeated.
    """

    inputs: ClassVar[tuple[int, int | None]] = (2, None)
    function: ClassVar[str]

    def infer(self, *xs: Shape) -> Shape:
        sizes: dict[str, Any] = {}
        for x in xs:
            for axis, size in x.items():
                old = sizes.get(axis, 1)
                if equal(old, 1):
                    sizes[axis] = size
                elif not equal(old, size) and not equal(size, 1):
                    shapes = " and ".join(str(shape) for shape in xs)
                    raise ShapeError(
                        f"'{self.name}' cannot join {shapes}: {axis} is {show(old)} in one and "
                        f"{show(size)} in another; sizes must be equal, or one of them 1"
                    )
        return Shape(sizes)

    def other_operations(self, *xs: Shape) -> Any:
        total: Any = 0
        y = xs[0]
        for x in xs[1:]:
            y = self.infer(y, x)
            total = total + y.numel()
        return total

    @staticmethod
    def order(*xs: Value) -> tuple[str, ...]:
        """All axes; the tensor with the most leads, and the others are laid out like it."""
        lead = max(xs, key=lambda value: len(value.order))
        missing = [axis for x in xs for axis in x.shape if axis not in lead.shape]
        return (*lead.order, *dict.fromkeys(missing))

    def lower(self, b: Builder, *xs: Value) -> Value:
        order = self.order(*xs)
        result = b.broadcast(xs[0], order)
        for x in xs[1:]:
            shape = self.infer(result.shape, x.shape)
            result = b.call(self.function, result, b.broadcast(x, order), order=order, shape=shape)
        return result


class Add(Elementwise):
    """The sum of the inputs."""

    name: ClassVar[str] = "add"
    function: ClassVar[str] = "operator.add"


class Subtract(Elementwise):
    """The first input minus the second."""

    name: ClassVar[str] = "subtract"
    inputs: ClassVar[tuple[int, int | None]] = (2, 2)
    function: ClassVar[str] = "operator.sub"


class Multiply(Elementwise):
    """The product of the inputs: gating, attention by weights, squeeze-and-excitation."""

    name: ClassVar[str] = "multiply"
    function: ClassVar[str] = "operator.mul"


class Divide(Elementwise):
    """The first input by the second: a / (b + eps)."""

    name: ClassVar[str] = "divide"
    inputs: ClassVar[tuple[int, int | None]] = (2, 2)
    function: ClassVar[str] = "operator.truediv"

    eps: Real = Field(default=0.0, ge=0)

    def other_operations(self, *xs: Shape) -> Any:
        return super().other_operations(*xs) + (xs[1].numel() if self.eps else 0)

    def lower(self, b: Builder, *xs: Value) -> Value:
        above, below = xs
        if self.eps:
            below = b.call(
                "operator.add", below, self.eps,
                order=below.order, shape=below.shape, hint=f"{b.node}_by",
            )  # fmt: skip
        return super().lower(b, above, below)


class Concat(Op):
    """One after the other along `axis`, in the order of `from`."""

    name: ClassVar[str] = "concat"
    inputs: ClassVar[tuple[int, int | None]] = (2, None)
    axis: Axis = CHANNELS

    def infer(self, *xs: Shape) -> Shape:
        total: Any = 0
        for x in xs:
            total = total + x.size(self.axis)
            if x.without(self.axis) != xs[0].without(self.axis):
                raise ShapeError(
                    f"'concat' along {self.axis} cannot join {xs[0]} and {x}: "
                    "all other axes must be equal"
                )
        return xs[0].replace(**{self.axis: total})

    def lower(self, b: Builder, *xs: Value) -> Value:
        order = xs[0].channels_last
        laid = [b.order(x, order) for x in xs]
        shape = self.infer(*(x.shape for x in xs))
        return b.call("torch.cat", laid, order=order, shape=shape, dim=order.index(self.axis))


class Split(Op):
    """Cut along `axis` into equal parts (`into: 2`) or into given `sizes`; `id` names each part."""

    name: ClassVar[str] = "split"
    shorthand: ClassVar[str | None] = "into"
    is_view: ClassVar[bool] = True

    into: Size | None = None
    sizes: tuple[Size, ...] | None = None
    axis: Axis = CHANNELS

    def infer(self, *xs: Shape) -> tuple[Shape, ...]:
        (x,) = xs
        size = x.size(self.axis)
        if (self.into is None) == (self.sizes is None):
            raise ShapeError("'split' needs either 'into' or 'sizes'")
        if self.sizes is not None:
            parts, total = self.sizes, sum(self.sizes[1:], self.sizes[0])
            if not equal(total, size):
                listed = " + ".join(show(part) for part in parts)
                raise ShapeError(
                    f"'split' sizes {listed} = {show(total)} do not add up to "
                    f"{self.axis} {show(size)}"
                )
        else:
            into: Any = self.into
            if not require(into <= MAX_PARTS):
                raise ShapeError(f"'split' makes at most {MAX_PARTS} parts, found {show(into)}")
            if not is_symbol(size) and not require(size % into == 0):
                raise ShapeError(f"{self.axis} {show(size)} does not split into {into} equal parts")
            parts = (divide(size, into),) * into
        return tuple(x.replace(**{self.axis: part}) for part in parts)

    def lower(self, b: Builder, *xs: Value) -> tuple[Value, ...]:
        (x,) = xs
        dim = x.order.index(self.axis)
        shapes = self.infer(x.shape)
        if self.sizes is None:
            return b.call_many("torch.chunk", x, self.into, shapes=shapes, dim=dim)
        return b.call_many("torch.split", x, list(self.sizes), shapes=shapes, dim=dim)
