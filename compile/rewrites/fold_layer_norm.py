"""The weight and bias of a layer_norm or group_norm, multiplied into the next linear map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.diagonal import into_readers, of_norm
from archspec.compile.rewrites.editing import Edit
from archspec.graph import Ref
from archspec.ops.base import Op


class FoldLayerNorm(Rewrite):
    """The norm stays, `affine: false`; its statistics come from each image."""

    name: ClassVar[str] = "fold-layer-norm"
    about: ClassVar[str] = (
        "multiply the weight and bias of a layer_norm or group_norm into the next linear map"
    )
    precondition: ClassVar[str] = (
        "everything that reads the norm is a linear map along its axis or a convolution (that pads "
        "only where the norm has no bias), or leads to one through ops that do not mix that axis"
    )
    rank: ClassVar[int] = 20

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, op in edit.each(Op):
            diagonal = of_norm(edit, node)
            if diagonal is None:
                continue
            taker = into_readers(edit, Ref(node.id), diagonal)
            if taker is not None:
                edit.note(node, f"weight and bias of {op.name} into {taker}")
                edit.change(node, op.model_copy(update={"affine": False}), weights={})
        return edit.done()
