"""Whether this machine can hold a network, asked before it is half built."""

from __future__ import annotations

import os

from archspec.counting import BYTES
from archspec.errors import SpecError
from archspec.graph import Graph, Leaf


def check_memory(graph: Graph, *, forward: bool = False) -> None:
    """Refuse what is larger than all memory of this machine, in fp32.

    Args:
        forward: also the tensors that the largest op reads and writes for one image.

    Raises:
        SpecError: at the op that needs the most.
    """
    memory = _physical_memory()
    leaves = list(graph.walk())
    if memory is None or not leaves:
        return
    parameters = [(_parameters(leaf) * times, leaf) for leaf, times in leaves]
    _refuse("the parameters take", sum(size for size, _ in parameters), memory, parameters)
    if forward:
        tensors = [(_tensors(leaf), leaf) for leaf, _ in leaves]
        _refuse("one image takes", max(size for size, _ in tensors), memory, tensors)


def _refuse(what: str, elements: int, memory: int, parts: list[tuple[int, Leaf]]) -> None:
    if elements * BYTES <= memory:
        return
    largest = max(parts, key=lambda part: part[0])[1]
    raise SpecError(
        f"{what} {elements * BYTES / 1e9:,.0f} GB, and this machine has {memory / 1e9:,.0f} GB\n"
        f"  most at {'.'.join(largest.path)!r}",
        mark=largest.node.mark,
        hint="'archspec cost' counts without building",
    )


def _parameters(leaf: Leaf) -> int:
    return int(leaf.node.op.params(*leaf.node.input_shapes))


def _tensors(leaf: Leaf) -> int:
    return sum(int(shape.numel()) for shape in (*leaf.node.input_shapes, *leaf.node.outputs))


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None  # this system does not say
