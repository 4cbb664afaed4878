"""The words of a drawing: what stands in a box, on an edge, in the legend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archspec.ops import Op
from archspec.ops.base import pair
from archspec.shape import CHANNELS, LETTERS, Shape
from archspec.sizes import show

JOIN_SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
"""Ops that are drawn as a circle with a sign, as ⊕ in papers."""

_SILENT = frozenset({"bias", "eps", "momentum", "out", "padding"})
"""Arguments that a picture leaves out: the shapes tell, or they do not matter to its reader."""


def shape_text(shape: Shape) -> str:
    """`56×56×80`: height × width × channels, or tokens × channels; other axes by their name."""
    axes = [*shape.others, *([CHANNELS] if CHANNELS in shape else [])]
    sizes = (
        show(shape[axis]) if axis in LETTERS else f"{axis} {show(shape[axis])}" for axis in axes
    )
    return "×".join(sizes) or "scalar"


def quantity(value: int) -> str:
    """`24.1 M`: three digits and a prefix."""
    for factor, prefix in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= factor:
            digits = max(0, 2 - len(str(value // factor)) + 1)
            return f"{value / factor:.{digits}f} {prefix}"
    return str(value)


def family(op: Op) -> str:
    """The family that gives an op its colour: the file it stands in.

    A linear map that mixes positions is what these networks are about, so it has its own.
    """
    name = type(op).__module__.rpartition(".")[2]
    if name == "linear":
        return "channel mixing" if getattr(op, "axis", CHANNELS) == CHANNELS else "token mixing"
    return name


def details(op: Op, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    """The arguments that a reader wants to see, in one or two short lines."""
    words = _WORDS.get(op.name, _other)(op, inputs)
    return tuple(word for word in words if word)


def _size(value: Any) -> str:
    first, second = pair(value)
    return f"{show(first)}×{show(second)}"


def _along(axis: str) -> str:
    return "" if axis == CHANNELS else f"along {axis}"


def _window(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    words = [_size(op.kernel)]
    if pair(op.stride) != (1, 1):
        first, second = pair(op.stride)
        words.append(f"stride {show(first) if first == second else _size(op.stride)}")
    if pair(op.dilation) != (1, 1):
        words.append(f"dilation {show(pair(op.dilation)[0])}")
    groups = getattr(op, "groups", 1)
    if is_depthwise(op, inputs):
        return (", ".join([f"{words[0]} depthwise", *words[1:]]),)
    return (", ".join(words), "" if groups == 1 else f"{show(groups)} groups")


def is_depthwise(op: Op, inputs: tuple[Shape, ...]) -> bool:
    """Whether a convolution has one group for each channel."""
    groups = getattr(op, "groups", 1)
    return bool(op.name == "conv" and groups == inputs[0].channels and groups != 1)


def _linear(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    (x,) = inputs
    size = show(x[op.axis])
    out = size if op.out is None else show(op.out)
    if op.axis != CHANNELS:
        return (f"along {op.axis}", "" if out == size else f"{size} → {out}")
    return (f"1×1, {size} → {out}" if x.is_grid else f"{size} → {out}",)


def _split(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    if op.sizes is None:
        return (f"into {show(op.into)}", _along(op.axis))
    return (" + ".join(show(size) for size in op.sizes), _along(op.axis))


def _flatten(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    return (f"{', '.join(op.axes)} → {op.into}",)


def _unflatten(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    into = ("height", "width") if op.into is None else tuple(op.into)
    return (f"{op.axis} → {', '.join(into)}",)


def _rename(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    return (", ".join(f"{old} → {new}" for old, new in op.axes.items()),)


def _shift(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    by = op.by if isinstance(op.by, tuple) else (op.by,)
    mode = "" if op.mode == "circular" else f", {op.mode}"
    turn = "" if op.grouping == "chunk" else ", in turn"
    return (f"along {op.axis}{mode}", f"by {', '.join(show(offset) for offset in by)}{turn}")


def _pad(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    constant = f", value {op.value:g}" if op.value else ""
    mode = constant if op.mode == "constant" else f", {op.mode}"
    return (f"along {op.axis}{mode}", f"{show(op.before)} before, {show(op.after)} after")


def _param(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    return ("" if op.init is None else f"init {op.init:g}",)


def _fourier(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    return (f"over {', '.join(op.axes)}",)


def _global_pool(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    axes = inputs[0].others if op.axes is None else op.axes
    return (op.kind, f"over {', '.join(axes)}")


def _concat(op: Any, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    return (f"along {op.axis}",)


def _other(op: Op, inputs: tuple[Shape, ...]) -> tuple[str, ...]:
    """Any op: the arguments that are not what they are by default."""
    words = []
    for name, field in type(op).model_fields.items():
        value = getattr(op, name)
        if name in _SILENT or value == field.default:
            continue
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words.append(name if value is True else f"{name} {text}")
    return tuple(words)


_WORDS: dict[str, Callable[[Any, tuple[Shape, ...]], tuple[str, ...]]] = {
    "conv": _window,
    "avg_pool": _window,
    "max_pool": _window,
    "linear": _linear,
    "split": _split,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "rename": _rename,
    "shift": _shift,
    "pad": _pad,
    "param": _param,
    "rfft": _fourier,
    "irfft": _fourier,
    "fft": _fourier,
    "ifft": _fourier,
    "global_pool": _global_pool,
    "concat": _concat,
}
