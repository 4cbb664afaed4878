"""A spec: one YAML document that describes a network, or a space of them when it has holes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from archspec import catalog, inherit, source
from archspec.document import Header, Stage, check_hole, validate
from archspec.errors import Mark, SpecError, brief, did_you_mean, suggestion
from archspec.names import MAX_NAME, identifier
from archspec.ops import registry
from archspec.parser import Parser
from archspec.rename import check_template
from archspec.shape import Shape
from archspec.source import Key, Node, is_hole
from archspec.steps import CONTROL, BlockHead, Step, names_in


@dataclass(frozen=True)
class Block:
    """A named body with arguments."""

    name: str
    mark: Mark
    head: BlockHead
    defaults: Mapping[str, Node]
    body: tuple[Step, ...]


@dataclass(frozen=True)
class StageSteps:
    """A stage, parsed."""

    name: str
    mark: Mark
    vars: Mapping[str, Node]
    enter: tuple[Step, ...]
    repeat: Node
    body: tuple[Step, ...]


@dataclass(frozen=True)
class Hole:
    """A value left open for search."""

    path: source.Path_
    node: Node

    @property
    def name(self) -> str:
        """`dim`, `depths[0]` for variables; the full path for other places."""
        path = self.path[1:] if self.path[0] == "vars" else self.path
        text = str(path[0])
        for step in path[1:]:
            text += f"[{step}]" if isinstance(step, int) else f".{step}"
        return text

    def __str__(self) -> str:
        value = self.node.plain()
        inner = ", ".join(f"{key}: {json.dumps(entry)}" for key, entry in value.items())
        return "{" + inner + "}"


class Spec:
    """A parsed and checked spec. Make one with `archspec.load`."""

    def __init__(self, tree: Node, file: Path | None = None) -> None:
        self.tree = tree
        self.file = file
        list(tree.items("the keys of a spec (name, input, stages, …)"))
        self.header = validate(Header, tree)
        self.name: str = self.header.name or (file.stem if file else "network")
        self.input = Shape(self.header.input.model_dump())
        self.classes: int = self.header.classes
        self.vars: Mapping[str, Node] = _variables(tree.find(("vars",)))
        self._parse()
        self._check_weights()

    # -- parsing ---------------------------------------------------------------------------------

    def _parse(self) -> None:
        definitions = self._definitions()
        for hole in self.holes:
            check_hole(hole.node)
        parser = Parser({name: head for name, (head, _, _) in definitions.items()})
        self.blocks: dict[str, Block] = {}
        for name, (head, defaults, body) in definitions.items():
            inputs = () if head.inputs == ("input",) else head.inputs
            steps = parser.body(body, inputs)
            self.blocks[name] = Block(name, body.mark, head, defaults, steps)
        _check_recursion(self.blocks)
        self.stem = self._section(parser, "stem")
        self.head = self._section(parser, "head")
        self.stages = [self._stage(parser, key, node) for key, node in self._entries("stages")]
        if not self.stages and not self.stem and not self.head and not self.blocks:
            raise SpecError(
                "describes no network: there is no stem, stage or head", mark=self.tree.mark
            )

    def _check_weights(self) -> None:
        """Refuse templates of foreign names that cannot be read."""
        for name in self.header.weights:
            entry = self.tree.value["weights"].value[name]
            names = entry.find(("names",))
            for key, target in () if names is None else names.items("names"):
                try:
                    check_template(key, target.value)
                except SpecError as error:
                    raise error.at(key.mark) from None

    def _entries(self, section: str) -> Iterator[tuple[Key, Node]]:
        node = self.tree.find((section,))
        if node is not None and node.value is not None:
            yield from node.items(f"{section} by name")

    def _section(self, parser: Parser, section: str) -> tuple[Step, ...]:
        node = self.tree.find((section,))
        return () if node is None or node.value is None else parser.body(node)

    def _definitions(self) -> dict[str, tuple[BlockHead, Mapping[str, Node], Node]]:
        found: dict[str, tuple[BlockHead, Mapping[str, Node], Node]] = {}
        for key, node in self._entries("blocks"):
            identifier(key, "the name of a block")
            if key in registry() or key in CONTROL:
                raise SpecError(f"block {str(key)!r} has the name of an op", mark=key.mark)
            found[str(key)] = _definition(key, node)
        return found

    def _stage(self, parser: Parser, key: Key, node: Node) -> StageSteps:
        identifier(key, "the name of a stage")
        if key in ("stem", "head"):
            raise SpecError(f"a stage cannot be called {str(key)!r}", mark=key.mark)
        validate(Stage, node, "stages", str(key))
        enter, body = node.find(("enter",)), node.find(("body",))
        if (enter is None or enter.value is None) and (body is None or body.value is None):
            raise SpecError(f"stage {str(key)!r} has neither 'enter' nor 'body'", mark=key.mark)
        repeat = node.find(("repeat",))
        if repeat is not None and (body is None or body.value is None):
            raise SpecError(
                f"stage {str(key)!r} has 'repeat' but no 'body' to repeat", mark=repeat.mark
            )
        return StageSteps(
            str(key),
            key.mark,
            _variables(node.find(("vars",))),
            parser.body(enter) if enter is not None and enter.value is not None else (),
            repeat or Node(1, node.mark),
            parser.body(body) if body is not None and body.value is not None else (),
        )

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of the image that a network takes."""
        channels, height, width = (int(self.input[a]) for a in ("channels", "height", "width"))
        return channels, height, width

    @property
    def is_network(self) -> bool:
        """Whether it describes a network, and not only blocks for others to import."""
        return bool(self.stages or self.stem or self.head)

    def check_variables(self) -> None:
        """Refuse variables of this spec's own file that nothing reads: most are misspelt overrides.

        What a spec that this one extends declared may have lost its reader here, and is let be.
        """
        used: set[str] = set()
        for section in ("vars", "blocks", "stem", "stages", "head"):
            node = self.tree.find((section,))
            used |= set() if node is None else set(names_in(node))
        stages = (self.tree.find(("stages", stage.name, "vars")) for stage in self.stages)
        for node in (self.tree.find(("vars",)), *stages):
            for key in () if node is None or node.value is None else node.value:
                # a place without a line is an override's, such as `--set`
                is_own = key.mark.file == self.tree.mark.file or not key.mark.line
                if key not in used and is_own:
                    raise SpecError(
                        f"nobody uses the variable {str(key)!r}", mark=key.mark,
                        hint=suggestion(key, self.vars.keys() - {key}),
                    )  # fmt: skip

    # -- holes and overrides ---------------------------------------------------------------------

    @cached_property
    def holes(self) -> tuple[Hole, ...]:
        """The values left open for search, in the order of the file."""
        return tuple(_holes(self.tree, ()))

    def with_values(self, values: Mapping[str, Any], origin: str = "the value of") -> Spec:
        """A new spec with holes filled or values overridden.

        Args:
            values: by a variable's name (`alpha`, `depths[0]`) or a dotted path
                (`stages.stage2.repeat`, `input.height`). Arrays and symbols are allowed.
            origin: what messages name as the place of a wrong value.
        """
        tree = self.tree
        for name, value in values.items():
            mark = Mark(f"{origin} {name}")
            path = self._path(name, mark)
            tree = tree.replaced(path, source.node_of(value, mark))
        return Spec(tree, self.file)

    def _path(self, name: str, mark: Mark) -> source.Path_:
        parts: list[str | int] = []
        for part in str(name).split("."):
            match = re.fullmatch(r"([A-Za-z_]\w*)((?:\[\d+\])*)|(\d+)", part)
            if not match or len(part) > MAX_NAME or len(parts) > source.MAX_DEPTH:
                raise SpecError("is not the name of a value, such as alpha or depths[0]", mark=mark)
            if match[3]:
                parts.append(int(match[3]))
                continue
            parts.append(match[1])
            parts.extend(int(index) for index in re.findall(r"\d+", match[2]))
        top = str(parts[0])
        if top in self.vars:
            return ("vars", *parts)
        known = {field.alias or key for key, field in Header.model_fields.items()}
        if top in ("extends", "import"):
            raise SpecError(f"{top!r} can be set in a file only", mark=mark)
        if top not in known:
            raise SpecError(
                f"there is no variable {top!r} in {self.name}", mark=mark,
                hint=did_you_mean(top, self.vars or known),
            )  # fmt: skip
        return tuple(parts)

    # -- identity --------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The document as plain values, after `extends`, `import` and overrides."""
        plain: dict[str, Any] = self.tree.plain()
        return plain

    @cached_property
    def digest(self) -> str:
        """A hash of the content: what it says, not where or how it is written."""
        text = json.dumps(self.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"<Spec {self.name}{f', {len(self.holes)} holes' if self.holes else ''}>"


def load(name_or_path: str | Path) -> Spec:
    """Load a spec by file path or by the name of a shipped one (`smlpnet_b`).

    Raises:
        SpecError: with the place of what is wrong.
    """
    path = catalog.find(name_or_path)
    return Spec(inherit.read(path), path)


def as_spec(spec: Spec | str | Path) -> Spec:
    """The spec itself, or the one of that path or shipped name."""
    return spec if isinstance(spec, Spec) else load(spec)


def loads(text: str, file: str = "<text>") -> Spec:
    """A spec from YAML text; `extends` and `import` find shipped specs by name."""
    return Spec(inherit.resolve(source.parse(text, file), None, ()), None)


def _variables(node: Node | None) -> dict[str, Node]:
    if node is None or node.value is None:
        return {}
    found = {}
    for key, value in node.items("variables by name"):
        identifier(key, "the name of a variable")
        if key in IMPLICIT:
            raise SpecError(
                f"{str(key)!r} cannot be a variable: it always means {IMPLICIT[key]}",
                mark=key.mark,
            )
        found[str(key)] = value
    return found


IMPLICIT = {
    "C": "the channels of the current tensor",
    "H": "the height of the current tensor",
    "W": "the width of the current tensor",
    "N": "the number of positions of the current tensor",
    "index": "the position within 'repeat'",
    "classes": "the number of classes",
}
"""Names that every expression may use, and what they mean."""


def _holes(node: Node, path: source.Path_) -> Iterator[Hole]:
    if is_hole(node):
        yield Hole(path, node)
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _holes(child, (*path, str(key)))
    elif isinstance(node.value, tuple):
        for index, child in enumerate(node.value):
            yield from _holes(child, (*path, index))


def _definition(key: Key, node: Node) -> tuple[BlockHead, Mapping[str, Node], Node]:
    """A block's head, its arguments' defaults and its unparsed body."""
    if not isinstance(node.value, dict) or "body" not in node.value:
        return BlockHead(("input",), (), ()), {}, node
    for entry, _ in node.items("a block"):
        if entry not in ("about", "args", "inputs", "body"):
            raise SpecError(
                f"a block has no key {brief(str(entry))}", mark=entry.mark,
                hint=did_you_mean(entry, ("about", "args", "inputs", "body")),
            )  # fmt: skip
    args = _variables(node.find(("args",)))
    inputs: tuple[str, ...] = ("input",)
    named = node.find(("inputs",))
    if named is not None:
        names = named.value if isinstance(named.value, tuple) else (named,)
        if not names or not all(isinstance(item.value, str) for item in names):
            raise SpecError(f"'inputs' takes a list of names, found {named.kind}", mark=named.mark)
        inputs = tuple(str(identifier(Key(n.value, n.mark), "an input")) for n in names)
    required = tuple(name for name, value in args.items() if value.value is None)
    return BlockHead(inputs, tuple(args), required), args, node.value["body"]


def _calls(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        if step.kind == "block":
            yield step
        for body in step.bodies:
            yield from _calls(body)


def _check_recursion(blocks: Mapping[str, Block]) -> None:
    """Blocks may call blocks, but none may reach itself."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        for step in _calls(blocks[name].body):
            if step.name in (*path, name):
                circle = " → ".join((*path, name, step.name))
                raise SpecError(f"a block calls itself: {circle}", mark=step.mark)
            if step.name not in done:
                visit(step.name, (*path, name))
        done.add(name)

    for name in blocks:
        visit(name, ())
