"""From a spec to the shaped graph: names, blocks and sizes resolved in one walk.

Sizes flow forward from the input, because an expression may use the current tensor's C, H, W
and N. Each body is walked once per distinct use; a repeated layer is expanded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archspec.errors import ShapeError, SpecError, did_you_mean
from archspec.expander import Body, Expander, Tensor, check_size
from archspec.graph import INPUT, Graph, Ref
from archspec.scope import UnfilledError
from archspec.shape import CHANNELS, Shape
from archspec.sizes import equal, is_symbol, require, show
from archspec.spec import Spec

MAX_OPS = 200_000
"""In the whole network, repeated layers counted as often as they stand there."""


def expand(spec: Spec, *, entering: Callable[[str], None] | None = None) -> Graph:
    """The network that a spec describes.

    Args:
        entering: called with the name of each part (`stem`, a stage, `head`) before it is walked.

    Raises:
        SpecError: with the place, for holes, unknown names, sizes that are not whole or absurd.
        ShapeError: with the place and the shapes, where tensors do not meet.
    """
    if not spec.is_network:
        raise SpecError(
            f"{spec.name} holds blocks only; a network needs a stem, stages or a head",
            mark=spec.tree.mark,
        )
    try:
        return _network(spec, entering or (lambda part: None))
    except UnfilledError as error:
        name = next((str(h.name) for h in spec.holes if h.node.mark == error.mark), None)
        raise UnfilledError(
            f"{name} is left open for search and has no value yet" if name else error.message,
            mark=error.mark,
            hint=f"give it one: --set {name or 'NAME'}=…",
        ) from None


def _network(spec: Spec, entering: Callable[[str], None]) -> Graph:
    expander = Expander(spec)
    try:
        check_size(spec.input)
    except ShapeError as error:
        raise error.at((spec.tree.find(("input",)) or spec.tree).mark) from None
    body = Body(taken={"stem", "head", *(stage.name for stage in spec.stages)})
    tensor = Tensor(Ref(INPUT), spec.input)
    if spec.stem:
        entering("stem")
        tensor = expander.section("stem", spec.stem, tensor, body)
    for stage in spec.stages:
        entering(stage.name)
        tensor = expander.stage(stage, tensor, body)
    if spec.head:
        entering("head")
        tensor = expander.section("head", spec.head, tensor, body)
        check_logits(spec, tensor.shape)
    graph = Graph(spec.name, "network", (spec.input,), tuple(body.nodes), tensor.ref)
    _check_count(spec, graph)
    spec.check_variables()  # last: a misspelt use has the better message
    return graph


def expand_block(
    spec: Spec, name: str, inputs: tuple[Shape, ...], arguments: Mapping[str, Any] | None = None
) -> Graph:
    """One block of a spec on its own, for inputs of the given shapes (sizes or symbols)."""
    if name not in spec.blocks:
        raise SpecError(f"{spec.name} has no block {name!r}", hint=did_you_mean(name, spec.blocks))
    expander = Expander(spec)
    block = spec.blocks[name]
    return expander.block(block, dict(arguments or {}), inputs, expander.variables)


def check_logits(spec: Spec, shape: Shape) -> None:
    if set(shape) != {CHANNELS} or not equal(shape[CHANNELS], spec.classes):
        raise ShapeError(
            f"the head must end in one value per class (C{spec.classes}), found {shape}",
            mark=spec.head[-1].mark,
            hint="end it with 'global_pool' and '{linear: {out: classes}}'",
        )


def _check_count(spec: Spec, graph: Graph) -> None:
    """Refuse layers that repeat layers that repeat layers beyond all measure."""
    total: Any = sum(times for _, times in graph.walk())
    if not is_symbol(total) and not require(total <= MAX_OPS):
        found = f"{total:,}" if isinstance(total, int) else show(total)
        raise SpecError(
            f"the network has {found} ops, counting repeated layers; "
            f"at most {MAX_OPS:,} are allowed",
            mark=spec.tree.mark,
        )
