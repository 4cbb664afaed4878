"""Classes from programs: equal structures are one class, and numbers that differ its arguments.

Blocks that a network uses in several sizes come out of lowering as separate programs. Here they are
laid on each other (anti-unification), the innermost first: what is the same in all of them stays a
literal, what differs becomes an argument, named after the axis whose size it is where it is one.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Sequence as List
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from typing import Any, TypeAlias

from archspec.program import Layer, Local, Name, Program, Sequence, Statement, class_name, interface
from archspec.shape import CHANNELS, HEIGHT, TOKENS, WIDTH
from archspec.steps import RESERVED

Path: TypeAlias = "tuple[str | int, ...]"
"""A place in a program: (member, keyword), (member, run, argument) of a sequence, or
(statement, argument, position)."""

COUNT = "*"
"""In the path of a run of a sequence: how many there are."""

SIZES = frozenset(
    "in_channels out_channels in_features out_features num_features normalized_shape num_channels "
    "num_groups channels groups".split()
)
"""Keywords of layers that take the size of an axis, or a part or multiple of one."""


@dataclass(frozen=True, slots=True)
class Value:
    """What stands at a place in the source: a literal, or arithmetic on one or two arguments."""

    form: str
    names: tuple[str, ...] = ()

    def text(self, prefix: str = "") -> str:
        """As source; in a forward function the arguments are attributes, with prefix `self.`."""
        return self.form.format(*(prefix + name for name in self.names)) if self.names else self.form


@dataclass(frozen=True, slots=True)
class Slot:
    """A number in a program, and what is known about its meaning."""

    path: Path
    keyword: str
    value: Any
    is_size: bool = False
    axis: str | None = None
    """The axis whose size it probably is."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A constructor's argument, with its value in each program of the class."""

    name: str
    values: tuple[Any, ...]
    is_size: bool
    axis: str | None

    @property
    def annotation(self) -> str:
        return " | ".join(dict.fromkeys(_annotation(value) for value in self.values))


@dataclass(eq=False)
class Class:
    """Programs of equal structure."""

    programs: list[Program] = field(default_factory=list)
    name: str = ""
    arguments: tuple[Argument, ...] = ()
    values: dict[Path, Value] = field(default_factory=dict)
    varying: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    """(member, run) of a sequence: the arguments that differ from one repetition to the next."""

    @property
    def sample(self) -> Program:
        return self.programs[0]


