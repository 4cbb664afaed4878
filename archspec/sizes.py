"""Arithmetic that is exact on whole numbers, on arrays of them, and on symbols.

A cost rule is written once, as plain arithmetic, and then gives one network's figure (int), a
million networks' figures (NumPy int64 arrays) or the paper's formula (SymPy expressions). This
module holds the few operations in which the three differ. It loads none of the libraries
before there is a symbol.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, TypeGuard

from pydantic import BeforeValidator, WithJsonSchema

from archspec.errors import SpecError, brief

MAX_SIZE = 1 << 20
"""No axis is longer than this: beyond it a size is a slip of the pen."""


def is_array(value: object) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def is_symbol(value: object) -> bool:
    return hasattr(value, "free_symbols")


def is_number(value: object) -> TypeGuard[int | float | Fraction]:
    return isinstance(value, int | float | Fraction) and not isinstance(value, bool)


def divide(a: Any, b: Any) -> Any:
    """`a / b`, exact: whole where it can be, a Fraction where not; arrays must divide."""
    if is_symbol(a) or is_symbol(b):
        return a / b
    if is_array(a) or is_array(b):
        if isinstance(b, Fraction):
            return divide(a * b.denominator, b.numerator)
        if isinstance(a, Fraction):
            return divide(a.numerator, a.denominator * b)
        if not require(a % b == 0):
            raise SpecError("a division in the array of networks leaves a remainder")
        return a // b
    if b == 0:
        raise SpecError("division by zero")
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    return whole(Fraction(a) / b)


def multiply(a: Any, b: Any) -> Any:
    if is_array(a) and isinstance(b, Fraction):
        return divide(a * b.numerator, b.denominator)
    if is_array(b) and isinstance(a, Fraction):
        return multiply(b, a)
    return a * b


def log2(value: Any) -> Any:
    """The binary logarithm: a float, or an expression of symbols; arrays hold whole numbers."""
    if is_symbol(value):
        import sympy

        return sympy.log(value, 2)
    if is_array(value):
        raise SpecError(
            "logarithms, as in the operations of a Fourier transform, are of one network at a time"
        )
    return math.log2(value)


def whole(value: Any) -> Any:
    """An int where the value is one, else the value itself."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def require(condition: Any) -> bool:
    """Whether a condition holds: everywhere on an array, and unless disproved on symbols."""
    if is_array(condition):
        return bool(condition.all())
    if isinstance(condition, bool):
        return condition
    return str(condition) != "False"  # an undecided SymPy relation is given the benefit


def equal(a: Any, b: Any) -> bool:
    """Whether two sizes are the same (for arrays: everywhere; for symbols: identically)."""
    if is_symbol(a) or is_symbol(b):
        return bool((a - b).expand() == 0) if is_symbol(a) else equal(b, a)
    return require(a == b)


def show(value: Any) -> str:
    """A size for a message."""
    if is_array(value):
        return f"<{value.size} values>"
    if isinstance(value, Fraction):
        return f"{float(value):.4g}"
    return str(value)


def describe(value: Any) -> str:
    """A computed value for a message, in the words of YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Fraction):
        return show(value)
    if isinstance(value, tuple | list):
        items = ", ".join(describe(item) for item in value[:8])
        return f"[{items}{', …' if len(value) > 8 else ''}]"
    if isinstance(value, dict):
        return "a mapping"
    return "nothing" if value is None else brief(value)


def _integer(low: int, what: str) -> Any:
    def check(value: Any) -> Any:
        if is_symbol(value):
            return value
        if is_array(value):
            if value.dtype.kind not in "iu" or not require((value >= low) & (value <= MAX_SIZE)):
                raise ValueError(f"expected {what} in every place of the array")
            return value
        value = whole(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected {what}, found {describe(value)}")
        if not low <= value <= MAX_SIZE:
            raise ValueError(f"expected {what}, found {describe(value)}")
        return value

    return BeforeValidator(check)


def _real(value: Any) -> Any:
    if isinstance(value, bool) or not is_number(value) or not math.isfinite(value):
        raise ValueError(f"expected a number, found {describe(value)}")
    return float(value)


def _described(low: int) -> Any:
    """The same bounds in the JSON Schema, for editors."""
    return WithJsonSchema({"type": "integer", "minimum": low, "maximum": MAX_SIZE})


# Type checkers see int and float; at run time arrays and symbols pass through the same fields.
Size = Annotated[Any, _integer(1, f"a whole number from 1 to {MAX_SIZE:,}"), _described(1)]
"""A length: at least 1."""
Count = Annotated[Any, _integer(0, f"a whole number from 0 to {MAX_SIZE:,}"), _described(0)]
"""A length that may be 0, such as padding."""
Offset = Annotated[Any, _integer(-MAX_SIZE, "a whole number"), _described(-MAX_SIZE)]
"""A signed distance, such as a shift."""
Real = Annotated[float, BeforeValidator(_real)]
"""A finite real number."""
