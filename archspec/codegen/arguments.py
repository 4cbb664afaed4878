"""Numbers that differ between programs of one structure, as arguments of their class.

What is the same in all of them stays a literal; what differs is written with the sizes of the
input's axes where it is a multiple or a part of one, and gets a name of its own otherwise.
"""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from archspec.files import unique
from archspec.names import RESERVED
from archspec.program import Local, Name
from archspec.shape import CHANNELS, HEIGHT, TOKENS, WIDTH, Shape

Path: TypeAlias = "tuple[str | int, ...]"
"""A place in a program: (member, keyword), (member, run, argument) of a sequence, or
(statement, argument, position)."""

Sizes: TypeAlias = "dict[str, tuple[int, ...]]"
"""Axis → its size in each program."""


@dataclass(frozen=True, slots=True)
class Value:
    """What stands at a place in the source: a literal, or arithmetic on one or two arguments."""

    form: str
    names: tuple[str, ...] = ()

    def text(self, prefix: str = "") -> str:
        """As source; in a forward function the arguments are attributes, with prefix `self.`."""
        if not self.names:
            return self.form  # a literal, which may hold braces
        return self.form.format(*(prefix + name for name in self.names))


@dataclass(frozen=True, slots=True)
class Slot:
    """A number in a program, and what is known about its meaning."""

    path: Path
    keyword: str
    value: Any
    is_size: bool = False
    axis: str | None = None
    """The axis whose size it probably is."""
    is_list: bool = False
    """Whether it has a value for each repetition of a run."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A constructor's argument, with its value in each program of the class."""

    name: str
    values: tuple[Any, ...]
    is_size: bool = False
    axis: str | None = None
    is_list: bool = False

    @property
    def annotation(self) -> str:
        if self.is_list:
            return f"tuple[{_union(item for value in self.values for item in value)}, ...]"
        return _union(self.values)


@dataclass
class _Free:
    """A number that differs, and is not the size of an axis: an argument of its own."""

    slots: list[Slot]
    values: tuple[Any, ...]

    @property
    def keyword(self) -> str:
        keywords = {slot.keyword for slot in self.slots}
        return "patch_size" if keywords == PATCH else self.slots[0].keyword


PATCH = {"kernel_size", "stride"}
"""Where these are always equal, they are the size of a patch."""


@dataclass
class _Part:
    """A slot that is the size of an axis over a free number: height // patch_size."""

    slot: Slot
    axis: str
    divisor: _Free


def resolve(
    columns: Sequence[tuple[Slot, ...]], shapes: Sequence[Shape], members: Collection[str]
) -> tuple[tuple[Argument, ...], dict[Path, Value]]:
    """The arguments of a class, and what to write at each slot.

    Args:
        columns: each slot, as it is in every program of the class.
        shapes: each program's (first) input.
        members: names of submodules, which arguments must not have.
    """
    axes = _axis_names(shapes[0], members)
    sizes = {axis: tuple(shape[axis] for shape in shapes) for axis in axes}
    values: dict[Path, Value] = {}
    used: set[str] = set()
    free: list[_Free] = []
    parts: list[_Part] = []
    for column in columns:
        slot, given = column[0], tuple(entry.value for entry in column)
        if len({repr(value) for value in given}) == 1:
            values[slot.path] = Value(literal(given[0]))
        elif slot.is_size and (found := _of_axes(given, slot.axis, sizes)) is not None:
            form, read = found
            used.update(read)
            values[slot.path] = Value(form, tuple(axes[axis] for axis in read))
        elif slot.is_size and (part := _part(slot, given, sizes, free)) is not None:
            used.add(part.axis)
            parts.append(part)
        else:
            _collect(free, slot, given)
    arguments = [Argument(axes[axis], sizes[axis], True, axis) for axis in axes if axis in used]
    names = _free_names(free, {*axes.values(), *members, *RESERVED})
    for entry, name in zip(free, names, strict=True):
        first = entry.slots[0]
        arguments.append(Argument(name, entry.values, first.is_size, first.axis, first.is_list))
        values |= {slot.path: Value("{}", (name,)) for slot in entry.slots}
    for part in parts:
        divisor = names[free.index(part.divisor)]
        values[part.slot.path] = Value("{} // {}", (axes[part.axis], divisor))
    return tuple(arguments), values


