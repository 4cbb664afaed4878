"""Activations: one function of each element. fvcore counts them as zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from archspec.ops.base import Axis, Op
from archspec.shape import CHANNELS, Shape
from archspec.sizes import Real

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class _Activation(Op):
    function: ClassVar[str]
    operations: ClassVar[int] = 1
    """For each element, as its definition writes them; a change of sign is none."""

    def _arguments(self) -> dict[str, Any]:
        return {}

    def other_operations(self, *xs: Shape) -> Any:
        return xs[0].numel() * self.operations

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        return b.call(self.function, x, order=x.order, shape=x.shape, **self._arguments())


class GELU(_Activation):
    """x Φ(x) (arXiv 1606.08415); `approximate: tanh` for the cheaper form."""

    name: ClassVar[str] = "gelu"
    function: ClassVar[str] = "F.gelu"
    approximate: Literal["none", "tanh"] = "none"

    def other_operations(self, *xs: Shape) -> Any:
        # x/2 · (1 + erf(x/√2)), or x/2 · (1 + tanh(√(2/π) · (x + 0.044715 · x · x · x)))
        return xs[0].numel() * (5 if self.approximate == "none" else 9)

    def _arguments(self) -> dict[str, Any]:
        return {} if self.approximate == "none" else {"approximate": self.approximate}


class ReLU(_Activation):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"
    function: ClassVar[str] = "F.relu"


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    name: ClassVar[str] = "relu6"
    function: ClassVar[str] = "F.relu6"
    operations: ClassVar[int] = 2


class LeakyReLU(_Activation):
    """x where positive, `negative_slope` · x elsewhere."""

    name: ClassVar[str] = "leaky_relu"
    function: ClassVar[str] = "F.leaky_relu"
    operations: ClassVar[int] = 2
    negative_slope: Real = 0.01

    def _arguments(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class SiLU(_Activation):
    """x σ(x), also called swish."""

    name: ClassVar[str] = "silu"
    function: ClassVar[str] = "F.silu"
    operations: ClassVar[int] = 4


class Hardswish(_Activation):
    """x · relu6(x + 3) / 6 (arXiv 1905.02244)."""

    name: ClassVar[str] = "hardswish"
    function: ClassVar[str] = "F.hardswish"
    operations: ClassVar[int] = 5


class Hardsigmoid(_Activation):
    """relu6(x + 3) / 6."""

    name: ClassVar[str] = "hardsigmoid"
    function: ClassVar[str] = "F.hardsigmoid"
    operations: ClassVar[int] = 4


class Sigmoid(_Activation):
    """1 / (1 + e⁻ˣ)."""

    name: ClassVar[str] = "sigmoid"
    function: ClassVar[str] = "torch.sigmoid"
    operations: ClassVar[int] = 3


class Tanh(_Activation):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"
    function: ClassVar[str] = "torch.tanh"


class Sin(_Activation):
    """The sine of each element, in radians."""

    name: ClassVar[str] = "sin"
    function: ClassVar[str] = "torch.sin"


class Cos(_Activation):
    """The cosine of each element, in radians."""

    name: ClassVar[str] = "cos"
    function: ClassVar[str] = "torch.cos"


class Factor(Op):
    """x times a constant number, `by`, which is not learned (`scale` is)."""

    name: ClassVar[str] = "factor"
    shorthand: ClassVar[str | None] = "by"
    by: Real

    def other_operations(self, *xs: Shape) -> Any:
        return xs[0].numel()

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        return b.call("operator.mul", x, self.by, order=x.order, shape=x.shape)


class Softmax(Op):
    """eˣ / Σ eˣ along `axis`."""

    name: ClassVar[str] = "softmax"
    shorthand: ClassVar[str | None] = "axis"
    axis: Axis = CHANNELS

    def infer(self, *xs: Shape) -> Shape:
        xs[0].size(self.axis)
        return xs[0]

    def other_operations(self, *xs: Shape) -> Any:
        return 5 * xs[0].numel()  # the largest, minus it, exp, their sum, by it

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        dim = x.order.index(self.axis)
        return b.call("F.softmax", x, order=x.order, shape=x.shape, dim=dim)
