"""What a network may cost: `5GFLOPs`, `4.5G..5G`, `30Mparams`, or as much as another one does.

A budget is strict, and both ends belong to it. FLOPs are multiply-adds of one image at the spec's
own input size, in fvcore's convention.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

from archspec.errors import Mark, SpecError, brief
from archspec.search.errors import BudgetError
from archspec.spec import Spec

Figure: TypeAlias = Literal["flops", "params"]

FRACTION = Fraction(95, 100)
"""Of a budget given as one figure, what a network must use at least."""

UNITS: dict[Figure, str] = {"flops": "FLOPs", "params": "params"}
_UNIT: dict[str, Figure] = {
    "flops": "flops", "flop": "flops", "params": "params", "param": "params",
    "parameters": "params",
}  # fmt: skip
_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
_WITH_UNIT = re.compile(r"(?<=[\d.\skmgbtKMGBT])\s*(flops?|param(?:eter)?s?)\s*$", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d{1,20}(?:\.\d{0,20})?)\s*([kmgbt]?)", re.IGNORECASE)
_EXAMPLES = "such as 5GFLOPs, 600M, 30Mparams, 4.5G..5G, or a spec that is not to be exceeded"


@dataclass(frozen=True)
class Window:
    """The lowest and the highest figure that are allowed."""

    low: int
    high: int

    def __contains__(self, value: int) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Budget:
    """Windows that a network must lie in, all of them."""

    windows: Mapping[Figure, Window]

    def __str__(self) -> str:
        parts = []
        for figure, window in self.windows.items():
            low = f"{short(window.low)}.." if window.low else "at most "
            parts.append(f"{low}{short(window.high)} {UNITS[figure]}")
        return ", ".join(parts) or "none"

    def allows(self, flops: int, params: int) -> bool:
        """Whether a network of these figures is inside."""
        figures = {"flops": flops, "params": params}
        return all(figures[figure] in window for figure, window in self.windows.items())


def short(value: float) -> str:
    """`5G`, `4.75G`, `5.01153G`: as many digits as it takes, at most six."""
    for suffix, scale in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if value >= scale:
            return f"{value / scale:.6g}{suffix}"
    return f"{value:g}"


def budget(*texts: str | Path | Spec | Budget) -> Budget:
    """Read a budget.

    Args:
        texts: `5GFLOPs`, `600M` (FLOPs), `30Mparams`, a window `4.5G..5G`, several of them with
            commas between, or a spec (path or shipped name): no more FLOPs and no more
            parameters than that network has. The first figure that is given without a window must
            be used to 95 %; those after it are upper limits.

    Raises:
        BudgetError: with what was expected.
    """
    windows: dict[Figure, Window] = {}

    def add(figure: Figure, window: Window) -> None:
        if figure in windows:
            raise _error(f"{UNITS[figure]} are limited twice")
        windows[figure] = window

    for text in texts:
        if isinstance(text, Budget):
            for figure, window in text.windows.items():
                add(figure, window)
            continue
        for part in [text] if isinstance(text, Spec) else _cut(str(text)):
            if isinstance(part, Spec) or _is_spec(part):
                flops, params = _network(part)
                add("flops", _window(flops, full=bool(windows)))
                add("params", _window(params, full=True))
            else:
                add(*_parse(part, first=not windows))
    return Budget(windows)


def _cut(text: str) -> list[str]:
    """What stands between commas; a file's name may hold some."""
    is_file = os.path.isfile(text)  # noqa: PTH113 - Path's raises for a name too long
    return [text] if is_file else [part.strip() for part in text.split(",")]


def _is_spec(text: str) -> bool:
    from archspec import catalog

    return Path(text).suffix in catalog.SUFFIXES or text in catalog.shipped()


def _network(spec: Spec | str | Path) -> tuple[int, int]:
    """FLOPs and parameters of the network that is not to be exceeded."""
    from archspec.api import cost
    from archspec.spec import as_spec

    found = as_spec(spec)
    if found.holes:
        raise _error(f"{found.name} has holes itself, and so no cost")
    try:
        table = cost(found)
    except SpecError as error:
        raise error.at(Mark(f"--budget {found.name}")) from None
    return int(table.flops), int(table.params)


def _window(high: int | Fraction, *, full: bool) -> Window:
    return Window(0 if full else math.ceil(FRACTION * high), math.floor(high))


def _parse(text: str, *, first: bool) -> tuple[Figure, Window]:
    ends = [_read(end) for end in text.split("..")]
    units = {unit for _, _, unit in filter(None, ends) if unit is not None}
    if None in ends or len(ends) > 2 or len(units) > 1:
        raise _unread(text)
    figure: Figure = units.pop() if units else "flops"
    values = [(amount, suffix) for amount, suffix, _ in filter(None, ends)]
    if len(values) == 2 and not values[0][1] and values[0][0] < 1000:
        values[0] = (values[0][0], values[1][1])  # 4.5..5G
    whole = [amount * _SUFFIX[suffix] for amount, suffix in values]
    if len(whole) == 1:
        return figure, _window(whole[0], full=not first)
    low, high = math.ceil(whole[0]), math.floor(whole[1])
    if low > high:
        raise _error(f"the window {brief(text)} ends below its start")
    return figure, Window(low, high)


def amount(text: str, figure: Figure) -> Fraction | None:
    """`5G`, `5GFLOPs` of FLOPs, `30M`, `30Mparams` of parameters; None for anything else."""
    found = _read(text)
    if found is None or found[2] not in (None, figure):
        return None
    return found[0] * _SUFFIX[found[1]]


def _read(text: str) -> tuple[Fraction, str, Figure | None] | None:
    """Digits, suffix and unit of `4.5GFLOPs`; None for anything else."""
    match = _WITH_UNIT.search(text)
    found = _AMOUNT.fullmatch(text[: match.start()].strip() if match else text.strip())
    if found is None:
        return None
    return Fraction(found[1]), found[2].lower(), _UNIT[match[1].lower()] if match else None


def _unread(text: str) -> BudgetError:
    from archspec import catalog
    from archspec.errors import suggestion

    near = suggestion(text, catalog.shipped()) if text[:1].isalpha() else None
    return _error(f"expected a budget, found {brief(text)}", near)


def _error(problem: str, hint: str | None = None) -> BudgetError:
    return BudgetError(problem, mark=Mark("--budget"), hint=hint or _EXAMPLES)
