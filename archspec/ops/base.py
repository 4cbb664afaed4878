"""What an op is: fields, a shape rule, a cost rule and a lowering, together in one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema

from archspec.errors import ShapeError, brief
from archspec.program import BATCH
from archspec.shape import CHANNELS, GRID, LETTERS, Shape

if TYPE_CHECKING:
    from archspec.program import Builder, Value


def _axis(name: str) -> str:
    if not (name.isidentifier() and name.isascii() and len(name) <= 60) or name == "batch":
        raise ValueError(f"expected the name of an axis, found {brief(name)}")
    return name


Axis = Annotated[
    str,
    AfterValidator(_axis),
    WithJsonSchema({"anyOf": [{"enum": list(LETTERS)}, {"type": "string"}]}),
]
"""The name of an axis: channels, height, width, tokens, or one that the spec made."""


class Op(BaseModel):
    """A primitive operation. Subclass it in a file of `archspec/ops/` to add one.

    The fields are the op's arguments in YAML, validated after their expressions were evaluated.
    A class states:

    - `infer`: shapes in, shape out (or a tuple of shapes); raises ShapeError when they do not fit.
    - `params` and `flops`: counts for one image, as plain arithmetic on sizes. FLOPs follow
      fvcore: one multiply-add is one FLOP, and what fvcore leaves at zero is zero.
    - `other_operations`: what fvcore leaves at zero, counted beside the FLOPs. One each for an
      addition, subtraction, multiplication, division or comparison, and for an elementary function
      (exp, erf, tanh, sin) of one element; n for a sum, a mean or a maximum of n elements. What
      only moves values has none.
    - `lower`: the PyTorch calls that compute it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: ClassVar[str]
    """The op's name in YAML."""
    shorthand: ClassVar[str | None] = None
    """The field that a bare argument fills: `- dropout: 0.1`."""
    inputs: ClassVar[tuple[int, int | None]] = (1, 1)
    """Fewest and most inputs; None: no upper limit."""
    is_product: ClassVar[bool] = False
    """Whether its FLOPs are multiply-adds, which every counting tool agrees on (norms are not)."""
    other: ClassVar[str | None] = None
    """What its other operations are, where they are not what it is named for: a bias."""
    is_view: ClassVar[bool] = False
    """Whether the output shares the input's memory, so that it costs no activation memory."""

    def infer(self, *xs: Shape) -> Shape | tuple[Shape, ...]:
        """The output's shape from the inputs' shapes; the same as the first, unless overridden."""
        return xs[0]

    def params(self, *xs: Shape) -> Any:
        """Learnable parameters."""
        return 0

    def flops(self, *xs: Shape) -> Any:
        """FLOPs for one image, in fvcore's convention."""
        return 0

    def other_operations(self, *xs: Shape) -> Any:
        """Operations for one image that fvcore leaves at zero."""
        return 0

    def lower(self, b: Builder, *xs: Value) -> Value | tuple[Value, ...]:
        """Record the PyTorch calls on `b`."""
        raise NotImplementedError(f"{type(self).__name__} has no lowering")


def pair(value: Any) -> tuple[Any, Any]:
    """`3` as `(3, 3)`; a list of two as it is."""
    return (value[0], value[1]) if isinstance(value, tuple | list) else (value, value)


def unless_default(defaults: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The arguments that differ from PyTorch's defaults, so that emitted source stays short."""
    return {key: value for key, value in given.items() if value != defaults[key]}


def need_grid(x: Shape, who: str) -> None:
    """Refuse a tensor without channels, height and width; it may have further axes."""
    if not {CHANNELS, *GRID} <= set(x):
        raise ShapeError(
            f"{who} works on a grid (channels, height, width), found {x}",
            hint="'unflatten' turns tokens into a grid",
        )


def further(x: Shape, own: tuple[str, ...]) -> tuple[str, ...]:
    """The axes that an op does not know of: every position there is on its own."""
    return tuple(axis for axis in x.others if axis not in own)


def fold(b: Builder, x: Value, axes: tuple[str, ...]) -> Value:
    """`x` with `axes` taken into the batch, as PyTorch's layers of a fixed number of axes want it.

    Channels are last in memory then, as everywhere: the layer's own order is a view.
    """
    if not axes:
        return x
    own = tuple(axis for axis in x.channels_last[1:] if axis not in axes)
    laid = b.order(x, (BATCH, *axes, *own))
    shape = x.shape.without(*axes)
    return b.method("flatten", laid, 0, len(axes), order=(BATCH, *own), shape=shape, hint=x.name)


def unfold(b: Builder, y: Value, x: Shape, axes: tuple[str, ...]) -> Value:
    """`y` with the axes that `fold` took from a tensor of shape `x`."""
    if not axes:
        return y
    sizes = {axis: x[axis] for axis in axes}
    return b.method(
        "unflatten", y, 0, (-1, *sizes.values()),
        order=(BATCH, *axes, *y.order[1:]), shape=y.shape.replace(**sizes),
    )  # fmt: skip
