"""How random steps are written: what the rules of `tests.op_rules` and `tests.strategies` share.

The writer follows shapes by rules of its own, kept as simple as validity allows, so that a wrong
shape rule in archspec is met by a network that ought to be possible.

A rule writes a few steps that read the step before them, or returns None where it does not apply.
Rules that keep the shape (KEEP) may stand anywhere; the others (CHANGE) not inside a residual or a
repeated body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from hypothesis import strategies as st

from archspec.ops import registry

Sizes: TypeAlias = Mapping[str, int]
"""The writer's own idea of a shape: axis → size."""

LETTERS = {"channels": "C", "height": "H", "width": "W", "tokens": "N"}
AXES = ("channels", "height", "width", "tokens", "heads", "keys", "rows")
MOST = {"channels": 24, "tokens": 144}
"""The longest axis along which a linear map is drawn (others: 32)."""


@dataclass(frozen=True)
class Step:
    """One step before it is YAML; `short` asks for the form without named arguments."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    short: bool = False

    def yaml(self) -> Any:
        args = {key: _plain(value) for key, value in self.args.items()}
        if not args:
            return self.name
        if self.short and len(args) == 1:
            op = registry().get(self.name)
            (key,) = args
            is_bare = op is not None and op.shorthand == key and not isinstance(args[key], dict)
            if self.name == "residual" or is_bare:
                return {self.name: args[key]}
        return {self.name: args}

    def given(self, **args: Any) -> Step:
        """The same step with `id` or `from` added."""
        return replace(self, args={**self.args, **args})


Piece: TypeAlias = tuple[list[Step], Sizes]
"""Steps, and the sizes after them."""
Rule: TypeAlias = "Callable[[Writer, Sizes], Piece | None]"

KEEP: dict[str, Rule] = {}
CHANGE: dict[str, Rule] = {}
DEEP = (
    "residual", "repeat", "condition", "call", "two_inputs", "use", "tokens",
    "add", "subtract", "multiply", "divide", "concat", "split",
)  # fmt: skip
"""Rules that write bodies inside bodies, to which there is a limit."""


def rule(table: dict[str, Rule], *names: str) -> Callable[[Any], Any]:
    """Register a rule; one for several ops is called with the op's name as third argument."""

    def register(function: Any) -> Any:
        for name in names or (function.__name__.rstrip("_"),):
            table[name] = (lambda w, x, name=name: function(w, x, name)) if names else function
        return function

    return register


def _plain(value: Any) -> Any:
    if isinstance(value, Step):
        return value.yaml()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def divisors(size: int) -> list[int]:
    return [n for n in range(1, size + 1) if size % n == 0]


class Writer:
    """Draws steps. Names are unique in the whole document, so that no two can collide."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.blocks: dict[str, Any] = {}
        self.vars: dict[str, Any] = {}
        self.tables: list[dict[str, Any]] = [self.vars]
        """Where new variables may go: to the spec, and to the stage that is being written."""
        self.depth = 0
        self._count = 0

    # -- small choices ---------------------------------------------------------------------------

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, options: Iterable[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def subset(self, options: Iterable[Any], fewest: int, most: int) -> list[Any]:
        """Some of the options, each once, in any order."""
        return self.shuffle(options)[: self.whole(fewest, most)]

    def shuffle(self, options: Iterable[Any]) -> list[Any]:
        return self.draw(st.permutations(list(options)))

    def whole(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def real(self, low: float, high: float) -> float:
        return self.draw(st.integers(int(low * 100), int(high * 100))) / 100

    def some(self, **args: Callable[[], Any]) -> dict[str, Any]:
        """Some of the optional arguments."""
        return {name: make() for name, make in args.items() if self.flip()}

    def size(self, value: int, x: Sizes) -> Any:
        """`value` as it may stand in a spec: a number, an expression, a variable."""
        names = {LETTERS[axis]: size for axis, size in x.items() if axis in LETTERS}
        if "H" in names and "W" in names and "N" not in names:
            names["N"] = names["H"] * names["W"]
        texts: list[Any] = [value, value]
        for name, size in names.items():
            if value % size == 0:
                texts.append(f"{value // size} * {name}" if value != size else name)
            if size % value == 0:
                texts.append(f"{name} / {size // value}")
            texts.append(f"{name} - {size - value}" if size > value else f"{name} + {value - size}")
            texts.append(f"{value} if {name} >= {size} else {name} // 0")
        texts.append(None)
        text = self.pick(texts)
        if text is not None:
            return text
        table, name = self.pick(self.tables), self.fresh("size")
        if self.flip():
            table[name] = value
            return name
        table[name] = [value, value + 1]
        return f"{name}[0]"

    # -- bodies ----------------------------------------------------------------------------------

    def body(self, x: Sizes, *, keep: bool, most: int = 3, must: str | None = None) -> Piece:
        """One to `most` pieces in a row; `must` names the rule of one of them."""
        steps: list[Step] = []
        self.depth += 1
        count = self.whole(1, most)
        for position in range(count):
            rules = KEEP if keep or self.flip() else CHANGE
            if must is not None and position == 0:
                made = (KEEP.get(must) or CHANGE[must])(self, x)
                assert made is not None, f"the rule of {must!r} does not apply to {x}"
            else:
                names = [name for name in rules if self.depth < 4 or name not in DEEP]
                made = rules[self.pick(names)](self, x)
            if made is not None:
                steps += made[0]
                x = made[1]
        self.depth -= 1
        if not steps:
            steps = [Step("identity")]
        if self.flip() and "id" not in steps[-1].args and steps[-1].name != "split":
            steps[-1] = steps[-1].given(id=self.fresh("step"))
        return steps, x

    def named(self, x: Sizes) -> tuple[list[Step], str]:
        """A step that names the tensor before it (or what it makes of it)."""
        name = self.fresh("x")
        return [Step(self.pick(["identity", "gelu", "relu", "tanh"]), {"id": name})], name

    def chain(self, source: str, x: Sizes) -> tuple[list[Step], str]:
        """A chain that reads `source`, keeps the shape, and whose result has a name."""
        steps, _ = self.body(x, keep=True, most=2)
        steps[0] = steps[0].given(**{"from": source})
        name = steps[-1].args.get("id") or self.fresh("y")
        steps[-1] = steps[-1].given(id=name)
        return steps, name
