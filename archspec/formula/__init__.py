"""Costs as formulas: `formulas(spec)` gives what each block costs in H, W, C and variables."""

from __future__ import annotations

from archspec.formula.blocks import BlockFormula, Formula, formulas

__all__ = ["BlockFormula", "Formula", "formulas"]
