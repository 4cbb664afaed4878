"""Classes from programs: equal structures are one class, and numbers that differ its arguments.

Blocks that a network uses in several sizes come out of lowering as separate programs. Here they are
laid on each other (anti-unification), the innermost first: what is the same in all of them stays a
literal, what differs becomes an argument, named after the axis whose size it is where it is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as List
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from archspec.codegen.arguments import Argument, Path, Slot, Value, resolve
from archspec.lower import interface
from archspec.program import Layer, Program, Sequence, Statement, class_name
from archspec.shape import CHANNELS, GRID

COUNT = "*"
"""In the path of a run of a sequence: how many there are."""

SIZES = frozenset(
    "in_channels out_channels in_features out_features num_features normalized_shape num_channels "
    "num_groups channels groups".split()
)
"""Keywords of layers that take the size of an axis, or a part or multiple of one."""


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
        self._members: dict[Class, set[str]] = {}
        groups: dict[Any, Class] = {}
        for program in network.programs():
            if id(program) not in self._places:
                group = groups.setdefault(self._structure(program), Class())
                self._places[id(program)] = (group, len(group.programs))
                group.programs.append(program)
                for name, member in program.members.items():
                    if isinstance(member, Program):
                        self._members.setdefault(self.of(member), set()).add(name)
        self.all = tuple(groups.values())
        for cls in self.all:
            self._find_varying(cls)
            slots = [tuple(self._slots(cls, program)) for program in cls.programs]
            shapes = [program.input_shapes[0] for program in cls.programs]
            columns = list(zip(*slots, strict=True))
            cls.arguments, cls.values = resolve(columns, shapes, cls.sample.members)
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
                likely = GRID if len(sizes) == len(GRID) else (None,) * len(sizes)
                for position, size in enumerate(sizes):
                    yield Slot((index, number, position), "size", size, True, likely[position])

    def _child_slots(
        self, path: Path, run: tuple[Program, ...], varying: tuple[str, ...]
    ) -> Iterator[Slot]:
        for argument in self.of(run[0]).arguments:
            given = self._given(argument, run)
            here = (*path, argument.name)
            if argument.name in varying:
                yield Slot(here, _plural(argument.name), given, is_list=True)
            else:
                yield Slot(
                    here, argument.name, given[0],
                    argument.is_size, argument.axis, argument.is_list,
                )  # fmt: skip

    # -- names -----------------------------------------------------------------------------------

    def _name(self, taken: frozenset[str]) -> None:
        network = self.all[-1]
        network.name = class_name(network.sample.name)
        if network.name in taken:  # a layer's name, such as that of `scale.yaml`
            network.name += "Network"
        used = {*taken, network.name}
        often = Counter(map(_class_name, self.all))
        for cls in self.all[:-1]:
            wanted, members = _class_name(cls), self._members.get(cls, set())
            if often[wanted] > 1 and len(members) == 1:
                wanted = class_name(*members)  # one block in two forms: TokenMlp and ChannelMlp
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
            is_size = name in SIZES and _is_whole(value)
            yield Slot((key, name), name, value, is_size, axis if is_size else None)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_number, value))
    return isinstance(value, int | float)


def _plural(name: str) -> str:
    if name == "p":
        return "rates"
    return name if name.endswith("s") else f"{name}s"
