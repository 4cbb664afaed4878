"""Whole numbers of very many networks at once: polynomials in the variables, computed last.

A rule that does arithmetic on sizes may meet a `Column` where it would meet an int. What it does
is recorded as a polynomial with exact coefficients, so that the rules run once however many
networks there are, and so that `alpha * C / alpha` is C again without a division. Only the
result is computed, on int64 arrays, in blocks that stay in the cache.

int64 arithmetic wraps around, which for sums and products is harmless as long as the result
itself fits. Whether it does is proven from the bounds of the variables; where that fails, the
figures are computed with Python's integers instead.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from archspec.errors import SpecError

IntArray: TypeAlias = NDArray[np.int64]

Monomial: TypeAlias = "tuple[int, ...]"
"""A product of atoms, each named by its place in the table: (0, 0, 3) is x₀² x₃, () is 1."""

Terms: TypeAlias = "dict[Monomial, int]"
"""A polynomial: the coefficient of each monomial, none of them 0."""

BLOCK = 1 << 14
"""Rows that are computed together: 128 KiB an array, of which a handful is in use at a time."""

_HIGHEST = (1 << 63) - 1
"""What int64 holds. The lowest value is taken as -_HIGHEST, so that signs can be turned."""


class Table:
    """The atoms that columns are polynomials of: one array each, with one row per network."""

    def __init__(self, rows: int, *, is_sample: bool = False) -> None:
        """A table of `rows` networks.

        Args:
            is_sample: the rows stand for others with values between theirs. Nothing is concluded
                from what they happen to have in common then.
        """
        self.rows = rows
        self.is_sample = is_sample
        self.atoms: list[IntArray] = []
        self.bounds: list[tuple[int, int]] = []
        self.origins: list[frozenset[int]] = []
        """For each atom, the ones that were given and that it was computed from."""
        self.undecided: list[Condition] = []
        """The conditions met so far that no bounds decided."""
        self.latest: frozenset[int] = frozenset()
        """The given atoms of the latest comparison, decided by bounds or not."""
        self.recipes: dict[int, tuple[np.ufunc, tuple[Column | int, ...]]] = {}
        """For each atom that was not given, what it was computed from."""
        self._derived: dict[tuple[object, ...], Column | int] = {}

    def add(self, values: IntArray) -> Column | int:
        """`values` as a new atom, or as a plain int where they are all alike."""
        low, high = int(values.min()), int(values.max())
        if low == high:
            return low
        return self._atom(values, (low, high), frozenset({len(self.atoms)}))

    def _atom(self, values: IntArray, bounds: tuple[int, int], origins: frozenset[int]) -> Column:
        self.atoms.append(values)
        self.bounds.append(bounds)
        self.origins.append(origins)
        return Column(self, {(len(self.atoms) - 1,): 1})

    def derive(self, function: np.ufunc, *operands: Column | int) -> Column | int:
        """What no polynomial expresses (a quotient, a minimum), computed and made an atom."""
        key = (function, *(_key(operand) for operand in operands))
        if key not in self._derived:
            values = function(*self.values(*operands))
            low, high = int(values.min()), int(values.max())
            if self.is_sample:  # other rows may have other values, the same ones may differ there
                low, high = -_HIGHEST, _HIGHEST
            if low == high:
                self._derived[key] = low
            else:
                origins = frozenset[int]().union(*(self.given(operand) for operand in operands))
                self.recipes[len(self.atoms)] = (function, operands)
                self._derived[key] = self._atom(values, (low, high), origins)
        return self._derived[key]

    def given(self, value: Column | int) -> frozenset[int]:
        """The atoms that were given (not derived) and that a value was computed from."""
        atoms = {atom for monomial in _terms(value) for atom in monomial}
        return frozenset[int]().union(*(self.origins[atom] for atom in atoms))

    def values(self, *columns: Column | int) -> list[IntArray]:
        """The figures themselves.

        Raises:
            SpecError: one of them does not fit into 64 bits.
        """
        polynomials = [_terms(column) for column in columns]
        if all(_fits(column) for column in columns):
            return self._compute(polynomials, np.dtype(np.int64))
        exact = self._compute(polynomials, np.dtype(object))
        for figures in exact:
            row = int(np.argmax(np.abs(figures)))
            if abs(figures[row]) > _HIGHEST:
                raise SpecError(f"a figure of {figures[row]:,} does not fit into 64 bits")
        return [figures.astype(np.int64) for figures in exact]

    def _compute(self, polynomials: list[Terms], dtype: np.dtype[Any]) -> list[NDArray[Any]]:
        results = [np.empty(self.rows, dtype) for _ in polynomials]
        for start in range(0, self.rows, BLOCK):
            block = slice(start, min(start + BLOCK, self.rows))
            known: dict[Monomial, NDArray[Any]] = {}
            scratch = np.empty(block.stop - block.start, dtype)
            for terms, result in zip(polynomials, results, strict=True):
                total = result[block]
                total[:] = terms.get((), 0)
                for monomial, coefficient in terms.items():
                    if monomial:
                        values = self._product(monomial, block, known, dtype)
                        total += np.multiply(values, coefficient, out=scratch)
        return results

    def _product(
        self,
        monomial: Monomial,
        block: slice,
        known: dict[Monomial, NDArray[Any]],
        dtype: np.dtype[Any],
    ) -> NDArray[Any]:
        """A monomial's values; those of its leading factors are kept for the next one."""
        if monomial not in known:
            *rest, last = monomial
            factor = self.atoms[last][block].astype(dtype, copy=False)
            if rest:
                factor = self._product(tuple(rest), block, known, dtype) * factor
            known[monomial] = factor
        return known[monomial]


