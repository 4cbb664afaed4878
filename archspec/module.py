"""From a program to a `torch.nn.Module`.

Each program becomes a torch.fx GraphModule: straight-line Python that PyTorch itself can copy,
pickle, export and compile.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from archspec import layers
from archspec.program import Layer, Local, Member, Name, Program, Sequence, class_name

_ROOTS: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "operator": operator}


def resolve(target: str) -> Any:
    """What a dotted name in a program stands for."""
    head, *rest = target.split(".")
    found: Any = _ROOTS[head] if rest else getattr(layers, head)
    for part in rest:
        found = getattr(found, part)
    return found


def to_module(program: Program) -> nn.Module:
    """The module of a program, freshly initialised as PyTorch initialises its layers."""
    root = nn.Module()
    for name, member in program.members.items():
        root.add_module(name, _member(member))
    graph = fx.Graph()
    values: dict[str, Any] = {name: graph.placeholder(name) for name in program.inputs}

    def argument(value: Any) -> Any:
        if isinstance(value, Local):
            return values[value.name]
        if isinstance(value, Name):
            return resolve(value)
        if isinstance(value, list):
            return [argument(item) for item in value]
        return value

    for statement in program.body:
        args = tuple(argument(arg) for arg in statement.args)
        kwargs = {key: argument(value) for key, value in statement.kwargs.items()}
        if statement.kind == "module":
            node = graph.call_module(statement.target, args, kwargs)
        elif statement.kind == "function":
            node = graph.call_function(resolve(statement.target), args, kwargs)
        else:
            node = graph.call_method(statement.target, args, kwargs)
        if len(statement.results) == 1:
            values[statement.results[0]] = node
        else:
            for index, name in enumerate(statement.results):
                values[name] = graph.call_function(operator.getitem, (node, index))
    graph.output(values[program.result])
    return fx.GraphModule(root, graph, class_name=class_name(program.name))


def _member(member: Member) -> nn.Module:
    if isinstance(member, Layer):
        made = resolve(member.target)(**member.kwargs)
        assert isinstance(made, nn.Module)
        return made
    if isinstance(member, Sequence):
        return nn.Sequential(*(to_module(item) for item in member.items))
    return to_module(member)
