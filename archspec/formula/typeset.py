"""Formulas as a paper prints them: `H·W·C·(H + W) + 3·H·W·C²`, as text and as LaTeX.

A cost is a sum of products of sizes. It is ordered by powers of the channels C, and what the
terms of one power share is put before a bracket; H and W stand before C, block arguments before
both. Quotients, roundings, minima and maxima are kept as they are.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHANNELS = "C"
_RANK = {"H": 2, "W": 3, "N": 4, CHANNELS: 7}  # 1: arguments, 6: what is not a symbol

GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
        "sigma tau upsilon phi chi psi omega".split(),
        "αβγδεζηθικλμνξοπρστυφχψω",
        strict=True,
    )
)
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def sympy() -> Any:
    """SymPy, loaded when it is first asked for, and untyped."""
    import sympy as module

    return module


def normal(expression: Any) -> Any:
    """The expression as a sum of products, without floats."""
    exact = sympy().nsimplify(sympy().sympify(expression), rational=True)
    exact = exact.replace(lambda part: part.is_Add, _ceilings)
    # (⌊H / s⌋ + 1) is one length, and stays in one piece
    lengths = {part: sympy().Dummy() for part in exact.atoms(sympy().Add) if _is_length(part)}
    back = {dummy: part for part, dummy in lengths.items()}
    return sympy().expand(exact.xreplace(lengths)).xreplace(back)


def _is_length(total: Any) -> bool:
    number, rest = total.as_coeff_Add()
    return bool(number.is_Integer and isinstance(rest, sympy().floor))


def text(expression: Any) -> str:
    """One line of Unicode text."""
    return _sum(expression, _Text())


def latex(expression: Any) -> str:
    """LaTeX for math mode."""
    return _sum(expression, _Latex())


@dataclass(frozen=True)
class _Term:
    """number · Π base^exponent"""

    number: Any
    powers: Mapping[Any, int]

    @property
    def degree(self) -> int:
        return sum(self.powers.values())

    @property
    def channels(self) -> int:
        return next((n for base, n in self.powers.items() if str(base) == CHANNELS), 0)

    def over(self, other: _Term) -> _Term:
        bases = dict.fromkeys((*self.powers, *other.powers))
        powers = {b: self.powers.get(b, 0) - other.powers.get(b, 0) for b in bases}
        return _Term(self.number / other.number, {b: n for b, n in powers.items() if n})


def _term(product: Any) -> _Term:
    number, rest = product.as_coeff_Mul()
    powers: dict[Any, int] = {}
    for base, exponent in rest.as_powers_dict().items():
        if exponent.is_Integer:
            powers[base] = int(exponent)
        else:
            powers[base**exponent] = 1
    powers = {base: n for base, n in powers.items() if n and base != 1}
    return _Term(number, dict(sorted(powers.items(), key=lambda item: _rank(item[0]))))


def _rank(base: Any) -> tuple[int, str]:
    name = str(base)
    if not base.is_Symbol:
        return 6, name
    return _RANK.get(name, _RANK[CHANNELS] if re.fullmatch(r"C\d+", name) else 1), name


def _terms(expression: Any) -> list[_Term]:
    products = sympy().Add.make_args(normal(expression))
    return sorted((_term(product) for product in products if product != 0), key=_place)


def _place(term: _Term) -> tuple[Any, ...]:
    """The longest products first, and H before W."""
    letters = [_rank(base) for base, n in term.powers.items() for _ in range(abs(n))]
    return -term.degree, letters


def _ceilings(total: Any) -> Any:
    """⌊n / d⌋ + 1 = ⌈(n + 1) / d⌉ on whole numbers: how many positions a strided window has."""
    number = total.as_coeff_Add()[0]
    for part in total.args:
        if isinstance(part, sympy().floor) and number.is_Integer and number >= 1:
            over, under = sympy().fraction(sympy().together(part.args[0]))
            if under.is_Integer and over.is_integer:
                return total - part - 1 + sympy().ceiling((over + 1) / under)
    return total


def _common(terms: Sequence[_Term]) -> _Term:
    """What all terms share."""
    number = sympy().gcd_list([term.number for term in terms])
    bases = dict.fromkeys(base for term in terms for base in term.powers)
    powers = {base: min(term.powers.get(base, 0) for term in terms) for base in bases}
    return _Term(number, {base: n for base, n in powers.items() if n})


def _sum(expression: Any, style: _Style) -> str:
    terms = _terms(expression)
    if not terms:
        return "0"
    parts: list[tuple[bool, str]] = []
    groups: dict[int, list[_Term]] = {}
    for term in terms:
        groups.setdefault(term.channels, []).append(term)
    # a lone number stands last: C − 1
    for _, group in sorted(groups.items(), key=lambda item: (item[1][0].degree == 0, item[0])):
        common = _common(group)
        if len(group) == 1 or (not common.powers and common.number == 1):
            parts += [_signed(term, style) for term in group]
        else:
            inner = style.add([_signed(term.over(common), style) for term in group])
            parts.append(_signed(common, style, inner))
    return style.add(parts)


def _signed(term: _Term, style: _Style, inner: str | None = None) -> tuple[bool, str]:
    """Whether a term is negative, and its absolute value; `inner` is a bracket it stands before."""
    number = abs(term.number)
    above = [str(number.p)] if number.p != 1 else []
    below = [str(number.q)] if number.q != 1 else []
    above += style.powers({b: n for b, n in term.powers.items() if n > 0})
    below += style.powers({b: -n for b, n in term.powers.items() if n < 0})
    if inner is not None:
        above.append(f"({inner})")
    return bool(term.number < 0), style.quotient(above, below)


class _Style(ABC):
    """What differs between text and LaTeX."""

    minus: str
    function: Mapping[str, tuple[str, str]]

    @abstractmethod
    def symbol(self, name: str) -> str: ...

    @abstractmethod
    def raised(self, base: str, exponent: int) -> str: ...

    @abstractmethod
    def product(self, factors: Sequence[str]) -> str: ...

    @abstractmethod
    def quotient(self, above: Sequence[str], below: Sequence[str]) -> str: ...

    @abstractmethod
    def other(self, expression: Any) -> str: ...

    def add(self, parts: Sequence[tuple[bool, str]]) -> str:
        line = ""
        for negative, part in parts:
            sign = self.minus if negative else "+"
            if line:
                line += f" {sign} {part}"
            else:
                line = f"{sign}{part}" if negative else part
        return line

    def powers(self, powers: Mapping[Any, int]) -> list[str]:
        """The factors, each with its exponent; H² W² becomes (H W)²."""
        result: list[str] = []
        exponents = {str(base): n for base, n in powers.items()}
        both = exponents.get("H", 0) if exponents.get("H") == exponents.get("W") else 0
        for base, n in powers.items():
            if both > 1 and str(base) in ("H", "W"):
                if str(base) == "H":
                    grid = self.product([self.symbol("H"), self.symbol("W")])
                    result.append(self.raised(f"({grid})", both))
                continue
            result.append(self.raised(self.base(base), n))
        return result

    def base(self, base: Any) -> str:
        if base.is_Symbol:
            return self.symbol(base.name)
        if base.is_Add:
            return f"({_sum(base, self)})"
        kind = type(base).__name__
        if kind in self.function:
            opening, closing = self.function[kind]
            arguments = (_sum(argument, self) for argument in base.args)
            return opening + ", ".join(arguments) + closing
        return self.other(base)


class _Text(_Style):
    minus = "−"
    function = {
        "floor": ("⌊", "⌋"), "ceiling": ("⌈", "⌉"), "Min": ("min(", ")"), "Max": ("max(", ")"),
        "Mod": ("mod(", ")"),
    }  # fmt: skip

    def symbol(self, name: str) -> str:
        if re.fullmatch(r"[A-Z]\d+", name):
            return name.translate(_SUBSCRIPTS)
        head, mark, tail = name.partition("_")
        return GREEK.get(head, head) + mark + tail

    def raised(self, base: str, exponent: int) -> str:
        return base if exponent == 1 else base + str(exponent).translate(_SUPERSCRIPTS)

    def product(self, factors: Sequence[str]) -> str:
        return "·".join(factors) or "1"

    def quotient(self, above: Sequence[str], below: Sequence[str]) -> str:
        if not below:
            return self.product(above)
        divisor = self.product(below)
        return f"{self.product(above)}/{divisor if len(below) == 1 else f'({divisor})'}"

    def other(self, expression: Any) -> str:
        return f"({expression})"


class _Latex(_Style):
    minus = "-"
    function = {
        "floor": (r"\lfloor ", r" \rfloor"), "ceiling": (r"\lceil ", r" \rceil"),
        "Min": (r"\min(", ")"), "Max": (r"\max(", ")"), "Mod": (r"\mathrm{mod}(", ")"),
    }  # fmt: skip

    def symbol(self, name: str) -> str:
        # α, C2, alpha_rows, depths[0] have an index; `drop_path` stays one word
        index = re.fullmatch(rf"({'|'.join(GREEK)}|[A-Za-z])_(\w+)|(\w+?)(\d+|\[\d+\])", name)
        head, tail = (index[1] or index[3], index[2] or index[4]) if index else (name, "")
        above, below = (part.strip("[]").replace("_", r"\_") for part in (head, tail))
        if head in GREEK:
            above = rf"\{head}"
        elif len(head) > 1:
            above = rf"\mathrm{{{above}}}"
        if below and not below.isdecimal():
            below = rf"\mathrm{{{below}}}"
        return f"{above}_{{{below}}}" if below else above

    def raised(self, base: str, exponent: int) -> str:
        return base if exponent == 1 else f"{base}^{{{exponent}}}"

    def product(self, factors: Sequence[str]) -> str:
        line, last = "", ""
        for factor in factors:
            if last and r"\mathrm" in (factor[:7], last[:7]):
                line += r"\,"
            elif re.search(r"\\[A-Za-z]+$", line) and factor[0].isalpha():
                line += " "  # `\alpha C`, not `\alphaC`
            line, last = line + factor, factor
        return line or "1"

    def quotient(self, above: Sequence[str], below: Sequence[str]) -> str:
        if not below:
            return self.product(above)
        over, under = (
            factors[0][1:-1]  # the fraction bar is bracket enough
            if len(factors) == 1 and factors[0][0] == "(" and factors[0][-1] == ")"
            else self.product(factors)
            for factors in (above, below)
        )
        return rf"\frac{{{over}}}{{{under}}}"

    def other(self, expression: Any) -> str:
        return f"({sympy().latex(expression)})"
