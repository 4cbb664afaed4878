"""batch_norm in eval mode is one multiply-add a channel, which a neighbour can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.diagonal import into_readers, into_source, of_op
from archspec.compile.rewrites.editing import Edit
from archspec.graph import Ref
from archspec.ops.base import Op
from archspec.ops.norm import BatchNorm


class FoldBatchNorm(Rewrite):
    """Into the product before it, else into those after it."""

    name: ClassVar[str] = "fold-batch-norm"
    about: ClassVar[str] = "multiply a batch_norm into the linear map or convolution beside it"
    precondition: ClassVar[str] = (
        "it alone reads what comes before, or every reader can take it up (a convolution that pads "
        "cannot); between them only ops that do not mix channels, such as a mean over positions"
    )
    rank: ClassVar[int] = 10
    ops: ClassVar[tuple[type[Op], ...]] = (BatchNorm,)

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, op in edit.each(Op):
            diagonal = of_op(edit, node) if isinstance(op, cls.ops) else None
            if diagonal is None:
                continue
            taker = into_source(edit, node.inputs[0], diagonal)
            taker = taker or into_readers(edit, Ref(node.id), diagonal)
            if taker is not None:
                edit.note(node, f"{op.name} into {taker}")
                edit.bypass(node)
        return edit.done()
