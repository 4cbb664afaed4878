"""The walk from steps to nodes: one method for each kind of step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from archspec.errors import LISTED, Mark, ShapeError, SpecError, brief, did_you_mean
from archspec.files import unique
from archspec.graph import INPUT, CallNode, Graph, Node, OpNode, Ref, RepeatNode
from archspec.ops import registry
from archspec.scope import Scope, UnfilledError, Variables, evaluate, make_op
from archspec.shape import Shape
from archspec.sizes import describe, is_array, is_symbol, require, show, whole
from archspec.source import Node as Yaml
from archspec.spec import Block, Spec, StageSteps
from archspec.steps import Step

MAX_STEPS = 50_000
"""Steps that are expanded, repeated layers counted once."""
MAX_NESTING = 60
"""How deep blocks, layers and residuals may stand in one another."""
MAX_REPEAT = 10_000
MAX_ELEMENTS = 1 << 40


@dataclass(frozen=True)
class Tensor:
    """A tensor while expanding: which output it is, and its shape."""

    ref: Ref
    shape: Shape


@dataclass
class Body:
    """A graph under construction."""

    nodes: list[Node] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def id_for(self, wanted: str) -> str:
        """`wanted`, or `wanted_2`, … when something is called so already."""
        return unique(wanted, self.taken)

    def add(self, node: Node) -> tuple[Tensor, ...]:
        self.nodes.append(node)
        return tuple(Tensor(Ref(node.id, i), shape) for i, shape in enumerate(node.outputs))


def x0(shape: Shape) -> Tensor:
    """The first input of a graph."""
    return Tensor(Ref(INPUT), shape)


def size_hint(step: Step) -> str | None:
    """For the commonest slip: `out: C` after C has become another size."""
    letters = [letter for letter in "CHWN" if step.uses(letter)]
    if not letters:
        return None
    return (
        f"{', '.join(letters)} in an expression: the size that the step itself reads. "
        "To come back to a block's own size, catch it in 'args', such as {size: C}"
    )


def check_size(shape: Shape) -> None:
    total = shape.numel()
    if not is_symbol(total) and not require(total <= MAX_ELEMENTS):
        found = f"{total:,}" if isinstance(total, int) else show(total)
        raise ShapeError(
            f"a tensor of {shape} would have {found} elements; at most {MAX_ELEMENTS:,} are allowed"
        )


class Expander:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.variables = Variables(spec.vars, {"classes": spec.classes})
        self.done = 0
        self.depth = 0
        self.calls: list[str] = []
        self.path: list[str] = []

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Remember for messages in which part of the network we are."""
        self.path.append(name)
        try:
            yield
        finally:
            self.path.pop()

    # -- the network's parts ---------------------------------------------------------------------

    def section(self, name: str, steps: tuple[Step, ...], x: Tensor, into: Body) -> Tensor:
        inner = Body()
        with self.inside(name):
            result = self.steps(steps, x0(x.shape), Scope(self.variables, {}), inner, {})
        graph = Graph(name, "stage", (x.shape,), tuple(inner.nodes), result.ref)
        return into.add(CallNode(name, graph, (x.ref,)))[0]

    def stage(self, stage: StageSteps, x: Tensor, into: Body) -> Tensor:
        scope = Scope(self.variables.override(stage.vars), {})
        inner = Body()
        result = x0(x.shape)
        with self.inside(stage.name):
            if stage.enter:
                result = self.steps(stage.enter, result, scope, inner, {})
            if stage.body:
                result = self.repeat("layers", stage.repeat, stage.body, result, scope, inner)
        graph = Graph(stage.name, "stage", (x.shape,), tuple(inner.nodes), result.ref)
        return into.add(CallNode(stage.name, graph, (x.ref,)))[0]

    # -- bodies ----------------------------------------------------------------------------------

    def steps(
        self,
        steps: tuple[Step, ...],
        x: Tensor,
        scope: Scope,
        into: Body,
        names: Mapping[str, Tensor],
    ) -> Tensor:
        """Add the steps of a body to `into`; `names` are the tensors that they may read by name."""
        if self.depth == MAX_NESTING:
            raise SpecError(f"blocks and layers stand more than {MAX_NESTING} deep in one another")
        self.depth += 1
        named = {**names, INPUT: x}
        for step in steps:
            sources = (x,) if step.sources is None else tuple(named[s] for s in step.sources)
            try:
                outputs = self.step(step, sources, scope, into, named)
            except SpecError as error:
                raise error.at(step.mark) from None
            if len(step.ids) not in (0, len(outputs)):
                raise SpecError(
                    f"'{step.name}' has {len(outputs)} outputs, found {len(step.ids)} ids",
                    mark=step.mark,
                )
            named |= {str(key): out for key, out in zip(step.ids, outputs, strict=False)}
            x = outputs[0]
        self.depth -= 1
        return x

    def step(
        self,
        step: Step,
        sources: tuple[Tensor, ...],
        scope: Scope,
        into: Body,
        named: Mapping[str, Tensor],
    ) -> tuple[Tensor, ...]:
        self.done += 1
        if self.done > MAX_STEPS:
            raise SpecError(f"the network has more than {MAX_STEPS:,} different steps")
        if step.kind == "op":
            return self.op(step, sources, scope, into)
        if step.kind == "block":
            return (self.call(step, self.spec.blocks[step.name], sources, scope, into),)
        if step.kind == "use":
            return (self.use(step, sources, scope, into),)
        if step.kind == "choice":
            raise UnfilledError("this step has no value yet", mark=step.mark)
        if len(sources) != 1:
            raise SpecError(f"'{step.name}' reads one tensor, found {len(sources)}")
        (x,) = sources
        if step.kind == "residual":
            return (self.residual(step, x, scope, into, named),)
        if step.kind == "repeat":
            times, wanted = step.args["times"], str(step.ids[0]) if step.ids else "repeat"
            return (self.repeat(wanted, times, step.bodies[0], x, scope, into),)
        return (self.branch(step, x, scope, into, named),)

    def op(
        self, step: Step, sources: tuple[Tensor, ...], scope: Scope, into: Body
    ) -> tuple[Tensor, ...]:
        cls = registry()[step.name]
        fewest, most = cls.inputs
        if len(sources) < fewest or (most is not None and len(sources) > most):
            wanted = f"{fewest}" if fewest == most else f"at least {fewest}"
            raise SpecError(
                f"'{step.name}' joins {wanted} tensors, found {len(sources)}"
                if fewest > 1
                else f"'{step.name}' reads one tensor, found {len(sources)}",
                hint="name them: from: [a, b]" if fewest > 1 else None,
            )
        shapes = tuple(source.shape for source in sources)
        op = make_op(cls, step.args, scope.with_local(shapes[0].names()))
        ids = tuple(map(str, step.ids))
        wanted, several = (ids[0], ()) if len(ids) == 1 else (step.name, ids)
        return self.place(op, wanted, sources, step.mark, into, several)

    def place(
        self,
        op: Any,
        wanted: str,
        sources: tuple[Tensor, ...],
        mark: Mark,
        into: Body,
        names: tuple[str, ...] = (),
    ) -> tuple[Tensor, ...]:
        shapes = tuple(source.shape for source in sources)
        try:
            result = op.infer(*shapes)
        except SpecError as error:
            read = " and ".join(f"{s.ref.node!r} ({s.shape})" for s in sources[:LISTED])
            place = ".".join((*self.path, wanted))
            text = f"{error.message}\n  at {place!r}, which reads {read}"
            raise ShapeError(text, mark=error.mark, hint=error.hint) from None
        outputs = result if isinstance(result, tuple) else (result,)
        for shape in outputs:
            check_size(shape)
        refs = tuple(source.ref for source in sources)
        return into.add(OpNode(into.id_for(wanted), op, refs, shapes, outputs, mark, names))

    def residual(
        self, step: Step, x: Tensor, scope: Scope, into: Body, named: Mapping[str, Tensor]
    ) -> Tensor:
        outer = {name: t for name, t in named.items() if name != INPUT}
        result = self.steps(step.bodies[0], x, scope, into, outer)
        if result.shape != x.shape:
            raise ShapeError(
                f"a residual's body must keep the shape: it turns {x.shape} into {result.shape}"
                f"\n  at {'.'.join((*self.path, 'residual'))!r}",
                mark=step.mark,
                hint=size_hint(step),
            )
        add = registry()["add"]()
        wanted = str(step.ids[0]) if step.ids else "residual"
        return self.place(add, wanted, (x, result), step.mark, into)[0]

    def branch(
        self, step: Step, x: Tensor, scope: Scope, into: Body, named: Mapping[str, Tensor]
    ) -> Tensor:
        local = scope.with_local(x.shape.names())
        condition = evaluate(step.args["condition"], local, label="'if' condition")
        if not isinstance(condition, bool):
            raise SpecError(
                f"'if' condition must be true or false, found {describe(condition)}",
                mark=step.args["condition"].mark,
            )
        if condition or len(step.bodies) == 2:
            outer = {name: t for name, t in named.items() if name != INPUT}
            return self.steps(step.bodies[0 if condition else 1], x, scope, into, outer)
        return x

    def repeat(
        self, wanted: str, times: Yaml, body: tuple[Step, ...], x: Tensor, scope: Scope, into: Body
    ) -> Tensor:
        local = scope.with_local(x.shape.names())
        count = whole(evaluate(times, local, label=f"{wanted}: how often to repeat"))
        varies = is_array(count) or is_symbol(count)
        if not varies and (isinstance(count, bool) or not isinstance(count, int)):
            raise SpecError(
                f"how often to repeat must be a whole number, found {describe(count)}",
                mark=times.mark,
            )
        if not is_symbol(count) and not require((count >= 0) & (count <= MAX_REPEAT)):
            raise SpecError(
                f"how often to repeat must be from 0 to {MAX_REPEAT:,}, found {show(count)}",
                mark=times.mark,
            )
        if not varies and count == 0:
            return x
        if not any(step.uses("index") for step in body):
            graph = self.layer(wanted, body, x.shape, scope)
            if graph.output_shape != x.shape and (varies or count > 1):
                raise ShapeError(
                    f"a repeated body must keep the shape: it turns {x.shape} into "
                    f"{graph.output_shape}\n  at {'.'.join((*self.path, wanted))!r}",
                    mark=body[0].mark,
                )
            node = RepeatNode(into.id_for(wanted), count, (graph,), (x.ref,))
            return into.add(node)[0]
        if varies:
            raise SpecError(
                "a body that uses 'index' cannot be repeated a varying number of times",
                mark=times.mark,
            )
        graphs, shape = [], x.shape
        for index in range(count):
            graphs.append(self.layer(wanted, body, shape, scope.with_local({"index": index})))
            shape = graphs[-1].output_shape
        return into.add(RepeatNode(into.id_for(wanted), count, tuple(graphs), (x.ref,)))[0]

    def layer(self, name: str, body: tuple[Step, ...], shape: Shape, scope: Scope) -> Graph:
        """One repetition. A body that is a single block is that block, without a wrapper."""
        inner = Body()
        with self.inside(name):
            result = self.steps(body, x0(shape), scope, inner, {})
        if len(inner.nodes) == 1 and isinstance(inner.nodes[0], CallNode):
            return inner.nodes[0].graph
        return Graph(name, "layer", (shape,), tuple(inner.nodes), result.ref)

    # -- blocks ----------------------------------------------------------------------------------

    def use(self, step: Step, sources: tuple[Tensor, ...], scope: Scope, into: Body) -> Tensor:
        node = step.args["block"]
        name = evaluate(node, scope, word=True, label="'use' block")
        if not isinstance(name, str) or name not in self.spec.blocks:
            raise SpecError(
                f"'use' needs the name of a block, found {describe(name)}", mark=scope.origin(node),
                hint=did_you_mean(str(name), self.spec.blocks),
            )  # fmt: skip
        block = self.spec.blocks[name]
        for key, value in step.args.items():
            if key != "block" and key not in block.head.arguments:
                raise SpecError(
                    f"block {name!r} has no argument {brief(key)}", mark=value.mark,
                    hint=did_you_mean(key, block.head.arguments)
                    if block.head.arguments
                    else "it takes none",
                )  # fmt: skip
        args = {key: value for key, value in step.args.items() if key != "block"}
        chosen = Step("block", name, step.mark, args, step.ids, step.sources)
        return self.call(chosen, block, sources, scope, into)

    def call(
        self, step: Step, block: Block, sources: tuple[Tensor, ...], scope: Scope, into: Body
    ) -> Tensor:
        if len(sources) != len(block.head.inputs):
            wanted = ", ".join(block.head.inputs)
            raise SpecError(
                f"block {block.name!r} reads {len(block.head.inputs)} tensors ({wanted}), "
                f"found {len(sources)}"
            )
        shapes = tuple(source.shape for source in sources)
        given = scope.with_local(shapes[0].names())
        values = {
            name: evaluate(node, given, word=True, label=f"'{block.name}' {name}")
            for name, node in step.args.items()
        }
        if block.name in self.calls:
            raise SpecError(f"a block calls itself: {' → '.join((*self.calls, block.name))}")
        self.calls.append(block.name)
        wanted_id = str(step.ids[0]) if step.ids else block.name
        with self.inside(wanted_id):
            graph = self.block(block, values, shapes, scope.variables)
        self.calls.pop()
        node = CallNode(into.id_for(wanted_id), graph, tuple(source.ref for source in sources))
        return into.add(node)[0]

    def block(
        self,
        block: Block,
        values: dict[str, Any],
        shapes: tuple[Shape, ...],
        variables: Variables,
    ) -> Graph:
        local = shapes[0].names()
        given = dict(values)
        for name in block.head.arguments:
            if name not in values:
                node = block.defaults[name]
                values[name] = evaluate(
                    node, Scope(variables, {**local, **values}), word=True,
                    label=f"'{block.name}' {name}",
                )  # fmt: skip
        inner = Body()
        tensors = {
            name: Tensor(Ref(INPUT, port), shape)
            for port, (name, shape) in enumerate(zip(block.head.inputs, shapes, strict=True))
        }
        first = tensors[block.head.inputs[0]]
        result = self.steps(block.body, first, Scope(variables, values), inner, tensors)
        return Graph(block.name, "block", shapes, tuple(inner.nodes), result.ref, given)
