"""The lines of a forward function, as a person would write them, from a program's statements.

Views and short chains of calls are nested into the statement that reads them, never past another
computation: everything is still computed in the same order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from archspec.codegen.arguments import literal
from archspec.codegen.classes import Class
from archspec.codegen.pretty import Bracket, Doc, call, lines
from archspec.ops import registry
from archspec.program import Local, Statement
from archspec.steps import CONTROL

OPERATORS = {
    "operator.add": "+",
    "operator.sub": "-",
    "operator.mul": "*",
    "operator.truediv": "/",
}
VIEWS = frozenset({"permute", "unsqueeze", "flatten", "unflatten"})
CHAIN = 3
"""So many calls are nested into a sum: x + self.drop(self.cross(self.local(x)))."""
AMBIGUOUS = frozenset({"l", "O", "I"})
"""Names that linters refuse."""


def forward(cls: Class, taken: frozenset[str]) -> list[str]:
    """The forward function of a class; `taken` are names that its variables cannot have."""
    return _Forward(cls, taken).lines()


def _locals(value: object) -> Iterator[str]:
    """The variables that an argument reads, from left to right."""
    if isinstance(value, Local):
        yield value.name
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _locals(item)


def _reads(statement: Statement) -> list[str]:
    return [*_locals(statement.args), *_locals(tuple(statement.kwargs.values()))]


class _Forward:
    def __init__(self, cls: Class, taken: frozenset[str]) -> None:
        self.cls = cls
        self.taken = taken | AMBIGUOUS
        self.inputs, self.result = cls.sample.inputs, cls.sample.result
        self.body = _needed(cls.sample.body, self.result)
        self.place = {id(statement): i for i, statement in enumerate(cls.sample.body)}
        self.maker = {name: i for i, entry in enumerate(self.body) for name in entry.results}
        self.uses = Counter(name for statement in self.body for name in _reads(statement))
        self.uses[self.result] += 1
        self.nested = self._nested()
        self.names = {name: name for name in self.inputs}
        self.declared = set(self.inputs)
        """Variables with a type of their own; others are what was assigned to them."""
        self.is_tensor = dict.fromkeys(self.inputs, True)
        """Variables: whether a type checker knows that they are tensors (modules return Any)."""

    def lines(self) -> list[str]:
        signature = ", ".join(f"{name}: Tensor" for name in self.inputs)
        made = [f"    def forward(self, {signature}) -> Tensor:"]
        roots = [index for index in range(len(self.body)) if index not in self.nested]
        for position, index in enumerate(roots):
            statement, rest = self.body[index], roots[position + 1 :]
            doc, known = self._expression(statement), self._is_known(statement)
            if not rest and known and statement.results == (self.result,):
                return [*made, *lines("return ", doc, depth=2)]
            targets = self._targets(index, self._live(rest))
            left = ", ".join(targets)
            if targets == ["x"] and "x" not in self.declared:
                self.declared.add("x")
                left = "x: Tensor"
            for name in targets:
                self.is_tensor[name] = name in self.declared or (
                    known and self.is_tensor.get(name, True)
                )
            made += lines(f"{left} = ", doc, depth=2)
            self.names.update(zip(statement.results, targets, strict=True))
        return [*made, f"        return {self.names[self.result]}"]

    # -- which statements are nested into the one that reads them --------------------------------

    def _nested(self) -> set[int]:
        nested: set[int] = set()
        for root in reversed(range(len(self.body))):
            if root not in nested:
                options = (self._block(root, calls) for calls in self._chains(root))
                views = self._block(root, 0)
                nested |= next((block for block in options if self._reads_well(block)), views)
        return nested

    def _chains(self, root: int) -> tuple[int, ...]:
        """How many calls to try to nest into a statement, the best first."""
        if self.body[root].target in OPERATORS:
            return CHAIN + 1, 1  # the whole chain, or the last call
        is_last = self.body[root].results == (self.result,)
        return (1,) if self._is_view(root) and not is_last else ()

    def _reads_well(self, block: set[int]) -> bool:
        calls = sum(map(self._is_call, block))
        return calls <= CHAIN and len(block) - calls <= 1

    def _block(self, root: int, limit: int) -> set[int]:
        """The statements just before `root` that can be nested into it, with at most `limit` calls.

        The calls form one chain, so that their order cannot change.
        """
        block: set[int] = set()
        head, calls = {root}, 0
        for maker in reversed(range(root)):
            results = self.body[maker].results
            readers = {i for i in (root, *block) if results[0] in _reads(self.body[i])}
            if len(results) > 1 or self.uses[results[0]] != 1 or not readers:
                break
            if any(self._methods(index, {*block, maker}) > 1 for index in (root, *block)):
                break
            if self._is_view(maker):
                head |= {maker} if readers <= head else set()
            elif self._is_call(maker) and calls < limit and readers <= head:
                head, calls = {maker}, calls + 1
            else:
                break
            block.add(maker)
        return block

    def _methods(self, index: int, block: set[int]) -> int:
        """Methods after a call: 1 in `f(x).permute(…)` and `x.permute(…).flatten(…)`.

        A line with more could not be broken where it is too long.
        """
        statement = self.body[index]
        if statement.kind != "method" or statement.target == "unflatten":
            return 0
        maker = self.maker.get(_reads(statement)[0])
        return 1 + self._methods(maker, block) if maker in block else 0

    def _is_view(self, index: int) -> bool:
        return self.body[index].kind == "method" and self.body[index].target in VIEWS

    def _is_call(self, index: int) -> bool:
        statement = self.body[index]
        is_operator = statement.target in OPERATORS
        return statement.kind != "method" and not is_operator and len(_reads(statement)) == 1

    # -- variables -------------------------------------------------------------------------------

    def _leaves(self, index: int) -> Iterator[str]:
        """The variables that a statement reads once others are nested into it."""
        for name in _reads(self.body[index]):
            if self.maker.get(name) in self.nested:
                yield from self._leaves(self.maker[name])
            else:
                yield name

    def _live(self, roots: list[int]) -> set[str]:
        return {self.result, *(name for root in roots for name in self._leaves(root))}

    def _targets(self, index: int, live: set[str]) -> list[str]:
        """The variables for what a statement makes; one that is no longer needed is used again."""
        statement = self.body[index]
        busy = {self.names[name] for name in live if name in self.names} | self.taken
        if len(statement.results) > 1:
            targets: list[str] = []
            for name in statement.results:
                targets.append(_free(name, busy.union(targets)))
            return targets
        made = statement.results[0]
        lead = next(self._leaves(index), "")
        if not any(name in live for name in self.names):
            return ["x"]
        wanted = statement.target if statement.kind == "module" else re.sub(r"(_\d+)+$", "", made)
        is_plain = statement.kind == "method" or wanted in registry() or wanted in CONTROL
        is_part = lead in self.maker and len(self.body[self.maker[lead]].results) > 1
        if lead and lead not in live and (is_plain if statement.kind != "module" else is_part):
            return [self.names[lead]]
        return [_free(wanted, busy)]

    # -- expressions -----------------------------------------------------------------------------

    def _is_known(self, statement: Statement) -> bool:
        """Whether a type checker sees that the statement gives tensors."""
        if statement.kind == "module":
            return False
        if statement.kind == "function" and statement.target not in OPERATORS:
            return True
        # a method of its first argument; a sum of a tensor and of what is not known is not known
        parts = statement.args[:1] if statement.kind == "method" else statement.args
        return all(
            self._is_known(self.body[self.maker[name]])
            if self.maker.get(name) in self.nested
            else self.is_tensor[self.names[name]]
            for name in _locals(parts)
        )

    def _expression(self, statement: Statement) -> Doc:
        place = self.place[id(statement)]
        args = [self._argument(arg, (place, i)) for i, arg in enumerate(statement.args)]
        named: list[Doc] = [f"{k}={self._argument(v)}" for k, v in statement.kwargs.items()]
        if statement.kind == "module":
            return call(f"self.{statement.target}", [*args, *named])
        if statement.target == "unflatten":  # as a method it has no types
            return call("torch.unflatten", [*args, *named])
        if statement.kind == "method":
            return call(f"{args[0]}.{statement.target}", [*args[1:], *named])
        if statement.target in OPERATORS and len(args) == 2:
            return f"{args[0]} {OPERATORS[statement.target]} {args[1]}"
        return call(statement.target, [*args, *named])

    def _argument(self, value: object, path: tuple[int, ...] = ()) -> Doc:
        if isinstance(value, Local):
            maker = self.maker.get(value.name)
            if maker in self.nested:
                return self._expression(self.body[self.maker[value.name]])
            return self.names[value.name]
        if isinstance(value, list | tuple):
            items = [
                self.cls.values[*path, i].text("self.")
                if (*path, i) in self.cls.values
                else self._argument(item)
                for i, item in enumerate(value)
            ]
            if isinstance(value, list):
                return Bracket("[", tuple(items), "]")
            return Bracket("(", (f"{items[0]},",) if len(items) == 1 else tuple(items))
        return literal(value)


def _needed(body: tuple[Statement, ...], result: str) -> tuple[Statement, ...]:
    """The statements without views and functions whose result nobody reads."""
    needed, kept = {result}, []
    for statement in reversed(body):
        if statement.kind == "module" or needed.intersection(statement.results):
            needed.update(_reads(statement))
            kept.append(statement)
    return tuple(reversed(kept))


def _free(wanted: str, busy: set[str] | frozenset[str]) -> str:
    name, number = wanted, 1
    while name in busy:
        number += 1
        name = f"{wanted}_{number}"
    return name
