"""Linear maps that read the same tensor, as one map whose output is split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.editing import Edit
from archspec.graph import OpNode, Ref
from archspec.ops.combine import Split
from archspec.ops.linear import Linear


class MergeLinears(Rewrite):
    """Their input is read once instead of once each; the parts are views, which cost nothing."""

    name: ClassVar[str] = "merge-linears"
    about: ClassVar[str] = "do linear maps that share an input in one product, and split it"
    precondition: ClassVar[str] = (
        "they read the same tensor and map the same axis, and biases of zeros for those without "
        "are no larger than what is not read again"
    )
    rank: ClassVar[int] = 80

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        groups: dict[tuple[Ref, str], list[OpNode]] = {}
        for node, op in edit.each(Linear):
            groups.setdefault((node.inputs[0], op.axis), []).append(node)
        for (_, axis), linears in groups.items():
            if len(linears) > 1 and cls._pays(linears, axis):
                edit.note(linears[0], f"{len(linears)} linear maps of one tensor in one")
                merge(edit, [edit.now(linear) for linear in linears])
        return edit.done()

    @staticmethod
    def _pays(linears: Sequence[OpNode], axis: str) -> bool:
        bare = [linear.outputs[0][axis] for linear in linears if not is_biased(linear)]
        zeros = sum(bare) if len(bare) < len(linears) else 0
        return bool(zeros <= (len(linears) - 1) * linears[0].input_shapes[0].numel())


def is_biased(node: OpNode) -> bool:
    """Whether a node is a linear map with a bias."""
    return isinstance(node.op, Linear) and node.op.bias


def merge(edit: Edit, linears: Sequence[OpNode]) -> None:
    """One product for linear maps along one axis of one tensor, given in their order."""
    first = linears[0]
    assert isinstance(first.op, Linear)
    axis = first.op.axis
    outputs = [output for linear in linears for output in _outputs(edit, linear, axis)]
    sizes = tuple(edit.shape(output)[axis] for output in outputs)
    held = [edit.tensors(linear) for linear in linears]
    weights = {"weight": torch.cat([each["weight"] for each in held])}
    has_bias = any("bias" in each for each in held)
    if has_bias:
        zeros = [each["weight"].new_zeros(len(each["weight"])) for each in held]
        biases = [each.get("bias", zero) for each, zero in zip(held, zeros, strict=True)]
        weights["bias"] = torch.cat(biases)
    merged = edit.add(
        Linear(out=sum(sizes), axis=axis, bias=has_bias), first.inputs,
        like=first, before=first.id, name=f"{first.id}_merged", weights=weights,
    )  # fmt: skip
    split = edit.add(
        Split(sizes=sizes, axis=axis), [merged],
        like=first, before=first.id, name=f"{first.id}_parts",
    )  # fmt: skip
    for port, output in enumerate(outputs):
        edit.redirect(output, Ref(split.node, port))
    for node in dict.fromkeys([output.node for output in outputs] + [n.id for n in linears]):
        edit.remove(edit.node(Ref(node)))


def _outputs(edit: Edit, linear: OpNode, axis: str) -> list[Ref]:
    """Its output; or those of a split that cuts it, so that no split cuts a split's part."""
    reader = edit.only_reader(Ref(linear.id))
    if reader is None or not isinstance(reader.op, Split) or reader.op.axis != axis:
        return [Ref(linear.id)]
    return [Ref(reader.id, port) for port in range(len(reader.outputs))]
