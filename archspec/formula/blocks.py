"""What a block costs as a formula: the rules that count, given symbols in place of sizes.

The paper's Ω(sMLP) = HWC(H+W) + 3HWC² is the sum of its ops' `flops` for an input of C × H × W
symbols. A numeric variable or argument that the cost depends on becomes a symbol of its name.
Each formula is checked: with the numbers of the block's first use it must give their exact cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from archspec.counting import count
from archspec.errors import ArchspecError, SpecError, did_you_mean
from archspec.expansion import expand_block
from archspec.formula.typeset import latex, normal, sympy, text
from archspec.formula.uses import Use, numbers_of, sizing_names, uses_of_blocks
from archspec.graph import CallNode, Graph, OpNode
from archspec.ops import Op
from archspec.shape import CHANNELS, HEIGHT, LETTERS, TOKENS, WIDTH, Shape
from archspec.sizes import is_number, whole
from archspec.spec import Block, Spec


@dataclass(frozen=True)
class Formula:
    """One cost as an expression; `str()` prints it as text."""

    expression: Any
    """A SymPy expression, expanded."""

    def __str__(self) -> str:
        return text(self.expression)

    @property
    def latex(self) -> str:
        return latex(self.expression)

    @property
    def names(self) -> frozenset[str]:
        """The sizes, variables and arguments in it."""
        return frozenset(symbol.name for symbol in self.expression.free_symbols)

    def value(self, numbers: Mapping[str, Any]) -> Any:
        """The exact value, e.g. `value({"H": 56, "W": 56, "C": 80})`; other names do not matter.

        Raises:
            ArchspecError: a name of the formula has no number.
        """
        for name in sorted(self.names - set(numbers)):
            raise ArchspecError(f"the formula {self} needs a number for {name!r}")
        exact = {symbol: _rational(numbers[symbol.name]) for symbol in self.expression.free_symbols}
        result = self.expression.subs(exact)
        return whole(Fraction(int(result.p), int(result.q)))

    def to_dict(self) -> dict[str, str]:
        return {"expression": str(self.expression), "text": str(self), "latex": self.latex}


@dataclass(frozen=True)
class BlockFormula:
    """The cost of one block for one image.

    Keys are what is counted: `multiply-adds` (convolutions and linear maps) and, apart from them,
    each other op that fvcore counts, for FLOPs; `weights`, `biases` and ops for parameters.
    """

    block: str
    inputs: tuple[Shape, ...]
    """The symbols that stand for the sizes of its inputs."""
    flops: Mapping[str, Formula] = field(default_factory=dict)
    params: Mapping[str, Formula] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str | None = None
    """Why there is no formula, where there is none."""

    @property
    def macs(self) -> Formula:
        """Multiply-adds of convolutions and linear maps: what papers print as Ω."""
        return self.flops.get(PRODUCTS, _formula(0))

    @property
    def total_flops(self) -> Formula:
        return _formula(sum(part.expression for part in self.flops.values()))

    @property
    def total_params(self) -> Formula:
        return _formula(sum(part.expression for part in self.params.values()))

    def __str__(self) -> str:
        read = " and ".join(map(_shown, self.inputs))
        lines = [f"{self.block}  reads {read}" if read else self.block]
        if self.reason is not None:
            return "\n".join([*lines, f"  no closed formula: {self.reason}"])
        rows = [*_rows("FLOPs", self.flops), *_rows("parameters", self.params)]
        width = max(len(formula) for _, formula, _ in rows)
        lines += [f"  {what:<12}{f:<{width}}  {label}".rstrip() for what, f, label in rows]
        lines += [f"  {note}" for note in self.notes]
        if PRODUCTS in self.flops:
            lines.append(rf"  LaTeX       \Omega = {self.macs.latex}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For machines: each formula as text, as LaTeX and as a SymPy expression."""
        inputs = [{axis: str(size) for axis, size in shape.items()} for shape in self.inputs]
        known = {"block": self.block, "inputs": inputs, "notes": list(self.notes)}
        if self.reason is not None:
            return {**known, "reason": self.reason}
        return {
            **known,
            "flops": {what: formula.to_dict() for what, formula in self.flops.items()},
            "params": {what: formula.to_dict() for what, formula in self.params.items()},
            "total_flops": self.total_flops.to_dict(),
            "total_params": self.total_params.to_dict(),
        }


PRODUCTS = "multiply-adds"