class Classes:
    """The classes of a network, each after the ones it uses; the network's own is the last."""

    def __init__(self, network: Program, taken: frozenset[str]) -> None:
        """`taken` are names that no class may have."""
        self._places: dict[int, tuple[Class, int]] = {}
        groups: dict[Any, Class] = {}
        for program in network.programs():
            if id(program) not in self._places:
                group = groups.setdefault(self._structure(program), Class())
                self._places[id(program)] = (group, len(group.programs))
                group.programs.append(program)
        self.all = tuple(groups.values())
        for cls in self.all:
            self._find_varying(cls)
            slots = [tuple(self._slots(cls, program)) for program in cls.programs]
            _resolve(cls, list(zip(*slots, strict=True)))
        self._name(taken)

    def of(self, program: Program) -> Class:
        return self._places[id(program)][0]

    def runs(self, sequence: Sequence) -> tuple[tuple[Program, ...], ...]:
        """Neighbours of the same class, taken together."""
        return tuple(tuple(run) for _, run in groupby(sequence.items, key=self.of))

    # -- structure -------------------------------------------------------------------------------

    def _structure(self, program: Program) -> Any:
        """Equal for programs that differ in numbers only."""
        # stage2, stage3, …: one design at several sizes
        name = program.name.rstrip("0123456789") if program.kind == "stage" else program.name
        members: list[Any] = []
        for key, member in program.members.items():
            if isinstance(member, Layer):
                fixed = ((k, None if _is_number(v) else repr(v)) for k, v in member.kwargs.items())
                members.append((key, member.target, *fixed))
            elif isinstance(member, Sequence):
                members.append((key, "sequence", *(id(self.of(r[0])) for r in self.runs(member))))
            else:
                members.append((key, id(self.of(member))))
        axes = tuple(interface(shape) for shape in program.input_shapes)
        body = tuple(map(_statement, program.body))
        return name, program.kind, program.inputs, axes, tuple(members), body, program.result

    def _find_varying(self, cls: Class) -> None:
        for program in cls.programs:
            for key, member in program.members.items():
                if not isinstance(member, Sequence):
                    continue
                for number, run in enumerate(self.runs(member)):
                    known = cls.varying.get((key, number), ())
                    cls.varying[key, number] = tuple(
                        argument.name
                        for argument in self.of(run[0]).arguments
                        if argument.name in known or len(set(self._given(argument, run))) > 1
                    )

    def _given(self, argument: Argument, run: List[Program]) -> tuple[Any, ...]:
        return tuple(argument.values[self._places[id(program)][1]] for program in run)

    # -- slots -----------------------------------------------------------------------------------

    def _slots(self, cls: Class, program: Program) -> Iterator[Slot]:
        """The numbers of a program, in the same order for every program of its class."""
        for key, member in program.members.items():
            if isinstance(member, Layer):
                yield from _layer_slots(key, member, program)
            elif isinstance(member, Program):
                yield from self._child_slots((key,), (member,), ())
            else:
                for number, run in enumerate(self.runs(member)):
                    varying = cls.varying[key, number]
                    yield from self._child_slots((key, number), run, varying)
                    if not varying:
                        yield Slot((key, number, COUNT), "depth", len(run))
        for index, statement in enumerate(program.body):
            for number, sizes in _size_lists(statement):
                for position, size in enumerate(sizes):
                    yield Slot((index, number, position), "size", size, True)

    def _child_slots(
        self, path: Path, run: tuple[Program, ...], varying: tuple[str, ...]
    ) -> Iterator[Slot]:
        for argument in self.of(run[0]).arguments:
            given = self._given(argument, run)
            here = (*path, argument.name)
            if argument.name in varying:
                yield Slot(here, _plural(argument.name), given)
            else:
                yield Slot(here, argument.name, given[0], argument.is_size, argument.axis)

    # -- names -----------------------------------------------------------------------------------

    def _name(self, taken: frozenset[str]) -> None:
        network = self.all[-1]
        network.name = class_name(network.sample.name)
        used = {*taken, network.name}
        for cls in self.all[:-1]:
            wanted = _class_name(cls)
            cls.name, number = wanted, 1
            while cls.name in used:
                number += 1
                cls.name = f"{wanted}{number}"
            used.add(cls.name)


def _class_name(cls: Class) -> str:
    name, kind = cls.sample.name, cls.sample.kind
    if kind == "layer":  # one repetition of `layers`, or of a nameless `repeat`
        name = "layer" if name.startswith("repeat") else name.removesuffix("s")
    elif len({program.name for program in cls.programs}) > 1:
        name = name.rstrip("0123456789_")
    return class_name(name)


def _statement(statement: Statement) -> Any:
    sizes = dict(_size_lists(statement))
    args = (len(sizes[i]) if i in sizes else repr(arg) for i, arg in enumerate(statement.args))
    return statement.results, statement.kind, statement.target, *args, repr(statement.kwargs)


def _size_lists(statement: Statement) -> Iterator[tuple[int, List[int]]]:
    """Arguments that are lists of sizes, as those of `unflatten` and `torch.split`."""
    for number, arg in enumerate(statement.args):
        if isinstance(arg, tuple | list) and all(_is_whole(item) for item in arg):
            yield number, arg


