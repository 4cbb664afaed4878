"""Maps y = a · x + b with one a and one b for each position of an axis, and where they can go.

A batch_norm in eval mode is such a map along the channels, and so are `affine`, `scale`, and the
affine part of a layer_norm or group_norm. A linear map along the same axis, or a convolution,
takes one up at no cost: W(a·x + b) + c = (W·a) x + (W·b + c), and a·(Wx + c) + b alike.
On the way it may have to pass ops that do not mix the positions of its axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archspec.compile.rewrites.editing import Edit
from archspec.compile.traffic import OF_BATCH
from archspec.graph import INPUT, OpNode, Ref
from archspec.ops.base import Op
from archspec.ops.conv import Conv
from archspec.ops.layout import Flatten, Identity, Rename, Shift, Unflatten
from archspec.ops.linear import Linear
from archspec.ops.norm import Affine, BatchNorm, GroupNorm, LayerNorm, Scale
from archspec.ops.part import Pad, Select, Slice
from archspec.ops.pool import AvgPool, GlobalPool
from archspec.ops.regularise import Dropout, StochasticDepth
from archspec.shape import CHANNELS, Shape


@dataclass(frozen=True)
class Diagonal:
    """y = scale · x + shift along `axis`; without a shift if that is None."""

    axis: str
    scale: Tensor
    shift: Tensor | None

    def after(self, first: Diagonal) -> Diagonal:
        """The map that does `first`, then this."""
        moved = None if first.shift is None else self.scale * first.shift
        return Diagonal(self.axis, self.scale * first.scale, plus(moved, self.shift))


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a + b, None standing for zero."""
    return b if a is None else a if b is None else a + b


def of_op(edit: Edit, node: OpNode) -> Diagonal | None:
    """The map that a whole op is; None if it is none."""
    held = edit.tensors(node)
    if isinstance(node.op, BatchNorm):
        scale = torch.rsqrt(held["running_var"] + float(node.op.eps))
        plain = Diagonal(CHANNELS, scale, -held["running_mean"] * scale)
        if not node.op.affine:
            return plain
        return Diagonal(CHANNELS, held["weight"], held["bias"]).after(plain)
    if isinstance(node.op, Affine | Scale):
        return Diagonal(CHANNELS, held["weight"], held.get("bias"))
    return None


def of_norm(edit: Edit, node: OpNode) -> Diagonal | None:
    """The affine part of a norm with statistics of its own; None if it has none."""
    if isinstance(node.op, LayerNorm | GroupNorm) and node.op.affine:
        axis = node.op.axis if isinstance(node.op, LayerNorm) else CHANNELS
        held = edit.tensors(node)
        return Diagonal(axis, held["weight"], held.get("bias"))
    return None


# -- forwards: into what reads it ----------------------------------------------------------------


def into_readers(edit: Edit, ref: Ref, diagonal: Diagonal) -> str | None:
    """Let everything that reads `ref` take up a map that is about to be left out there.

    Returns:
        What took it up, in words; None (and nothing is changed) if not every reader can.
    """
    found = _takers(edit, ref, diagonal.axis, shifts=diagonal.shift is not None)
    if not found:
        return None
    for taker, axis in found:
        _before(edit, taker, Diagonal(axis, diagonal.scale, diagonal.shift))
    names = dict.fromkeys(taker.op.name for taker, _ in found)
    return f"the {' and '.join(names)} after it"


def _takers(edit: Edit, ref: Ref, axis: str, *, shifts: bool) -> list[tuple[OpNode, str]] | None:
    """The ops that would take a map up, each with the axis as it is called there."""
    if ref == edit.output:
        return None
    found: list[tuple[OpNode, str]] = []
    for reader in edit.readers(ref):
        if isinstance(reader.op, OF_BATCH):
            continue  # it does not read the values
        if _takes_before(reader.op, axis, shifts=shifts):
            found.append((reader, axis))
            continue
        after = passes(reader.op, reader.input_shapes[0], axis, shifts=shifts)
        more = None if after is None else _takers(edit, Ref(reader.id), after, shifts=shifts)
        if more is None:
            return None
        found += more
    return found


def _takes_before(op: Op, axis: str, *, shifts: bool) -> bool:
    """Whether an op can take up a map of its input.

    A convolution that pads adds zeros after the map: a shift would have to leave them out.
    """
    if isinstance(op, Conv):
        return axis == CHANNELS and (not shifts or op.pads() == (0, 0))
    return isinstance(op, Linear) and op.axis == axis


def _before(edit: Edit, taker: OpNode, diagonal: Diagonal) -> None:
    held = edit.tensors(taker)
    weight = held["weight"]  # (out, in) or (out, in / groups, height, width)
    added = None
    if diagonal.shift is not None:
        added = (weight * _as_met(diagonal.shift, taker.op, weight)).flatten(1).sum(1)
    scaled = weight * _as_met(diagonal.scale, taker.op, weight)
    _set_held(edit, taker, scaled, plus(held.get("bias"), added))