def formulas(spec: Spec, block: str | None = None) -> list[BlockFormula]:
    """The formulas of one block, or of every block of a spec.

    The inputs are those of a block's first use in the network, where a value that is left open
    for search counts as its first option. A block that is used with different words (the axis
    that it mixes, the block that it calls) has a formula for each.

    Raises:
        SpecError: there is no such block, or the network cannot exist.
    """
    if block is not None and block not in spec.blocks:
        raise SpecError(
            f"{spec.name} has no block {block!r}", hint=did_you_mean(block, spec.blocks)
        )
    uses = uses_of_blocks(spec)
    return [
        _Solver(spec, spec.blocks[name], use).solve()
        for name in ([block] if block is not None else spec.blocks)
        for use in uses.get(name, [None])
    ]


class _Solver:
    """Finds the formula of one block."""

    def __init__(self, spec: Spec, block: Block, use: Use | None) -> None:
        self.spec = use.spec if use is not None else spec
        self.block = block
        self.use = use
        self.notes: list[str] = []
        self.sizes: dict[str, Any] = {}
        """The numbers of the first use, by symbol."""
        self.variables = self._sizing(numbers_of(self.spec.vars))
        self.arguments = self._arguments()

    def _sizing(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """Those that the block's sizes depend on; `depths[0]` is an entry of `depths`."""
        known = sizing_names(self.spec)[self.block.name]
        return {key: number for key, number in numbers.items() if key.partition("[")[0] in known}

    def _arguments(self) -> dict[str, Any]:
        """The numbers of the arguments that become symbols."""
        given = self.use.graph.arguments if self.use is not None else {}
        numbers: dict[str, Any] = {}
        for name in self.block.head.arguments:
            value = given.get(name, self.block.defaults[name].value)
            if is_number(value) or (value is None and self.use is None):
                numbers[name] = value
        # an argument hides the variable of its name
        self.variables = {k: v for k, v in self.variables.items() if k not in numbers}
        return self._sizing(numbers)

    def solve(self) -> BlockFormula:
        if self.use is not None:
            return self._for(self._symbolic(self.use.graph.inputs))
        self.notes.append("the network does not use this block; its input is assumed")
        results = [self._for(shapes) for shapes in _assumed(self.block)]
        found = next((result for result in results if result.reason is None), None)
        given = _given_elsewhere(self.spec, self.block) if found is None else None
        return found or (results[0] if given is None else self._for(given))

    def _symbolic(self, inputs: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """The same axes with symbols; an axis of one element stays one."""
        shapes = []
        for port, shape in enumerate(inputs):
            symbols: dict[str, Any] = {}
            for axis, size in shape.items():
                letter = LETTERS.get(axis, axis)
                letters = (letter, *(f"{letter}{n}" for n in range(2, port + 2)))
                letter = next(x for x in letters if self.sizes.get(x, size) == size)
                if size != 1:
                    self.sizes[letter] = size
                symbols[axis] = _symbol(letter) if size != 1 else 1
            shapes.append(Shape(symbols))
        if self.use is not None and self.use.is_flat_grid:
            self.notes.append("N = H·W: the tokens come from a grid")
        return tuple(shapes)

    def _for(self, shapes: tuple[Shape, ...]) -> BlockFormula:
        """Try with everything a symbol, then with numbers for what cannot be one."""
        names = [*self.variables, *self.arguments]
        try:
            return self._attempt(shapes, names)
        except (SpecError, TypeError):
            free = [name for name in names if self._passes(shapes, name)]
        for kept in (free, []):
            try:
                return self._attempt(shapes, kept)
            except (SpecError, TypeError) as error:
                reason = error.message if isinstance(error, SpecError) else str(error)
        return BlockFormula(
            self.block.name, shapes, notes=tuple(self.notes), reason=reason.splitlines()[0]
        )

    def _passes(self, shapes: tuple[Shape, ...], name: str) -> bool:
        try:
            self._attempt(shapes, [name])
        except (SpecError, TypeError):
            return False
        return True

    def _attempt(self, shapes: tuple[Shape, ...], names: Iterable[str]) -> BlockFormula:
        """The formula with `names` as symbols.

        Raises:
            SpecError, TypeError: symbols cannot stand where the block has them. The TypeError is
                SymPy's or Python's, where an op decides by a size or counts with it.
        """
        names = set(names)
        numbers = {**self.variables, **self.arguments}
        symbols = {name: _symbol(name, numbers[name]) for name in names}
        given = dict(self.use.graph.arguments) if self.use is not None else {}
        given |= {name: symbols.get(name, self.arguments[name]) for name in self.arguments}
        given = {name: value for name, value in given.items() if value is not None}
        chosen = {name: symbols.get(name, value) for name, value in self.variables.items()}
        graph = expand_block(self.spec.with_values(chosen), self.block.name, shapes, given)
        fixed = {**(self.use.words if self.use is not None else {}), **numbers}
        pinned = [f"{name} = {value}" for name, value in fixed.items() if name not in names]
        notes = (*self.notes, *([f"for {', '.join(pinned)}"] if pinned else []))
        result = BlockFormula(self.block.name, shapes, _flops(graph), _params(graph), notes)
        self._check(result, numbers)
        return result

    def _check(self, result: BlockFormula, numbers: Mapping[str, Any]) -> None:
        """Refuse a formula that does not give the cost of the first use."""
        if self.use is None:
            return
        exact, known = count(self.use.graph), {**numbers, **self.sizes}
        found = (result.total_flops.value(known), result.total_params.value(known))
        if found != (exact.flops, exact.params):
            raise SpecError("its structure depends on the sizes that it is used with")


def _assumed(block: Block) -> Iterator[tuple[Shape, ...]]:
    """What a block may read that no network uses: grids, tokens or vectors."""
    for axes in ((CHANNELS, HEIGHT, WIDTH), (CHANNELS, TOKENS), (CHANNELS,)):
        yield (Shape({axis: _symbol(LETTERS[axis]) for axis in axes}),) * len(block.head.inputs)


def _given_elsewhere(spec: Spec, block: Block) -> tuple[Shape, ...] | None:
    """What another block that no network uses hands to this one, if any calls it."""
    for other in spec.blocks.values():
        required = {n: _symbol(n) for n, node in other.defaults.items() if node.value is None}
        for shapes in _assumed(other):
            try:
                graph = expand_block(spec, other.name, shapes, required)
            except (SpecError, TypeError):
                continue
            for inner in _inside(graph):
                if inner.name == block.name:
                    return inner.inputs
    return None


def _inside(graph: Graph) -> Iterator[Graph]:
    for node in graph.nodes:
        if isinstance(node, OpNode):
            continue
        for body in (node.graph,) if isinstance(node, CallNode) else node.bodies:
            yield body
            yield from _inside(body)


def _flops(graph: Graph) -> dict[str, Formula]:
    return _collect(
        (PRODUCTS if leaf.node.op.is_product else leaf.node.op.name,
         leaf.node.op.flops(*leaf.node.input_shapes) * times)
        for leaf, times in graph.walk()
    )  # fmt: skip


def _params(graph: Graph) -> dict[str, Formula]:
    parts: list[tuple[str, Any]] = []
    for leaf, times in graph.walk():
        op, shapes = leaf.node.op, leaf.node.input_shapes
        weights = _without_bias(op).params(*shapes)
        parts.append(("weights" if op.is_product else op.name, weights * times))
        parts.append(("biases", (op.params(*shapes) - weights) * times))
    return _collect(parts)


def _without_bias(op: Op) -> Op:
    has_bias = op.is_product and "bias" in type(op).model_fields
    return op.model_copy(update={"bias": False}) if has_bias else op


def _collect(parts: Iterable[tuple[str, Any]]) -> dict[str, Formula]:
    """The sums by label, in order of the first that is not zero; products and weights lead."""
    sums: dict[str, Any] = {PRODUCTS: 0, "weights": 0, "biases": 0}
    for label, amount in parts:
        sums[label] = sums.get(label, 0) + amount
    found = {label: _formula(total) for label, total in sums.items()}
    return {label: formula for label, formula in found.items() if formula.expression != 0}


def _formula(expression: Any) -> Formula:
    return Formula(normal(expression))


def _symbol(name: str, number: Any = None) -> Any:
    """A size (a positive whole number) or, with `number`, a variable that has this value."""
    if number is None:
        return sympy().Symbol(name, positive=True, integer=True)
    return sympy().Symbol(name, **({"positive": True} if number > 0 else {"real": True}))


def _rational(number: Any) -> Any:
    return sympy().Rational(str(number) if isinstance(number, float) else number)


def _shown(shape: Shape) -> str:
    axes = [axis for axis in (CHANNELS, *shape.others) if axis in shape]
    return f"{' × '.join(text(shape[axis]) for axis in axes)} ({', '.join(axes)})"


def _rows(what: str, parts: Mapping[str, Formula]) -> list[tuple[str, str, str]]:
    if not parts:
        return [(what, "0", "")]
    return [
        (what if index == 0 else "", str(formula), label)
        for index, (label, formula) in enumerate(parts.items())
    ]
