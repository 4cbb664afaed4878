"""The winner beside its reference: figures, stage by stage, and both drawn."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archspec.spec import Spec


@dataclass(frozen=True)
class Side:
    """One network of the two."""

    name: str
    flops: int
    params: int
    top1: float | None
    """Published ImageNet top-1 in percent."""
    stages: dict[str, dict[str, Any]]
    """Stage → `layers` (0 where nothing is repeated), `width` (in channels; None for the head),
    `flops`, `params` and `vars`."""
    drawing: str
    """An SVG document."""


def side(spec: Spec) -> Side:
    """Everything that the page shows of a network.

    Raises:
        SpecError: the spec has unfilled holes, or describes no network.
    """
    from archspec.counting import count
    from archspec.draw import draw
    from archspec.expansion import expand
    from archspec.rename import positions

    graph = expand(spec)
    table = count(graph)
    layers = Counter(position.stage for position in positions(graph))
    named = {stage.name for stage in spec.stages}
    outputs = {node.id: node.outputs[0] for node in graph.nodes}
    stages = {
        name: {
            "layers": layers[name],
            "width": int(outputs[name].channels) if name in named else None,
            "flops": int(part.flops),
            "params": int(part.params),
            "vars": _variables(spec, name),
        }
        for name, part in table.by_stage().items()
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.svg"
        draw(graph, file)
        drawing = file.read_text(encoding="utf-8")
    top1 = spec.header.published.top1
    return Side(spec.name, int(table.flops), int(table.params), top1, stages, drawing)


def _variables(spec: Spec, stage: str) -> dict[str, Any]:
    """What a stage's steps may read: its own variables before the network's; {} for stem, head."""
    own = next((entry.vars for entry in spec.stages if entry.name == stage), None)
    if own is None:
        return {}
    return {name: node.plain() for name, node in (*spec.vars.items(), *own.items())}


def stage_variables(*specs: Spec) -> list[str]:
    """Variables that a stage of one of the networks sets for itself, such as `alpha`."""
    names = (name for spec in specs for stage in spec.stages for name in stage.vars)
    return list(dict.fromkeys(names))