class Column(np.lib.mixins.NDArrayOperatorsMixin):
    """One whole number for each network of a table, as a polynomial in the table's atoms.

    It looks like an array to `archspec.sizes`. A comparison gives a bool where it comes out the
    same for all networks by the bounds alone, and a `Mask` otherwise.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, table: Table, terms: Terms) -> None:
        self.table = table
        self.terms = terms

    @property
    def shape(self) -> tuple[int]:
        return (self.table.rows,)

    @property
    def size(self) -> int:
        return self.table.rows

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """No value is below the first or above the second."""
        lowest = highest = 0
        for monomial, coefficient in self.terms.items():
            low = high = coefficient
            for atom in monomial:
                corners = [x * y for x in (low, high) for y in self.table.bounds[atom]]
                low, high = min(corners), max(corners)
            lowest, highest = lowest + low, highest + high
        return lowest, highest

    def __repr__(self) -> str:
        return f"<{self.size} values>"

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        operands = [_operand(value) for value in inputs]
        if function in _RULES:
            return _RULES[function](self.table, *operands)
        if function in _RELATIONS:
            return _compare(self.table, function, *operands)
        return NotImplemented


@dataclass(frozen=True)
class Condition:
    """A comparison of a difference with 0, for each network."""

    relation: np.ufunc
    difference: Column
    holds: NDArray[np.bool_]
    """For which networks."""

    @property
    def given(self) -> frozenset[int]:
        """The given atoms that it hangs on."""
        return self.difference.table.given(self.difference)

    @property
    def is_mixed(self) -> bool:
        return bool(self.holds.any()) and not bool(self.holds.all())


class Mask:
    """A condition that holds for some of the networks, as far as bounds can tell.

    It has an answer only where that is the same for all of them: what is done for the one half
    would be wrong for the other.
    """

    dtype = np.dtype(np.bool_)

    def __init__(self, values: NDArray[np.bool_]) -> None:
        self.values = values
        self.shape = values.shape
        self.size = values.size

    def all(self) -> bool:
        return bool(self)

    def __and__(self, other: Mask | bool) -> Mask:
        return Mask(self.values & (other.values if isinstance(other, Mask) else other))

    __rand__ = __and__

    def __invert__(self) -> Mask:
        return Mask(~self.values)

    def __bool__(self) -> bool:
        if self.values.all() or not self.values.any():
            return bool(self.values.all())
        raise SpecError("a condition differs between the networks of an array")


def _operand(value: Any) -> Column | int:
    if isinstance(value, Column):
        return value
    if isinstance(value, int | np.integer | np.bool_):
        return int(value)
    raise SpecError(f"arrays of networks hold whole numbers only, found {value}")


def _terms(value: Column | int) -> Terms:
    if isinstance(value, Column):
        return value.terms
    return {(): value} if value else {}


def _key(value: Column | int) -> object:
    return frozenset(_terms(value).items())


def _fits(value: Column | int) -> bool:
    """Whether int64 arithmetic gives the value, by the bounds alone."""
    return all(abs(figure) <= _HIGHEST for figure in (*_bounds(value), *_terms(value).values()))


def _bounds(value: Column | int) -> tuple[int, int]:
    return value.bounds if isinstance(value, Column) else (value, value)


def _made(table: Table, terms: Terms) -> Column | int:
    terms = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    return Column(table, terms) if terms.keys() - {()} else terms.get((), 0)


# -- rules, by NumPy's names ---------------------------------------------------------------------


def _add(table: Table, a: Column | int, b: Column | int) -> Column | int:
    terms = dict(_terms(a))
    for monomial, coefficient in _terms(b).items():
        terms[monomial] = terms.get(monomial, 0) + coefficient
    return _made(table, terms)


def _multiply(table: Table, a: Column | int, b: Column | int) -> Column | int:
    terms: Terms = {}
    for left, x in _terms(a).items():
        for right, y in _terms(b).items():
            monomial = tuple(sorted(left + right))
            terms[monomial] = terms.get(monomial, 0) + x * y
    return _made(table, terms)


def _negative(table: Table, a: Column | int) -> Column | int:
    return _multiply(table, a, -1)


def _subtract(table: Table, a: Column | int, b: Column | int) -> Column | int:
    return _add(table, a, _negative(table, b))


def _power(table: Table, a: Column | int, b: Column | int) -> Column | int:
    if isinstance(b, Column) or b < 0:
        raise SpecError("an exponent must be one whole number, the same for all networks")
    result: Column | int = 1
    for _ in range(b):
        result = _multiply(table, result, a)
    return result


def _floor_divide(table: Table, a: Column | int, b: Column | int) -> Column | int:
    _refuse_zero(table, b)
    exact = _quotient(table, a, b)
    return table.derive(np.floor_divide, a, b) if exact is None else exact


def _remainder(table: Table, a: Column | int, b: Column | int) -> Column | int:
    _refuse_zero(table, b)
    return table.derive(np.remainder, a, b) if _quotient(table, a, b) is None else 0


def _quotient(table: Table, a: Column | int, b: Column | int) -> Column | int | None:
    """a / b where that is a polynomial for any values: b one term that divides each of a's."""
    if len(_terms(b)) != 1:
        return 1 if _terms(a) == _terms(b) else None
    ((divisor, by),) = _terms(b).items()
    terms: Terms = {}
    for monomial, coefficient in _terms(a).items():
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % by:
            return None
        terms[tuple(rest)] = coefficient // by
    return _made(table, terms)


