"""Linear maps along two axes, one after the other, in the cheaper order.

The first map F (bias f) and the second map G (bias g), along another axis, may change places:

    G(F x + f) + g = F(G x) + t,    t[j, o] = f[j] · Σ G[o, :] + g[o]

with j along F's axis and o along G's. t does not depend on the image: it becomes a `param`, which
is one more term of the sum that reads the result, if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.editing import Edit
from archspec.compile.rewrites.merge_linears import is_biased, merge
from archspec.graph import INPUT, OpNode, Ref
from archspec.ops.combine import Add
from archspec.ops.linear import Linear
from archspec.ops.param import Param


class CommuteAxes(Rewrite):
    """Where the tensor between the two becomes smaller, or their input need not be read again.

    Once G is first, it reads what other maps along its axis may read too. Those become one
    product, so the input is read once less for each map that joins; `row`, `column` and `fuse` of
    a sparse MLP are such a case.
    """

    name: ClassVar[str] = "commute-axes"
    about: ClassVar[str] = "exchange linear maps along two axes, joining those that share an input"
    precondition: ClassVar[str] = (
        "the second alone reads the first; no more FLOPs; and, counted op by op for one image, "
        "fewer bytes of the tensor between them and of inputs than the constants bring in"
    )
    rank: ClassVar[int] = 70

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        sources = dict.fromkeys(node.inputs[0] for node in edit.nodes() if node.inputs)
        for source in sources:
            if source.node != INPUT and edit.get(source.node) is None:
                continue  # gone, with another pair
            for axis in dict.fromkeys(pair.second_op.axis for pair in _pairs(edit, source)):
                cls._apply(edit, source, axis)
        return edit.done()

    @staticmethod
    def _apply(edit: Edit, source: Ref, axis: str) -> None:
        """Exchange those pairs that gain, of those whose second map is along `axis`."""
        pairs = [pair for pair in _pairs(edit, source) if pair.second_op.axis == axis]
        others = [
            node for node in edit.readers(source)
            if isinstance(node.op, Linear) and node.op.axis == axis
        ]  # fmt: skip
        joining = _joining(others, pairs, axis, edit.shape(source).numel())
        for pair in joining or [pair for pair in pairs if pair.gain > 0]:
            edit.note(pair.second, f"linear along {axis} before that along {pair.first_op.axis}")
            others.append(_exchange(edit, pair))
        if joining:
            merge(edit, edit.in_order(others))


@dataclass(frozen=True)
class _Pair:
    """Two linear maps that may change places."""

    first: OpNode
    first_op: Linear
    second: OpNode
    second_op: Linear
    constant: Tensor | None
    """t, with the axes that it has."""
    constant_axes: tuple[str, ...]
    gain: int
    """Elements read and written that the exchange alone saves for one image, t read for it."""


def _pairs(edit: Edit, source: Ref) -> Iterator[_Pair]:
    """The maps of `source` with the map that alone reads each, where FLOPs would not grow."""
    for first in edit.readers(source):
        second = edit.only_reader(Ref(first.id))
        if second is None:
            continue
        f, g = first.op, second.op
        if not isinstance(f, Linear) or not isinstance(g, Linear) or f.axis == g.axis:
            continue
        x, between, y = first.input_shapes[0], first.outputs[0], second.outputs[0]
        swapped = g.infer(x)
        if g.flops(x) + f.flops(swapped) > f.flops(x) + g.flops(between):
            continue
        constant, axes = _constant(edit.tensors(first), edit.tensors(second), f.axis, g.axis)
        gain = 2 * (between.numel() - swapped.numel())
        if constant is not None:
            gain -= constant.numel()
            if _sum_after(edit, second) is None:
                gain -= 2 * y.numel()  # a sum of its own
        yield _Pair(first, f, second, g, constant, axes, gain)


def _joining(others: list[OpNode], pairs: list[_Pair], axis: str, size: int) -> list[_Pair]:
    """The pairs whose second map is to join other maps of their input, if that saves more.

    Args:
        others: the maps along `axis` that read the input now.
        size: elements of the input.
    """
    has_bias = any(map(is_biased, others))

    def zeros(node: OpNode) -> int:
        """The bias that a map without one gets where the joined product has one."""
        return int(node.outputs[0][axis]) if has_bias else 0

    good = [pair for pair in pairs if pair.gain + size > zeros(pair.second)]
    if not good or len(others) + len(good) < 2:
        return []
    saved = sum(pair.gain - zeros(pair.second) for pair in good)
    saved -= sum(zeros(node) for node in others if not is_biased(node))
    saved += (len(others) + len(good) - 1) * size
    return good if saved > sum(pair.gain for pair in good if pair.gain > 0) else []


def _constant(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], first_axis: str, second_axis: str
) -> tuple[Tensor | None, tuple[str, ...]]:
    """t and its axes."""
    f, g = first.get("bias"), second.get("bias")
    if f is None:
        return g, (second_axis,)
    t = f[:, None] * second["weight"].sum(1)
    return t if g is None else t + g, (first_axis, second_axis)


def _sum_after(edit: Edit, node: OpNode) -> OpNode | None:
    """The sum that alone reads a node, if there is one."""
    reader = edit.only_reader(Ref(node.id))
    return reader if reader is not None and isinstance(reader.op, Add) else None


def _exchange(edit: Edit, pair: _Pair) -> OpNode:
    """Let the second map go first; that map, under its new id."""
    first, second = edit.now(pair.first), pair.second
    f, g = (
        Linear(out=node.outputs[0][op.axis], axis=op.axis, bias=False)
        for node, op in ((first, pair.first_op), (second, pair.second_op))
    )
    weights = [{"weight": edit.tensors(node)["weight"]} for node in (first, second)]
    made = edit.add(
        g, first.inputs, like=second, before=first.id, name=f"{second.id}_early",
        weights=weights[1],
    )  # fmt: skip
    edit.change(first, f, inputs=[made], weights=weights[0])
    end, old = Ref(first.id), Ref(second.id)
    after = _sum_after(edit, second)
    if pair.constant is not None:
        axes = dict(zip(pair.constant_axes, pair.constant.shape, strict=True))
        constant = edit.add(
            Param(axes=axes), [Ref(INPUT)],  # which tells it the number of images
            like=second, before=second.id, name=f"{second.id}_constant",
            weights={"weight": pair.constant},
        )  # fmt: skip
        if after is None:
            edit.change(second, Add(), inputs=[end, constant], weights={})
            return edit.node(made)
        terms = [end if source == old else source for source in after.inputs]
        edit.change(after, after.op, inputs=[*terms, constant], weights={})
    else:
        edit.redirect(old, end)
    edit.remove(second)
    return edit.node(made)