def _axis_names(shape: Shape, members: Collection[str]) -> dict[str, str]:
    """The axes of the input, the usual ones first, and what an argument for each is called."""
    usual = [axis for axis in (CHANNELS, HEIGHT, WIDTH, TOKENS) if axis in shape]
    bad = {*members, *RESERVED, *dir(builtins), *keyword.kwlist}
    return {
        axis: f"{axis}_size" if axis in bad or not axis.islower() else axis
        for axis in dict.fromkeys((*usual, *shape))
    }


def _of_axes(
    values: tuple[int, ...], likely: str | None, sizes: Sizes
) -> tuple[str, tuple[str, ...]] | None:
    """Arithmetic on the sizes of axes that gives `values` in every program, if there is some."""
    if likely in sizes and (form := _multiple(values, sizes[likely])):
        return form, (likely,)
    for axis, given in sizes.items():
        if values == given:
            return "{}", (axis,)
    if HEIGHT in sizes and WIDTH in sizes:
        positions = tuple(h * w for h, w in zip(sizes[HEIGHT], sizes[WIDTH], strict=True))
        if values == positions:
            return "{} * {}", (HEIGHT, WIDTH)
    for axis, given in sizes.items():
        if form := _multiple(values, given):
            return form, (axis,)
    return None


def _multiple(values: tuple[int, ...], sizes: tuple[int, ...]) -> str | None:
    ratios = {Fraction(value, size) for value, size in zip(values, sizes, strict=True)}
    if len(ratios) > 1:
        return None
    ratio = ratios.pop()
    times = "{}" if ratio.numerator == 1 else f"{ratio.numerator} * {{}}"
    return times if ratio.denominator == 1 else f"{times} // {ratio.denominator}"


def _part(slot: Slot, values: tuple[int, ...], sizes: Sizes, free: list[_Free]) -> _Part | None:
    if slot.axis not in sizes:
        return None
    for entry in free:
        if entry.keyword in ("stride", "patch_size") and all(
            isinstance(stride, int) and size == stride * value
            for size, stride, value in zip(sizes[slot.axis], entry.values, values, strict=True)
        ):
            return _Part(slot, slot.axis, entry)
    return None


def _collect(free: list[_Free], slot: Slot, values: tuple[Any, ...]) -> None:
    """Add a slot; those that are always equal and of one kind share an argument."""
    for entry in free:
        first = entry.slots[0]
        alike = (
            (slot.is_size and first.is_size)
            or slot.keyword == first.keyword
            or {slot.keyword, first.keyword} == PATCH
        )
        if alike and entry.values == values:
            entry.slots.append(slot)
            return
    free.append(_Free([slot], values))


def _free_names(free: list[_Free], taken: set[str]) -> list[str]:
    """The keyword; with the member's name in front where several differ."""
    keywords = [entry.keyword for entry in free]
    names = []
    for entry in free:
        name, member = entry.keyword, entry.slots[0].path[0]
        if isinstance(member, str) and (name in taken or keywords.count(name) > 1):
            name = f"{member}_{name}"
        names.append(unique(name, taken))
    return names


def literal(value: Any) -> str:
    """A constant as source."""
    if isinstance(value, Name | Local):
        return value.name if isinstance(value, Local) else str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        if (schedule := _schedule(value)) is not None:
            return schedule
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return re.sub(r"e-0(\d)$", r"e-\1", repr(value))


def _schedule(values: tuple[Any, ...]) -> str | None:
    """A long list of rates that grow linearly, as the formula that gives exactly these."""
    if len(values) < 6 or not all(isinstance(value, float) for value in values):
        return None
    step = (values[-1] - values[0]) / (len(values) - 1)
    if step <= 0:
        return None
    start = round(values[0] / step)
    indices = range(start, start + len(values))
    for count in range(indices[-1], 1000):
        rate = round(step * count, 3)
        if values == tuple(round(rate * i / count, 6) for i in indices):
            return f"tuple(round({rate} * i / {count}, 6) for i in range({start}, {indices.stop}))"
    return None


def _union(values: Iterable[Any]) -> str:
    return " | ".join(dict.fromkeys(map(_annotation, values)))


def _annotation(value: Any) -> str:
    if isinstance(value, tuple):
        pair = ", ".join(map(_annotation, value))
        return f"tuple[{pair if len(value) == 2 else f'{_union(value)}, ...'}]"
    return type(value).__name__
