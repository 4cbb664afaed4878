"""Figures that were computed once as polynomials, for other networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from archspec.columns import Column, Condition, IntArray, Table


class Replay:
    """Puts other numbers in the places of the atoms that a table was given.

    What the table derived from them (quotients, extremes) is computed anew; nothing is expanded.
    """

    def __init__(self, table: Table, rows: int, given: Mapping[int, IntArray]) -> None:
        """A replay for `rows` networks; `given` has an array for each atom that is met."""
        self.table = Table(rows)
        self._from = table
        self._atoms: dict[int, Column | int] = {
            atom: self.table.add(values) for atom, values in given.items()
        }

    def __call__(self, value: Column | int) -> Column | int:
        """A figure of the old table as one of `self.table`."""
        if not isinstance(value, Column):
            return value
        total: Column | int = 0
        for monomial, coefficient in value.terms.items():
            term: Column | int = coefficient
            for atom in monomial:
                term = term * self._atom(atom)
            total = total + term
        return total

    def _atom(self, atom: int) -> Column | int:
        if atom not in self._atoms:
            function, operands = self._from.recipes[atom]
            with np.errstate(divide="ignore"):  # refused by a condition that is replayed too
                self._atoms[atom] = self.table.derive(function, *map(self, operands))
        return self._atoms[atom]

    def agrees(self, condition: Condition) -> bool:
        """Whether a condition comes out for all networks as it did for the first of the old."""
        expected = bool(condition.holds[0])
        (values,) = self.table.values(self(condition.difference))
        return bool((condition.relation(values, 0) == expected).all())
