"""Two linear maps along one axis with nothing between them, as their product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.diagonal import plus
from archspec.compile.rewrites.editing import Edit
from archspec.graph import Ref
from archspec.ops.linear import Linear


class ComposeLinears(Rewrite):
    """W₂(W₁x + b₁) + b₂ = (W₂W₁)x + (W₂b₁ + b₂), unless the middle is a bottleneck.

    The intermediate tensor is never made; from `in` to `out` by way of `mid` sizes, the weights
    are in · out instead of (in + out) · mid, and so are the FLOPs at each other position.
    """

    name: ClassVar[str] = "compose-linears"
    about: ClassVar[str] = "multiply consecutive linear maps along one axis into one"
    precondition: ClassVar[str] = (
        "the second alone reads the first, and in · out ≤ (in + out) · mid: no more FLOPs, and no "
        "more weights"
    )
    rank: ClassVar[int] = 50

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for first, op in edit.each(Linear):
            second, axis = edit.only_reader(Ref(first.id)), op.axis
            if second is None or not isinstance(second.op, Linear) or second.op.axis != axis:
                continue
            shapes = first.input_shapes[0], second.input_shapes[0], second.outputs[0]
            before, mid, after = (shape[axis] for shape in shapes)
            both = Linear(out=after, axis=axis, bias=op.bias or second.op.bias)
            held = op.params(shapes[0]) + second.op.params(shapes[1])
            if before * after > (before + after) * mid or both.params(shapes[0]) > held:
                continue
            w1, w2 = edit.tensors(first), edit.tensors(second)
            moved = w2["weight"] @ w1["bias"] if "bias" in w1 else None
            bias = plus(moved, w2.get("bias"))
            edit.note(second, "two linear maps in one")
            weights = {"weight": w2["weight"] @ w1["weight"]}
            edit.change(
                second, both, inputs=first.inputs,
                weights=weights | ({} if bias is None else {"bias": bias}),
            )  # fmt: skip
            edit.remove(first)
        return edit.done()
