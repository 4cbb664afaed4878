"""What does nothing in eval mode: dropout, stochastic depth, identities of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.editing import Edit
from archspec.graph import OpNode, Ref
from archspec.ops.base import Op
from archspec.ops.combine import Concat, Split
from archspec.ops.layout import Identity, Rename, Shift
from archspec.ops.part import Pad, Slice
from archspec.ops.regularise import Dropout, StochasticDepth


class DropIdentities(Rewrite):
    """Whoever reads such an op reads its input instead."""

    name: ClassVar[str] = "drop-identities"
    about: ClassVar[str] = "leave out what does nothing in eval mode"
    precondition: ClassVar[str] = (
        "identity, dropout, stochastic_depth; shift and pad by 0, slice of the whole, rename to "
        "the same names; concat of all that one split made, in its order"
    )
    rank: ClassVar[int] = 0

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, op in edit.each(Op):
            if _does_nothing(node):
                edit.note(node, f"{op.name} left out")
                edit.bypass(node)
            elif (split := _undone(edit, node)) is not None:
                edit.note(node, "concat of what a split made left out")
                edit.redirect(Ref(node.id), split.inputs[0])
                edit.remove(node)
                if not any(map(edit.is_read, node.inputs)):
                    edit.remove(split)
        return edit.done()


def _does_nothing(node: OpNode) -> bool:
    match node.op:
        case Identity() | Dropout() | StochasticDepth():
            return True
        case Rename(axes=axes):
            return all(old == new for old, new in axes.items())
        case Shift(by=by):
            return not any(by if isinstance(by, tuple) else (by,))
        case Pad(before=before, after=after):
            return bool(before == after == 0)
        case Slice():
            return node.outputs[0].same(node.input_shapes[0])
        case _:
            return False


def _undone(edit: Edit, node: OpNode) -> OpNode | None:
    """The split that a concat undoes."""
    split = edit.get(node.inputs[0].node) if node.inputs else None
    if not isinstance(node.op, Concat) or split is None or not isinstance(split.op, Split):
        return None
    parts = tuple(Ref(split.id, port) for port in range(len(split.outputs)))
    return split if node.inputs == parts and node.op.axis == split.op.axis else None
