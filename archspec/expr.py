"""Expressions in specs: arithmetic over names, parsed with a whitelist, never run by Python.

`2 * C`, `C / 3`, `depths[1]`, `max(C / 4, 16)`, `H if H < W else W`. Division is exact: `C / 3`
of 80 is an error where a whole number is needed, not 26.67 cut to 26 (write `C // 3` for that).
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from archspec.errors import SpecError, brief, did_you_mean
from archspec.sizes import (
    describe,
    divide,
    is_array,
    is_number,
    is_symbol,
    multiply,
    require,
    whole,
)

MAX_LENGTH = 500
MAX_DEPTH = 100
_MAX_BITS = 1100  # a little more than the largest float has


def _floor_divide(a: Any, b: Any) -> Any:
    if is_number(b) and b == 0:
        raise SpecError("division by zero")
    return a // b


def _modulo(a: Any, b: Any) -> Any:
    if is_number(b) and b == 0:
        raise SpecError("division by zero")
    return a % b


def _power(a: Any, b: Any) -> Any:
    if not isinstance(b, int) or not 0 <= b <= 64:
        raise SpecError(f"an exponent must be a whole number from 0 to 64, found {describe(b)}")
    return a**b


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: multiply,
    ast.Div: divide,
    ast.FloorDiv: _floor_divide,
    ast.Mod: _modulo,
    ast.Pow: _power,
}


def _same(a: Any, b: Any) -> Any:
    if (is_symbol(a) or is_symbol(b)) and not isinstance(a, str) and not isinstance(b, str):
        import sympy

        relation: Any = sympy.Eq  # `==` on symbols would compare how they are written
        return relation(a, b)
    return a == b


def _differ(a: Any, b: Any) -> Any:
    same = _same(a, b)
    return ~same if is_symbol(same) or is_array(same) else not same


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: _same,
    ast.NotEq: _differ,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _extreme(pick: Callable[[Any, Any], Any], numpy_name: str, sympy_name: str) -> Any:
    def choose(*values: Any) -> Any:
        if any(is_symbol(value) for value in values):
            import sympy

            return getattr(sympy, sympy_name)(*values)
        result = values[0]
        for value in values[1:]:
            if is_array(result) or is_array(value):
                import numpy

                result = getattr(numpy, numpy_name)(result, value)
            else:
                result = pick(result, value)
        return result

    return choose


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": _extreme(min, "minimum", "Min"),
    "max": _extreme(max, "maximum", "Max"),
}


@dataclass(frozen=True)
class Expr:
    """A checked expression: its text, its syntax tree, and the names it needs."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def __call__(self, scope: Mapping[str, Any]) -> Any:
        """The value, with names looked up in `scope`.

        Raises:
            SpecError: unknown name, division by zero, operands that do not fit.
        """
        try:
            return whole(_evaluate(self.tree, scope))
        except SpecError as error:
            if error.mark is not None:
                raise  # a variable that this one reads is wrong, and says where
            raise SpecError(f"in {brief(self.text)}: {error.message}", hint=error.hint) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise SpecError(f"in {brief(self.text)}: {error}") from None
        except RecursionError:
            raise SpecError(f"in {brief(self.text)}: too many values behind values") from None


@lru_cache(maxsize=4096)
def parse(text: str) -> Expr:
    """Check an expression.

    Raises:
        SpecError: anything but arithmetic, comparison, `a if c else b`, `x[i]`, min and max.
    """
    if len(text) > MAX_LENGTH:
        raise SpecError(
            f"an expression of {len(text):,} characters is too long; at most {MAX_LENGTH}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on syntax is not for this language
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(
            f"{brief(text)} is not an expression", hint="such as 2 * C, C / 3 or depths[0]"
        ) from None
    _check(tree, text)
    nodes = list(ast.walk(tree))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in called}
    return Expr(text.strip(), tree, frozenset(names))


