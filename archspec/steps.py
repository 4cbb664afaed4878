"""The body of a block as it was written: steps, checked for words, names and wiring.

Nothing here knows a size. What can be wrong about a body on its own (an unknown op or key, an
edge from nowhere, a node that nobody uses) is found here, whether or not a network uses it.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from archspec import expr
from archspec.errors import Mark, SpecError, brief, did_you_mean
from archspec.graph import INPUT
from archspec.ops import Op, registry
from archspec.source import HOLE_KEYS, Key, Node, is_hole

CONTROL = ("residual", "repeat", "if", "use")
"""Steps that are not ops: they arrange other steps."""

MAX_NAME = 60
"""How many characters a name may have."""

# Attributes of torch.nn.Module: a submodule of that name would break it. Kept by a test.
RESERVED = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu
    cuda double dump_patches eval extra_repr float forward get_buffer get_extra_state
    get_parameter get_submodule half ipu load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type xpu zero_grad graph code print_readable recompile add_submodule
    delete_submodule delete_all_unused_submodules meta shape_env to_folder self
    torch nn F math operator
    """.split()
)


@dataclass(frozen=True)
class BlockHead:
    """What a caller must know of a block: its inputs and its arguments."""

    inputs: tuple[str, ...]
    arguments: tuple[str, ...]
    required: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One line of a body.

    `sources` are the names after `from:`; None means the output of the step before.
    """

    kind: Literal["op", "block", "residual", "repeat", "if", "use", "choice"]
    name: str
    mark: Mark
    args: Mapping[str, Node] = field(default_factory=dict)
    ids: tuple[Key, ...] = ()
    sources: tuple[Key, ...] | None = None
    bodies: tuple[tuple[Step, ...], ...] = ()

    @property
    def op(self) -> type[Op]:
        return registry()[self.name]

    def uses(self, name: str) -> bool:
        """Whether an expression in this step, or in the steps inside it, names `name`."""
        return any(name in names_in(node) for node in self.args.values()) or any(
            step.uses(name) for body in self.bodies for step in body
        )


def names_in(node: Node) -> Iterator[str]:
    """Every name in the expressions of a tree, words among them."""
    if isinstance(node.value, str):
        try:
            yield from expr.parse(node.value).names
        except SpecError:
            return
    for child in node.children():
        yield from names_in(child)


class Parser:
    """Reads bodies, given the heads of all blocks that they may call."""

    def __init__(self, blocks: Mapping[str, BlockHead]) -> None:
        self.blocks = blocks

    def body(
        self, node: Node, inputs: Iterable[str] = (), visible: Iterable[str] = ()
    ) -> tuple[Step, ...]:
        """Parse and check one body.

        Args:
            node: a step or a list of steps.
            inputs: names of the block's inputs, beside `input`.
            visible: names from the body around this one.
        """
        items = node.value if isinstance(node.value, tuple) else (node,)
        if not items:
            raise SpecError(
                "a body needs at least one step", mark=node.mark, hint="'identity' does nothing"
            )
        names = {INPUT, *inputs, *visible}
        later: dict[str, Mark] = {}
        for item in items:
            later |= {key: key.mark for key in _ids(item)}
        steps: list[Step] = []
        for item in items:
            step = self.step(item, names)
            _check_sources(step, names, later, items)
            for key in step.ids:
                if key in names:
                    raise SpecError(
                        f"id {str(key)!r} is already taken", mark=key.mark, hint="pick another name"
                    )
                names.add(key)
            steps.append(step)
        _check_all_used(steps, set(inputs))
        return tuple(steps)

    def step(self, node: Node, names: Iterable[str]) -> Step:
        if is_hole(node):
            return self.choice(node, names)
        if isinstance(node.value, str):
            return self.named(Key(node.value, node.mark), Node({}, node.mark), names)
        if not isinstance(node.value, dict) or len(node.value) != 1:
            found = node.kind
            if isinstance(node.value, dict) and node.value:
                keys = ", ".join(brief(str(key)) for key in list(node.value)[:6])
                found = f"a mapping with {len(node.value)} keys ({keys})"
            raise SpecError(
                f"expected one step, such as 'gelu' or '{{linear: {{out: 64}}}}', found {found}",
                mark=node.mark,
                hint="each step is a list entry of its own, starting with '- '",
            )
        ((key, value),) = node.value.items()
        return self.named(key, value, names)

    def named(self, key: Key, value: Node, names: Iterable[str]) -> Step:
        if key in CONTROL:
            return getattr(self, f"_{key}")(key, value, names)  # type: ignore[no-any-return]
        if key in self.blocks:
            return self._block(key, value)
        if key in registry():
            return self._op(key, value)
        known = [*registry(), *self.blocks, *CONTROL]
        raise SpecError(
            f"unknown op or block {brief(str(key))}", mark=key.mark, hint=did_you_mean(key, known)
        )

    def choice(self, node: Node, names: Iterable[str]) -> Step:
        """A step left open for search: every option is checked now."""
        options = node.value.get("choice")
        if options is None or not isinstance(options.value, tuple):
            raise SpecError(
                "a step can only be left open as {choice: [step, step, …]}", mark=node.mark
            )
        bodies = tuple(self.body(option, visible=names) for option in options.value)
        return Step("choice", "choice", node.mark, bodies=bodies)

    def _op(self, key: Key, value: Node) -> Step:
        op = registry()[key]
        args, ids, sources = _split(value, op.shorthand, str(key), frozenset(op.model_fields))
        return Step("op", str(key), key.mark, args, ids, sources)

    def _block(self, key: Key, value: Node) -> Step:
        head = self.blocks[key]
        only = head.arguments[0] if len(head.arguments) == 1 else None
        args, ids, sources = _split(value, only, str(key), frozenset(head.arguments))
        for name in head.required:
            if name not in args:
                raise SpecError(f"block {str(key)!r} needs argument {name!r}", mark=key.mark)
        return Step("block", str(key), key.mark, args, ids, sources)

    def _use(self, key: Key, value: Node, names: Iterable[str]) -> Step:
        """A block that a variable or a hole names; its arguments are checked when it is known."""
        args, ids, sources = _split(value, "block", "use", None)
        if "block" not in args:
            raise SpecError("'use' needs 'block'", mark=key.mark, hint="- use: {block: mixer}")
        return Step("use", "use", key.mark, args, ids, sources)

    def _residual(self, key: Key, value: Node, names: Iterable[str]) -> Step:
        if isinstance(value.value, dict) and (not value.value or {"id", "from"} & {*value.value}):
            if "body" not in value.value:
                raise SpecError(
                    "'residual' needs 'body'", mark=key.mark, hint="- residual: [norm, mixer]"
                )
        elif not isinstance(value.value, dict) or "body" not in value.value:
            value = Node({Key("body", value.mark): value}, value.mark)
        args, ids, sources = _split(value, None, "residual", frozenset({"body"}))
        body = self.body(args["body"], visible=[n for n in names if n != INPUT])
        return Step("residual", "residual", key.mark, {}, ids, sources, (body,))

    def _repeat(self, key: Key, value: Node, names: Iterable[str]) -> Step:
        args, ids, sources = _split(value, None, "repeat", frozenset({"times", "body"}))
        for needed in ("times", "body"):
            if needed not in args:
                raise SpecError(
                    f"'repeat' needs {needed!r}", mark=key.mark,
                    hint="- repeat: {times: 4, body: [layer]}",
                )  # fmt: skip
        body = self.body(args["body"])
        return Step("repeat", "repeat", key.mark, {"times": args["times"]}, ids, sources, (body,))

    def _if(self, key: Key, value: Node, names: Iterable[str]) -> Step:
        args, ids, sources = _split(value, None, "if", frozenset({"condition", "then", "else"}))
        for needed in ("condition", "then"):
            if needed not in args:
                raise SpecError(
                    f"'if' needs {needed!r}", mark=key.mark,
                    hint="- if: {condition: stride > 1, then: […], else: […]}",
                )  # fmt: skip
        visible = [n for n in names if n != INPUT]
        bodies = [self.body(args["then"], visible=visible)]
        if "else" in args:
            bodies.append(self.body(args["else"], visible=visible))
        condition = {"condition": args["condition"]}
        return Step("if", "if", key.mark, condition, ids, sources, tuple(bodies))


def _ids(node: Node) -> tuple[Key, ...]:
    """The ids that a step declares, without checking anything else about it."""
    if not isinstance(node.value, dict) or len(node.value) != 1:
        return ()
    ((_, value),) = node.value.items()
    if not isinstance(value.value, dict) or "id" not in value.value:
        return ()
    return _words(value.value["id"])


def _words(node: Node) -> tuple[Key, ...]:
    items = node.value if isinstance(node.value, tuple) else (node,)
    return tuple(Key(item.value, item.mark) for item in items if isinstance(item.value, str))


def _split(
    value: Node, shorthand: str | None, who: str, known: frozenset[str] | None
) -> tuple[dict[str, Node], tuple[Key, ...], tuple[Key, ...] | None]:
    """A step's arguments, its ids and its sources; `known` None takes any argument."""
    if value.value is None:
        return {}, (), None
    if not isinstance(value.value, dict) or is_hole(value):
        if shorthand is None:
            raise SpecError(
                f"'{who}' takes named arguments, found {value.kind}", mark=value.mark,
                hint=did_you_mean("", known) if known is not None else None,
            )  # fmt: skip
        return {shorthand: value}, (), None
    args: dict[str, Node] = {}
    ids: tuple[Key, ...] = ()
    sources: tuple[Key, ...] | None = None
    for key, node in value.items(f"the arguments of '{who}'"):
        if key == "id":
            ids = _identifiers(node)
        elif key == "from":
            sources = _names_of(node)
        elif known is not None and key not in known:
            raise SpecError(
                f"'{who}' has no argument {brief(str(key))}", mark=key.mark,
                hint="an expression with a comma needs quotes: \"max(C, 8)\""
                if ")" in key
                else did_you_mean(key, {*known, "id", "from"}),
            )  # fmt: skip
        else:
            args[str(key)] = node
    return args, ids, sources