def _as_met(x: Tensor, op: Op, weight: Tensor) -> Tensor:
    """One value for each input, laid out like the weights that it meets."""
    if not isinstance(op, Conv):
        return x[None]
    # each filter of a grouped convolution meets the channels of its group
    each = x.reshape(op.groups, -1).repeat_interleave(weight.shape[0] // op.groups, 0)
    return each[:, :, None, None]


# -- backwards: into what comes before -----------------------------------------------------------


def into_source(edit: Edit, ref: Ref, diagonal: Diagonal) -> str | None:
    """Let what computes `ref` take up a map of it that is about to be left out.

    Returns:
        What took it up, in words; None (and nothing is changed) if nothing can.
    """
    axis = diagonal.axis
    while ref.node != INPUT and edit.only_reader(ref) is not None:
        source = edit.get(ref.node)
        assert source is not None
        if _takes_after(source.op, axis):
            _after(edit, source, Diagonal(axis, diagonal.scale, diagonal.shift))
            return f"the {source.op.name} before it"
        before = _before_passing(source, axis, shifts=diagonal.shift is not None)
        if before is None:
            return None
        axis, ref = before, source.inputs[0]
    return None


def _before_passing(node: OpNode, axis: str, *, shifts: bool) -> str | None:
    """What an axis of an op's output is called in its input, if a map can pass."""
    x = node.input_shapes[0]
    names = (name for name in x if passes(node.op, x, name, shifts=shifts) == axis)
    return next(names, None)


def _takes_after(op: Op, axis: str) -> bool:
    if isinstance(op, LayerNorm):
        return op.affine and op.axis == axis
    if isinstance(op, GroupNorm):
        return op.affine and axis == CHANNELS
    if isinstance(op, Linear):
        return op.axis == axis
    return isinstance(op, Conv | BatchNorm | Affine | Scale) and axis == CHANNELS


def _after(edit: Edit, taker: OpNode, diagonal: Diagonal) -> None:
    held = edit.tensors(taker)
    if isinstance(taker.op, Linear | Conv):
        weight = held["weight"]
        scale = diagonal.scale.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = held.get("bias")
        moved = None if bias is None else diagonal.scale * bias
        _set_held(edit, taker, weight * scale, plus(moved, diagonal.shift))
        return
    own = of_op(edit, taker) or of_norm(edit, taker)
    assert own is not None
    both = diagonal.after(own)
    if isinstance(taker.op, LayerNorm | GroupNorm):
        _set_held(edit, taker, both.scale, both.shift)
    else:
        set_diagonal(edit, taker, both)


# -- what both need ------------------------------------------------------------------------------


def set_diagonal(edit: Edit, node: OpNode, diagonal: Diagonal) -> None:
    """Make a node an `affine` or a `scale`: the plain forms of a map along the channels."""
    if diagonal.shift is None:
        edit.change(node, Scale(), weights={"weight": diagonal.scale})
    else:
        weights = {"weight": diagonal.scale, "bias": diagonal.shift}
        edit.change(node, Affine(), weights=weights)


def _set_held(edit: Edit, node: OpNode, weight: Tensor, bias: Tensor | None) -> None:
    """Give a product or a norm these weights, and a bias or none."""
    op = node.op.model_copy(update={"bias": bias is not None})
    edit.change(node, op, weights={"weight": weight} | ({} if bias is None else {"bias": bias}))


def passes(op: Op, x: Shape, axis: str, *, shifts: bool) -> str | None:
    """Whether an op gives the same before a map along `axis` as after it.

    Args:
        x: the shape of the op's input.
        shifts: whether the map adds something, which an op that brings in zeros does not.

    Returns:
        What the axis is called after the op; None if the map cannot pass.
    """
    match op:
        case Identity() | Dropout() | StochasticDepth():
            return axis
        case Rename():
            return op.axes.get(axis, axis)
        case Flatten():
            is_apart = axis not in op.axes
        case Unflatten() | Slice() | Select():
            is_apart = axis != op.axis
        case GlobalPool():
            is_apart = op.kind == "average" and axis not in (op.axes or x.others)
        case AvgPool():
            brings_zeros = op.pads() != (0, 0) and op.count_include_pad
            is_apart = axis == CHANNELS and not (shifts and brings_zeros)
        case Shift():
            is_apart = axis != op.axis and not (shifts and op.mode == "zero")
        case Pad(mode="constant"):
            is_apart = axis != op.axis and not shifts and not op.value
        case Pad():
            is_apart = axis != op.axis
        case Linear():  # along another axis
            is_apart = axis != op.axis and not shifts and not op.bias
        case _:
            is_apart = False
    return axis if is_apart else None
