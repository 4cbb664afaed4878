"""Figures and names as the report writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
UNITS = {
    "accuracy": ("accuracy (%)", 100.0),
    "flops": ("FLOPs", 1.0),
    "params": ("parameters", 1.0),
    "latency": ("latency (ms)", 1e3),
}
"""Figure → its axis label, and what it is multiplied with to be drawn there."""


def figure(value: float | None) -> str:
    """`5.012 G`, `24.12 M`: four significant digits; `–` for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    for prefix, scale in _PREFIXES:
        if abs(value) >= scale:
            return f"{_digits(value / scale)} {prefix}"
    return f"{value:,.0f}" if value == int(value) else _digits(value)


def _digits(value: float) -> str:
    size = math.floor(math.log10(abs(value))) if value else 0
    if size < -4:
        return f"{value:.3g}"
    return f"{value:.{max(0, 3 - size)}f}"


def percent(value: float | None) -> str:
    """A share as `81.94 %`."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.2f} %"


def change(ours: float, theirs: float) -> str:
    """`+3.1 %`, `−0.5 %`: how much more ours is."""
    if not theirs:
        return "–"
    share = 100 * (ours / theirs - 1)
    return "=" if ours == theirs else f"{share:+.1f} %".replace("-", "−")


def reading(objective: str, value: float | None) -> str:
    """A value of an objective (or score), as text."""
    if objective == "latency":
        return "–" if value is None else f"{_digits(1e3 * value)} ms"
    return percent(value) if objective == "accuracy" else figure(value)


def label(name: str) -> str:
    """The label of an axis, with its unit where the figure has one."""
    return UNITS[name][0] if name in UNITS else name


def scaled(name: str, value: float) -> float:
    """A figure in the unit of `label`."""
    return value * UNITS[name][1] if name in UNITS else value


def duration(seconds: float | None) -> str:
    """`41.2 s`, `12 min 05 s`, `3 h 20 min`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def plain(value: Any) -> str:
    """A choice, or an entry of the plan, as a reader writes it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(entry) for entry in value)
    return str(value)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Holes by shorter names where that stays clear: `stages.stage1.vars.alpha` → `stage1.alpha`.

    A place in the spec stays as it is when two would share the shorter name.
    """
    names = list(dict.fromkeys(names))
    shorter = {name: name.removeprefix("stages.").replace(".vars.", ".") for name in names}
    counts: dict[str, int] = {}
    for short in shorter.values():
        counts[short] = counts.get(short, 0) + 1
    return {name: short if counts[short] == 1 else name for name, short in shorter.items()}


def cut(text: str, length: int = 36) -> str:
    """One line of at most so many characters, for a place in a picture."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def many(count: int, noun: str) -> str:
    """`1 trial`, `60 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
