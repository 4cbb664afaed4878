"""A network as PyTorch code, before it is code: what lowering records and two readers use.

`archspec.module` makes the `nn.Module` from it, `archspec.codegen` the source file, so the two
cannot drift apart. Nothing here imports torch: targets are names, as they stand in source.

Memory: a value has an order of axes, such as (batch, height, width, channels). Asking for another
order records a permute, which copies nothing; images are channels-last in memory throughout.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from archspec.files import unique
from archspec.shape import CHANNELS, Shape

BATCH = "batch"

Pointwise: TypeAlias = Literal["conv", "linear"]
"""What a linear map along the channels of a grid becomes: a 1×1 convolution or a matrix product."""


@dataclass(frozen=True, slots=True)
class Local:
    """A local variable of a forward function."""

    name: str


class Name(str):
    """A constant that is written as it stands, such as `torch.channels_last`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A leaf module: `nn.Conv2d(in_channels=80, …)`."""

    target: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One assignment in a forward function.

    `kind` says what `target` is: a submodule, a function such as `torch.cat`, or a method of the
    first argument.
    """

    results: tuple[str, ...]
    kind: Literal["module", "function", "method"]
    target: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Programs one after the other: an `nn.Sequential`."""

    items: tuple[Program, ...]


Member: TypeAlias = "Layer | Program | Sequence"


@dataclass(frozen=True)
class Program:
    """One module: its members, and its forward function as straight-line code."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    members: Mapping[str, Member]
    body: tuple[Statement, ...]
    result: str

    def programs(self) -> Iterator[Program]:
        """All programs inside, the innermost first, and this one last."""
        for member in self.members.values():
            items = member.items if isinstance(member, Sequence) else (member,)
            for item in items:
                if isinstance(item, Program):
                    yield from item.programs()
        yield self


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor while lowering: the variable that holds it, its axes in order, its shape."""

    name: str
    order: tuple[str, ...]
    shape: Shape

    @property
    def channels_last(self) -> tuple[str, ...]:
        """batch, positions, channels."""
        channels = (CHANNELS,) if CHANNELS in self.shape else ()
        return (BATCH, *self.shape.others, *channels)

    @property
    def channels_first(self) -> tuple[str, ...]:
        """batch, channels, positions: what PyTorch's convolutions and norms expect."""
        return (BATCH, CHANNELS, *self.shape.others)


class Builder:
    """Records one forward function; ops call it from their `lower`."""

    def __init__(
        self, layer_index: int = 0, layer_count: int = 1, pointwise: Pointwise = "conv"
    ) -> None:
        self.pointwise = pointwise
        self.layer_index = layer_index
        """Position of the enclosing layer among all repeated layers of the network."""
        self.layer_count = layer_count
        self.members: dict[str, Member] = {}
        self.body: list[Statement] = []
        self.node = "x"
        """The id of the node that is lowered."""
        self.names: tuple[str, ...] = ()
        """What the spec calls its outputs, where there are several."""
        self._names: set[str] = set()
        self._orders: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Value] = {}

    def fresh(self, wanted: str) -> str:
        """A variable's name that is not taken."""
        return unique(wanted, self._names)

    def order(self, x: Value, order: tuple[str, ...]) -> Value:
        """`x` with its axes in `order` (a view)."""
        if x.order == order:
            return x
        # the order is part of the key: a renamed tensor is the same variable under other names
        known = self._orders.get((x.name, x.order, order))
        if known is not None:
            return known
        dims = tuple(x.order.index(axis) for axis in order)
        result = self.method("permute", x, *dims, order=order, shape=x.shape, hint=x.name)
        self._orders[x.name, x.order, order] = result
        self._orders[result.name, order, x.order] = x
        return result

    def broadcast(self, x: Value, order: tuple[str, ...]) -> Value:
        """`x` in the order of `order`, with axes of size 1 where it has none."""
        x = self.order(x, tuple(axis for axis in order if axis in x.order))
        for dim, axis in enumerate(order):
            if axis not in x.order:
                x = self.method(
                    "unsqueeze", x, dim, order=(*x.order[:dim], axis, *x.order[dim:]),
                    shape=x.shape.replace(**{axis: 1}), hint=x.name,
                )  # fmt: skip
        return x

    def renamed(self, x: Value, order: tuple[str, ...], shape: Shape) -> Value:
        """The same variable under other axis names."""
        return Value(x.name, order, shape)

    def layer(
        self,
        x: Value,
        target: str,
        *,
        order: tuple[str, ...],
        resize: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Value:
        """Call a new leaf module, named as the node, on `x` in `order`."""
        shape = x.shape.replace(**dict(resize or {}))
        return self.join((self.order(x, order),), target, order=order, shape=shape, **kwargs)

    def join(
        self,
        xs: tuple[Value, ...],
        target: str,
        *,
        order: tuple[str, ...],
        shape: Shape,
        **kwargs: Any,
    ) -> Value:
        """Call a new leaf module, named as the node, on tensors as they are laid out."""
        self.members[self.node] = Layer(target, kwargs)
        args = tuple(Local(x.name) for x in xs)
        return self._record("module", self.node, args, {}, order, shape)

    def call(
        self,
        target: str,
        *args: Any,
        order: tuple[str, ...],
        shape: Shape,
        hint: str | None = None,
        **kwargs: Any,
    ) -> Value:
        """Call a function: `b.call("torch.cat", [a, b], order=…, shape=…, dim=1)`."""
        return self._record("function", target, args, kwargs, order, shape, hint)

    def call_many(
        self, target: str, x: Value, *args: Any, shapes: tuple[Shape, ...], **kwargs: Any
    ) -> tuple[Value, ...]:
        """Call a function that returns several tensors."""
        wanted = self.names or tuple(f"{self.node}_{index}" for index in range(len(shapes)))
        names = tuple(map(self.fresh, wanted))
        self.body.append(
            Statement(names, "function", target, tuple(map(_local, (x, *args))), kwargs)
        )
        return tuple(Value(name, x.order, s) for name, s in zip(names, shapes, strict=True))

    def method(
        self,
        target: str,
        x: Value,
        *args: Any,
        order: tuple[str, ...],
        shape: Shape,
        hint: str | None = None,
        **kwargs: Any,
    ) -> Value:
        """Call a method of a tensor: `b.method("permute", x, 0, 2, 3, 1, order=…, shape=…)`."""
        return self._record("method", target, (x, *args), kwargs, order, shape, hint)

    def _record(
        self,
        kind: Literal["module", "function", "method"],
        target: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        order: tuple[str, ...],
        shape: Shape,
        hint: str | None = None,
    ) -> Value:
        name = self.fresh(hint or self.node)
        self.body.append(Statement((name,), kind, target, tuple(map(_local, args)), dict(kwargs)))
        return Value(name, order, shape)


def _local(value: Any) -> Any:
    if isinstance(value, Value):
        return Local(value.name)
    if isinstance(value, list):
        return [_local(item) for item in value]
    return value


def class_name(name: str) -> str:
    """`token_mlp` as `TokenMlp`."""
    words = "".join(c if c.isalnum() else " " for c in name).split()
    made = "".join(word[:1].upper() + word[1:] for word in words) or "Network"
    # words of Python, and what every emitted file imports, cannot be classes of their own
    return f"{made}Network" if keyword.iskeyword(made) or made in ("F", "Tensor") else made
