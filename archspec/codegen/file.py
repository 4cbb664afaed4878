"""A network as one plain PyTorch file that anyone can read, run and change without archspec."""

from __future__ import annotations

import ast
import re
import textwrap
from functools import cache
from importlib import resources

from archspec.codegen.arguments import Path, Value, literal
from archspec.codegen.classes import COUNT, Class, Classes
from archspec.codegen.forward import forward
from archspec.codegen.pretty import WIDTH, Bracket, Doc, call, lines
from archspec.lower import interface
from archspec.program import Layer, Member, Program
from archspec.shape import CHANNELS

IMPORTS = {
    "operator": "import operator",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
}
POSITIONAL = frozenset(
    "in_channels out_channels in_features out_features num_features normalized_shape num_groups "
    "num_channels channels p".split()
)
"""Arguments that read well without their name, where they come first."""


def emit(program: Program, *, about: str = "") -> str:
    """The source of a network: one file that imports nothing but torch.

    The class is named after the network and takes no arguments. It has the same state dict (names,
    order and shapes) as `archspec.module.to_module` makes of the same program, computes the same
    bits, and is initialised alike from the same seed.

    Args:
        program: the network, from `archspec.lower.lower`.
        about: a sentence on the network, for the head of the file.
    """
    layers = _layers()
    classes = Classes(program, frozenset({*layers, "Tensor", "F"}))
    taken = frozenset({*layers, *IMPORTS, "Tensor", "nn", "self"})
    written = ["\n".join(_class(cls, classes, taken)) for cls in classes.all]
    used = _used(_targets(classes), layers)
    parts = [*(layers[name] for name in layers if name in used), *written]
    names = _names("\n".join(parts))
    imports = [line for name, line in IMPORTS.items() if name in names]
    head = "\n".join([*_header(program, about), "", *imports, "from torch import Tensor, nn"])
    if any(re.search(r"\w_[A-Z]{2,}\b", layers[name]) for name in used):
        head += f"\n\n{_shapes()}"
    return "\n\n\n".join([head, *parts]) + "\n"


def _header(program: Program, about: str) -> list[str]:
    sizes = ", ".join(str(size) for size in program.input_shapes[0].values())
    words = "".join(c if c.isprintable() else " " for c in about).replace("\\", "\\\\")
    words = words.replace('"', "'")
    title = f"{program.name}: {words}" if words.strip() else f"{program.name}."
    return [
        *textwrap.wrap(f'"""{title}', WIDTH, break_long_words=False, break_on_hyphens=False),
        "",
        f"Input: images (batch, {sizes}). Written by archspec; needs torch and nothing else.",
        '"""',
    ]


# -- layers that PyTorch lacks ---------------------------------------------------------------------


@cache
def _layers_text() -> str:
    return resources.files("archspec").joinpath("layers.py").read_text(encoding="utf-8")


@cache
def _layers() -> dict[str, str]:
    """The source of each definition in archspec.layers, by name. Reading it needs no torch."""
    text = _layers_text()
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = ast.get_source_segment(text, node) or ""
    return found


def _names(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def _used(wanted: set[str], layers: dict[str, str]) -> set[str]:
    """The layers that are wanted, and those that they use."""
    used: set[str] = set()
    todo = wanted & set(layers)
    while todo:
        name = todo.pop()
        used.add(name)
        todo |= _names(layers[name]) & set(layers) - used
    return used


def _shapes() -> str:
    """What the letters in the layers' variables mean, as a comment."""
    doc = ast.get_docstring(ast.parse(_layers_text())) or ""
    letters = next((part for part in doc.split("\n\n") if part.startswith("Shapes:")), "")
    return textwrap.fill(letters, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _targets(classes: Classes) -> set[str]:
    samples = [cls.sample for cls in classes.all]
    found = {s.target for program in samples for s in program.body if s.kind == "function"}
    members = [member for program in samples for member in program.members.values()]
    return found | {member.target for member in members if isinstance(member, Layer)}


# -- classes ---------------------------------------------------------------------------------------


def _class(cls: Class, classes: Classes, taken: frozenset[str]) -> list[str]:
    program = cls.sample
    made = [f"class {cls.name}(nn.Module):", *_docstring(program)]
    arguments = [f"{argument.name}: {argument.annotation}" for argument in cls.arguments]
    body = forward(cls, taken)
    stored = [a.name for a in cls.arguments if any(f"self.{a.name}" in line for line in body)]
    if program.members or stored:
        made += lines("def __init__", Bracket("(", ("self", *arguments)), " -> None:", depth=1)
        made.append("        super().__init__()")
        made += [f"        self.{name} = {name}" for name in stored]
        for name, member in program.members.items():
            made += lines(f"self.{name} = ", _member(name, member, cls, classes), depth=2)
        made.append("")
    return [*made, *body]


def _docstring(program: Program) -> list[str]:
    if program.kind == "network":
        return [f'    """{program.name}: images in, one value per class out."""', ""]
    orders = [f"({', '.join(interface(shape))})" for shape in program.input_shapes]
    return [f'    """Input: {" and ".join(orders)}."""', ""]


def _member(name: str, member: Member, cls: Class, classes: Classes) -> Doc:
    if isinstance(member, Layer):
        return _layer(name, member, cls)
    if isinstance(member, Program):
        return _construct(classes.of(member), (name,), cls)
    items = [
        _run((name, number), run, cls, classes) for number, run in enumerate(classes.runs(member))
    ]
    return call("nn.Sequential", items)


def _layer(name: str, layer: Layer, cls: Class) -> Doc:
    arguments: list[Doc] = []
    is_leading = True
    for key, given in layer.kwargs.items():
        value = cls.values.get((name, key), Value(literal(given))).text()
        is_leading = is_leading and key in POSITIONAL
        if key != "bias" or value != "True":  # the default everywhere
            arguments.append(value if is_leading else f"{key}={value}")
    return call(layer.target, arguments)


def _construct(child: Class, path: Path, cls: Class, varying: dict[str, str] | None = None) -> Doc:
    """The call that makes a child; `varying` are loop variables that stand for some arguments."""
    arguments: list[Doc] = []
    for position, argument in enumerate(child.arguments):
        name = argument.name
        value = varying[name] if varying and name in varying else cls.values[*path, name].text()
        first = position == 0 and argument.axis == CHANNELS
        arguments.append(_breakable("" if first else f"{name}=", value))
    return call(child.name, arguments)


def _breakable(before: str, value: str) -> Doc:
    """A value that can be listed one item a line when it is a long tuple."""
    if value.startswith("(") and "(" not in value[1:]:
        return Bracket(f"{before}(", tuple(value[1:-1].split(", ")))
    return f"{before}{value}"


def _run(path: Path, run: tuple[Program, ...], cls: Class, classes: Classes) -> Doc:
    """Repetitions of one class within an nn.Sequential."""
    child, varying = classes.of(run[0]), cls.varying[path]
    if varying:
        own = {argument.name for argument in cls.arguments}
        loop = {name: f"each_{name}" if name in own else name for name in varying}
        values = [cls.values[*path, name].text() for name in varying]
        each = values[0] if len(values) == 1 else f"zip({', '.join(values)}, strict=True)"
        head = _breakable(f"for {', '.join(loop.values())} in ", each)
        return Bracket("*(", (_construct(child, path, cls, loop), head), is_generator=True)
    count, made = cls.values[*path, COUNT].text(), _construct(child, path, cls)
    if count == "1":
        return made
    return Bracket("*(", (made, f"for _ in range({count})"), is_generator=True)