def _names_of(node: Node) -> tuple[Key, ...]:
    names = _words(node)
    count = len(node.value) if isinstance(node.value, tuple) else 1
    if not names or len(names) != count:
        raise SpecError(
            f"'from' takes the id of a step or a list of ids, found {node.kind}", mark=node.mark
        )
    return names


def identifier(key: Key, what: str) -> Key:
    """`key`, unless it cannot be the name of `what` (and so of a submodule)."""
    if not key.isidentifier() or not key.isascii() or key.startswith("_") or len(key) > MAX_NAME:
        raise SpecError(
            f"{what} must be a plain name (letters a to z, digits, _; at most {MAX_NAME}), "
            f"found {brief(str(key))}",
            mark=key.mark,
        )
    if key in RESERVED or key in HOLE_KEYS or key == INPUT or keyword.iskeyword(key):
        raise SpecError(
            f"{str(key)!r} cannot be {what}: the name has a meaning of its own", mark=key.mark,
            hint="pick another name",
        )  # fmt: skip
    return key


def _identifiers(node: Node) -> tuple[Key, ...]:
    keys = _words(node)
    count = len(node.value) if isinstance(node.value, tuple) else 1
    if not keys or len(keys) != count:
        raise SpecError(
            f"'id' must be a name or a list of names, found {node.kind}", mark=node.mark
        )
    for key in keys:
        identifier(key, "an id")
    if len(set(keys)) != len(keys):
        raise SpecError("'id' names two outputs alike", mark=node.mark)
    return keys


