"""The body of a block as it was written: steps, checked for words, names and wiring.

Nothing here knows a size. What can be wrong about a body on its own (an unknown op or key, an
edge from nowhere, a node that nobody uses) is found here, whether or not a network uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archspec.errors import Mark, SpecError, brief, did_you_mean
from archspec.graph import INPUT
from archspec.names import identifiers, ids_of, sources_of
from archspec.ops import registry
from archspec.source import Key, Node, is_hole
from archspec.steps import CONTROL, BlockHead, Step
from archspec.wiring import check_all_used, check_sources


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
            later |= {key: key.mark for key in ids_of(item)}
        steps: list[Step] = []
        for item in items:
            step = self.step(item, names)
            check_sources(step, names, later, items)
            for key in step.ids:
                if key in names:
                    raise SpecError(
                        f"id {str(key)!r} is already taken", mark=key.mark, hint="pick another name"
                    )
                names.add(key)
            steps.append(step)
        check_all_used(steps, set(inputs))
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
            ids = identifiers(node)
        elif key == "from":
            sources = sources_of(node)
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