def _check(node: ast.AST, text: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise SpecError(f"{brief(text)} is nested more than {MAX_DEPTH} levels deep")
    match node:
        case ast.BinOp(op=op) if type(op) in _BINARY:
            children: list[ast.AST] = [node.left, node.right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            children = [node.operand]
        case ast.BoolOp():
            children = list(node.values)
        case ast.Compare(ops=ops) if all(type(op) in _COMPARE for op in ops):
            children = [node.left, *node.comparators]
        case ast.IfExp():
            children = [node.test, node.body, node.orelse]
        case ast.Subscript():
            children = [node.value, node.slice]
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS and node.args:
            children = list(node.args)
        case ast.Call():
            raise SpecError(
                f"{brief(text)} calls something; an expression is arithmetic over names",
                hint="only min(…) and max(…) can be called",
            )
        case ast.Constant(value=float() as number) if not math.isfinite(number):
            raise SpecError(f"{brief(text)} holds a number that is too large")
        case ast.Name() | ast.Constant(value=int() | float() | str()):
            children = []
        case _:
            raise SpecError(
                f"{brief(text)} holds something other than arithmetic over names",
                hint="allowed: + - * / // % **, comparisons, and, or, not, 'a if c else b', x[i], "
                "min, max",
            )
    for child in children:
        _check(child, text, depth + 1)


def _evaluate(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=float() as number):
            return Fraction(repr(number))  # 0.1 means one tenth
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            if name not in scope:
                raise SpecError(f"unknown name {name!r}", hint=did_you_mean(name, scope))
            return scope[name]
        case ast.BinOp(left=left, op=op, right=right):
            result = _BINARY[type(op)](
                _number(_evaluate(left, scope)), _number(_evaluate(right, scope))
            )
            _check_bits(result)
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(_evaluate(operand, scope))
        case ast.UnaryOp(op=op, operand=operand):
            value = _number(_evaluate(operand, scope))
            return -value if isinstance(op, ast.USub) else value
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_truth(_evaluate(value, scope)) for value in values)
        case ast.BoolOp(values=values):
            return any(_truth(_evaluate(value, scope)) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            a = _evaluate(left, scope)
            for relation, comparator in zip(ops, comparators, strict=True):
                b = _evaluate(comparator, scope)
                if not isinstance(relation, ast.Eq | ast.NotEq):
                    a, b = _number(a), _number(b)
                if not _truth(_COMPARE[type(relation)](a, b)):
                    return False
                a = b
            return True
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _truth(_evaluate(test, scope)) else orelse, scope)
        case ast.Subscript(value=value, slice=index):
            return _item(_evaluate(value, scope), _evaluate(index, scope))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_number(_evaluate(arg, scope)) for arg in args))
    raise AssertionError(f"unchecked syntax {node!r}")  # parse() lets nothing else through


def _number(value: Any) -> Any:
    if is_number(value) or is_array(value) or is_symbol(value):
        return value
    raise SpecError(f"expected a number, found {describe(value)}")


def _check_bits(value: Any) -> None:
    """Refuse numbers that no network needs, before arithmetic on them takes for ever."""
    parts: tuple[int, ...] = ()
    if isinstance(value, int):
        parts = (value,)
    elif isinstance(value, Fraction):
        parts = (value.numerator, value.denominator)
    if any(part.bit_length() > _MAX_BITS for part in parts):
        raise SpecError("the value is absurdly large")
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError("the value is absurdly large")


def _truth(value: Any) -> bool:
    if isinstance(value, str | tuple | list | dict | None) or is_number(value):
        raise SpecError(f"expected true or false, found {describe(value)}")
    if is_array(value):
        if not (value.all() or (~value).all()):
            raise SpecError("a condition differs between the networks of an array")
        return bool(value.all())
    if is_symbol(value) and str(value) not in ("True", "False"):
        raise SpecError(f"whether {value} depends on the network, and no number is given")
    return require(value)


def _item(value: Any, index: Any) -> Any:
    if not isinstance(value, tuple | list):
        raise SpecError(f"expected a list before [{index}], found {describe(value)}")
    if not isinstance(index, int) or isinstance(index, bool):
        raise SpecError(f"an index must be a whole number, found {describe(index)}")
    if not 0 <= index < len(value):
        raise SpecError(f"index {index} is outside a list of {len(value)}")
    return value[index]