def _layer_slots(key: str, layer: Layer, program: Program) -> Iterator[Slot]:
    order = interface(program.input_shapes[0])
    dim = layer.kwargs.get("dim", -1)
    axis = order[dim] if layer.target == "AxisLinear" and dim < len(order) else CHANNELS
    for name, value in layer.kwargs.items():
        if _is_number(value):
            is_size = name in SIZES
            yield Slot((key, name), name, value, is_size, axis if is_size else None)


# -- from numbers to arguments -----------------------------------------------------------------------


@dataclass
class _Free:
    """A number that differs, and is not the size of an axis: an argument of its own."""

    slots: list[Slot]
    values: tuple[Any, ...]


def _resolve(cls: Class, columns: list[tuple[Slot, ...]]) -> None:
    """Find the arguments of a class, and what to write at each slot."""
    axes = _axis_names(cls)
    sizes = {
        axis: tuple(program.input_shapes[0][axis] for program in cls.programs) for axis in axes
    }
    used: set[str] = set()
    free: list[_Free] = []
    for column in columns:
        slot, values = column[0], tuple(entry.value for entry in column)
        if len({repr(value) for value in values}) == 1:
            cls.values[slot.path] = Value(literal(values[0]))
        elif slot.is_size and (found := _of_axes(values, slot.axis, sizes)) is not None:
            form, names = found
            used.update(names)
            cls.values[slot.path] = Value(form, tuple(axes[name] for name in names))
        else:
            _collect(free, slot, values)
    arguments = [Argument(axes[axis], sizes[axis], True, axis) for axis in axes if axis in used]
    taken = {*axes.values(), *cls.sample.members, *RESERVED}
    keywords = [entry.slots[0].keyword for entry in free]
    for entry in free:
        first = entry.slots[0]
        name = first.keyword
        if name in taken or keywords.count(name) > 1:
            member = first.path[0]
            name = f"{member}_{name}" if isinstance(member, str) else name
        wanted, number = name, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        arguments.append(Argument(name, entry.values, first.is_size, first.axis))
        for slot in entry.slots:
            cls.values[slot.path] = Value("{}", (name,))
    cls.arguments = tuple(arguments)


def _collect(free: list[_Free], slot: Slot, values: tuple[Any, ...]) -> None:
    """Add a slot; those that are always equal and of one kind share an argument."""
    for entry in free:
        first = entry.slots[0]
        alike = slot.is_size and first.is_size or slot.keyword == first.keyword
        if alike and entry.values == values:
            entry.slots.append(slot)
            return
    free.append(_Free([slot], values))


def _axis_names(cls: Class) -> dict[str, str]:
    """The axes of the input, the usual ones first, and what an argument for each is called."""
    shape = cls.sample.input_shapes[0]
    usual = [axis for axis in (CHANNELS, HEIGHT, WIDTH, TOKENS) if axis in shape]
    bad = {*cls.sample.members, *RESERVED}
    return {
        axis: f"{axis}_size" if axis in bad or keyword.iskeyword(axis) else axis
        for axis in dict.fromkeys((*usual, *shape))
    }


def _of_axes(
    values: tuple[int, ...], likely: str | None, sizes: dict[str, tuple[int, ...]]
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


# -- literals ----------------------------------------------------------------------------------------


def literal(value: Any) -> str:
    """A constant as source."""
    if isinstance(value, Name | Local):
        return value.name if isinstance(value, Local) else str(value)
    if isinstance(value, str):
        return '"' + repr(f"'{value}")[2:-1].replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_number, value))
    return isinstance(value, int | float)


def _annotation(value: Any) -> str:
    if not isinstance(value, tuple):
        return type(value).__name__
    kinds = [_annotation(item) for item in value]
    if len(kinds) == 2 and isinstance(value[0], int):
        return f"tuple[{', '.join(kinds)}]"
    return f"tuple[{' | '.join(dict.fromkeys(kinds))}, ...]"


def _plural(name: str) -> str:
    if name == "p":
        return "rates"
    return name if name.endswith("s") else f"{name}s"
