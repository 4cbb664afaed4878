"""W · concat(x, y, …) = Wx·x + Wy·y + …: products that accumulate, and no concatenated tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.editing import Edit
from archspec.graph import OpNode, Ref
from archspec.ops.combine import Add, Concat
from archspec.ops.linear import Linear


class SplitConcat(Rewrite):
    """One linear map for each part, the bias on the first, and a sum.

    Counted op by op, with S elements in the concatenated tensor and R in the result, concat and
    product move 3 S + R; k products and their sum move S + 2 k R + R.
    """

    name: ClassVar[str] = "split-concat"
    about: ClassVar[str] = "replace concat and linear by accumulated products of the parts"
    precondition: ClassVar[str] = (
        "the linear map along the same axis alone reads the concat, and the products of all parts "
        "together are no larger than the concatenated tensor"
    )
    rank: ClassVar[int] = 60

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for concat, op in edit.each(Concat):
            reader = edit.only_reader(Ref(concat.id))
            if reader is None or not isinstance(reader.op, Linear) or reader.op.axis != op.axis:
                continue
            if not cls._pays(concat, reader):
                continue
            edit.note(reader, f"concat and linear as {len(concat.inputs)} products and their sum")
            cls._split(edit, concat, reader, op.axis)
        return edit.done()

    @staticmethod
    def _pays(concat: OpNode, reader: OpNode) -> bool:
        products = len(concat.inputs) * reader.outputs[0].numel()
        return bool(products <= concat.outputs[0].numel())

    @staticmethod
    def _split(edit: Edit, concat: OpNode, reader: OpNode, axis: str) -> None:
        held = edit.tensors(reader)
        size = reader.outputs[0][axis]
        products, start = [], 0
        for part, (source, shape) in enumerate(
            zip(concat.inputs, concat.input_shapes, strict=True)
        ):
            weight = held["weight"].narrow(1, start, shape[axis]).clone()
            start += shape[axis]
            has_bias = part == 0 and "bias" in held
            op = Linear(out=size, axis=axis, bias=has_bias)
            weights = {"weight": weight} | ({"bias": held["bias"]} if has_bias else {})
            products.append(
                edit.add(
                    op, [source], like=reader, before=reader.id,
                    name=f"{reader.id}_{part}", weights=weights,
                )
            )  # fmt: skip
        edit.change(reader, Add(), inputs=products, weights={})
        edit.remove(concat)
