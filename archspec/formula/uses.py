"""How a network uses each of its blocks, and which names the sizes in it depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archspec.expansion import expand
from archspec.graph import CallNode, Graph, OpNode
from archspec.shape import GRID, TOKENS
from archspec.sizes import is_number
from archspec.source import Node, is_hole
from archspec.spec import IMPLICIT, Block, Spec
from archspec.steps import Step, names_in


@dataclass(frozen=True)
class Use:
    """A block as it stands in a network."""

    graph: Graph
    spec: Spec
    """With the variables of the stage that it stands in."""
    words: Mapping[str, str]
    """Its arguments and the variables that are words: an axis, a block. Its structure is theirs."""
    is_flat_grid: bool
    """Whether its tokens are a grid's positions."""


def uses_of_blocks(spec: Spec) -> dict[str, list[Use]]:
    """The uses of each block that differ in words, each as it stands first in the network.

    A value that is left open for search counts as its first option.

    Raises:
        SpecError: the network cannot exist.
    """
    if not spec.is_network:
        return {}
    found: dict[str, list[Use]] = {}
    sizing = sizing_names(spec)
    flat: list[Any] = []

    def visit(graph: Graph, here: Spec) -> None:
        if graph.kind == "block":
            known = found.setdefault(graph.name, [])
            words = _words(graph, here, sizing[graph.name])
            if all(use.words != words for use in known):
                tokens = graph.inputs[0].get(TOKENS)
                known.append(Use(graph, here, words, tokens is not None and tokens in flat))
        for node in graph.nodes:
            if isinstance(node, OpNode):
                if node.op.name == "flatten" and set(GRID) == set(getattr(node.op, "axes", ())):
                    flat.append(node.outputs[0].get(TOKENS))
            elif isinstance(node, CallNode):
                visit(node.graph, here)
            else:
                for body in node.bodies:
                    visit(body, here)

    stages = {stage.name: stage for stage in spec.stages}
    for node in expand(_closed(spec)).nodes:
        if isinstance(node, CallNode):
            stage = stages.get(node.id)
            visit(node.graph, _with_variables(spec, stage.vars if stage else {}))
    return found


def _words(graph: Graph, spec: Spec, sizing: set[str]) -> dict[str, str]:
    block = spec.blocks[graph.name]
    words = {
        name: node.value
        for name, node in spec.vars.items()
        if name in sizing and _is_word(node.value, spec, block)
    }
    for name in block.head.arguments:
        value = graph.arguments.get(name)
        default = block.defaults[name].value
        if isinstance(value, str):
            words[name] = value
        elif value is None and _is_word(default, spec, block):
            words[name] = default
    return words


def _is_word(value: object, spec: Spec, block: Block) -> bool:
    """Whether a value is a word that means itself, and no expression."""
    if not isinstance(value, str) or not value.isidentifier():
        return False
    return value not in {*IMPLICIT, *spec.vars, *block.head.arguments}


def _closed(spec: Spec) -> Spec:
    """The spec with its first option in every hole."""
    while spec.holes:
        hole = spec.holes[0]
        spec = Spec(spec.tree.replaced(hole.path, _first_option(hole.node)), spec.file)
    return spec


def _first_option(hole: Node) -> Node:
    (options,) = (hole.value[key] for key in ("choice", "int", "float") if key in hole.value)
    first: Node = options.value[0]
    return first


def _with_variables(spec: Spec, nodes: Mapping[str, Node]) -> Spec:
    tree = spec.tree
    for name, node in nodes.items():
        tree = tree.replaced(("vars", name), node)
    for name, node in {**spec.vars, **nodes}.items():
        for path, hole in _number_holes(node, ("vars", name)):
            tree = tree.replaced(path, _first_option(hole))
    return spec if tree is spec.tree else Spec(tree, spec.file)


def _number_holes(node: Node, path: tuple[str | int, ...]) -> list[tuple[Any, Node]]:
    """Holes that numbers will fill: formulas put symbols there, so any number will do."""
    if is_hole(node):
        return [(path, node)] if is_number(_first_option(node).value) else []
    if isinstance(node.value, tuple):
        entries = enumerate(node.value)
        return [hole for i, child in entries for hole in _number_holes(child, (*path, i))]
    return []


def numbers_of(variables: Mapping[str, Node]) -> dict[str, Any]:
    """The variables that are numbers, and the entries of lists: `alpha`, `depths[0]`."""
    found: dict[str, Any] = {}
    for name, node in variables.items():
        items = node.value if isinstance(node.value, tuple) else None
        entries = {f"{name}[{i}]": item for i, item in enumerate(items)} if items else {name: node}
        found |= {key: entry.value for key, entry in entries.items() if is_number(entry.value)}
    return found


def sizing_names(spec: Spec) -> dict[str, set[str]]:
    """For each block, the names (arguments, variables) that the sizes in it depend on.

    Fields that are plain reals, such as the rate of `dropout`, are no sizes.
    """
    found: dict[str, set[str]] = {name: set() for name in spec.blocks}
    grows = True
    while grows:  # a block inherits from those it calls
        grows = False
        for block in spec.blocks.values():
            names = found[block.name] | set(_steps_names(spec, block.body, found))
            for name in tuple(names):
                if name in block.head.arguments:
                    names |= set(names_in(block.defaults[name]))
                elif name in spec.vars:
                    names |= set(names_in(spec.vars[name]))
            grows |= names != found[block.name]
            found[block.name] = names
    return found


def _steps_names(
    spec: Spec, steps: tuple[Step, ...], found: Mapping[str, set[str]]
) -> Iterator[str]:
    for step in steps:
        called: list[Block] = []
        args = step.args
        if step.kind == "op":
            fields = step.op.model_fields
            args = {key: node for key, node in args.items() if fields[key].annotation is not float}
        elif step.kind == "block":
            called = [spec.blocks[step.name]]
            args = {key: node for key, node in args.items() if key in found[step.name]}
        elif step.kind == "use":
            called = list(spec.blocks.values())  # any may be meant
        for node in args.values():
            yield from names_in(node)
        for block in called:
            yield from found[block.name] - set(block.head.arguments)
        for body in step.bodies:
            yield from _steps_names(spec, body, found)
