"""A batch_norm that no product can take up, as one multiply-add with its numbers worked out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.diagonal import of_op, set_diagonal
from archspec.compile.rewrites.editing import Edit
from archspec.ops.norm import BatchNorm


class BatchNormToAffine(Rewrite):
    """weight / √(variance + eps) and the bias to match, computed once."""

    name: ClassVar[str] = "batch-norm-to-affine"
    about: ClassVar[str] = "work the running statistics of a batch_norm into one multiply-add"
    precondition: ClassVar[str] = "always: statistics are constants in eval mode"
    rank: ClassVar[int] = 40

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, _ in edit.each(BatchNorm):
            diagonal = of_op(edit, node)
            assert diagonal is not None
            edit.note(node, "batch_norm as affine")
            set_diagonal(edit, node, diagonal)
        return edit.done()