def _refuse_zero(table: Table, divisor: Column | int) -> None:
    zero = _compare(table, np.equal, divisor, 0)
    if zero is True or (isinstance(zero, Mask) and zero.values.any()):
        raise SpecError("division by zero")


def _derived(function: np.ufunc) -> Callable[..., Column | int]:
    def rule(table: Table, *operands: Column | int) -> Column | int:
        return table.derive(function, *operands)

    return rule


_RULES: dict[np.ufunc, Callable[..., Column | int]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.negative: _negative,
    np.power: _power,
    np.floor_divide: _floor_divide,
    np.remainder: _remainder,
    np.minimum: _derived(np.minimum),
    np.maximum: _derived(np.maximum),
    np.absolute: _derived(np.absolute),
}

_RELATIONS: dict[np.ufunc, Callable[[int, int], bool]] = {
    np.equal: operator.eq,
    np.not_equal: operator.ne,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
}


def _compare(table: Table, function: np.ufunc, a: Column | int, b: Column | int) -> bool | Mask:
    relation = _RELATIONS[function]
    difference = _subtract(table, a, b)
    low, high = _bounds(difference)
    table.latest = table.given(difference) or table.latest
    # what holds (or fails) at both ends does so between them; equality only if 0 is not between
    same_at_ends = relation(low, 0) == relation(high, 0)
    is_ordering = function not in (np.equal, np.not_equal)
    if same_at_ends and (is_ordering or low > 0 or high < 0 or low == high):
        return relation(low, 0)
    assert isinstance(difference, Column)  # bounds decide about an int
    (values,) = table.values(difference)
    mask = Mask(function(values, 0))
    table.undecided.append(Condition(function, difference, mask.values))
    return mask