def _check_sources(
    step: Step, names: set[str], later: Mapping[str, Mark], items: tuple[Node, ...]
) -> None:
    for source in step.sources or ():
        if source in names:
            continue
        if source in later:
            cycle = _cycle(items, source)
            if cycle:
                raise SpecError(f"a cycle: {' → '.join(cycle)}", mark=source.mark)
            raise SpecError(
                f"'from: {source}' reads a step that comes later (line {later[source].line})",
                mark=source.mark,
                hint="a step reads earlier steps only; move it down",
            )
        raise SpecError(
            f"{brief(f'from: {source}')} reads from nowhere: no step before this has that id",
            mark=source.mark,
            hint=did_you_mean(source, names),
        )


def _cycle(items: tuple[Node, ...], start: str) -> list[str]:
    """The ids on a cycle through `start`, if the edges of a body form one."""
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    previous: Key | None = None
    for item in items:
        ids = _ids(item)
        sources: tuple[Key, ...] = (previous,) if previous is not None else ()
        if isinstance(item.value, dict) and len(item.value) == 1:
            ((_, value),) = item.value.items()
            if isinstance(value.value, dict) and "from" in value.value:
                sources = _words(value.value["from"])
        graph.add_edges_from((str(source), str(key)) for source in sources for key in ids)
        # a step without an id still hands on what it read
        previous = ids[0] if len(ids) == 1 else previous if not ids else None
    if start not in graph:
        return []
    try:
        edges = networkx.find_cycle(graph, start)
    except networkx.NetworkXNoCycle:
        return []
    return [edges[0][0], *(edge[1] for edge in edges)]


def _check_all_used(steps: list[Step], inputs: set[str]) -> None:
    """Every output must be read: by the next step, by name, or as the result of the body."""
    read = {str(source) for step in steps for source in _all_sources(step)}
    for position, step in enumerate(steps):
        is_last = position == len(steps) - 1
        taken = not is_last and steps[position + 1].sources is None
        if step.kind == "op" and step.name == "split":
            if len(step.ids) < 2 and not is_last:
                raise SpecError(
                    "'split' has several outputs; name each of them", mark=step.mark,
                    hint="- split: {into: 2, id: [u, v]}",
                )  # fmt: skip
            if is_last:
                raise SpecError(
                    "a body must end in one tensor, and 'split' has several", mark=step.mark
                )
            if taken:
                raise SpecError(
                    "the step after a 'split' must say which part it reads",
                    mark=steps[position + 1].mark,
                    hint=f"from: {step.ids[0]}",
                )
        elif len(step.ids) > 1:
            raise SpecError(
                f"'{step.name}' has one output, found {len(step.ids)} ids", mark=step.mark
            )
        elif is_last or taken:
            continue
        unread = [key for key in step.ids if key not in read]
        if unread or not step.ids:
            what = f"{str(unread[0])!r}" if unread else f"this '{step.name}'"
            raise SpecError(
                f"nobody uses {what}: the next step reads something else", mark=step.mark,
                hint="remove it, or name it in a later 'from'",
            )  # fmt: skip
    for name in sorted(inputs - read):
        raise SpecError(f"nobody uses the input {name!r}", mark=steps[0].mark)


def _all_sources(step: Step) -> Iterator[Key]:
    yield from step.sources or ()
    for body in step.bodies:
        for inner in body:
            yield from _all_sources(inner)
