"""Everything that `archspec build` knows, as plain data: what `--json` prints and tables show."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from archspec.counting import CostTable
from archspec.graph import Graph
from archspec.rename import positions
from archspec.resolution import size_dependence
from archspec.spec import Spec

if TYPE_CHECKING:
    from archspec.check import Check
    from archspec.measure import Measured


def facts(spec: Spec, graph: Graph, table: CostTable) -> dict[str, Any]:
    """The analytic figures. FLOPs are multiply-adds for one image; memory is in fp32 bytes.

    `other_operations` are those that fvcore leaves at zero; they are in no other figure.
    """
    layers = Counter(position.stage for position in positions(graph))
    stages = []
    for name, part in table.by_stage().items():
        node = next(node for node in graph.nodes if node.id == name)
        stages.append(
            {"name": name, "output": _shape(node.outputs[0]), "layers": layers[name]}
            | _figures(part)
        )
    shape = spec.input
    return {
        "name": spec.name,
        "about": spec.header.about,
        "source": spec.header.source,
        "digest": spec.digest,
        "input": [shape["channels"], shape["height"], shape["width"]],
        "classes": spec.classes,
        **_figures(table),
        "published": _published(spec, table),
        "stages": stages,
        "size_dependence": _size_dependence(spec, graph),
        "ops": [{"op": name} | _figures(part) for name, part in table.by_op().items()],
    }


def measured_facts(check: Check, measured: Measured) -> dict[str, Any]:
    """What was measured on the built module, and the verdict."""
    return {
        "fvcore_flops": check.total.measured_flops,
        "measured_params": check.total.measured_params,
        "torch_flops": check.torch_flops,
        "checked": [
            {
                "op": line.op,
                "params": line.params,
                "measured_params": line.measured_params,
                "flops": line.flops,
                "fvcore_flops": line.measured_flops,
                "agrees": line.agrees,
            }
            for line in check.lines
        ],
        "fvcore_kinds": measured.fvcore_kinds,
        "fvcore_uncounted": measured.uncounted,
        "differences": list(check.differences),
        "agrees": check.agrees,
    }


def _figures(table: CostTable) -> dict[str, int]:
    return {
        "params": int(table.params),
        "flops": int(table.flops),
        "macs": int(table.macs),
        "other_operations": int(table.other_operations),
        "activation_bytes": int(table.activation_bytes),
    }


def _size_dependence(spec: Spec, graph: Graph) -> dict[str, Any]:
    """Which parameters belong to this image size; `compared`: the other height and width."""
    found = size_dependence(spec, graph)
    return {
        "compared": None if found.compared is None else list(found.compared),
        "params": found.params,
        "places": [asdict(place) for place in found.places],
    }


def _published(spec: Spec, table: CostTable) -> dict[str, Any]:
    published, found = spec.header.published, dict[str, Any]()
    for key in ("params", "flops"):
        quantity = getattr(published, key)
        if quantity is not None:
            ours = int(getattr(table, key))
            found[key] = {
                "printed": quantity.text,
                "value": quantity.value,
                "verdict": quantity.verdict(ours),
                "agrees": quantity.agrees(ours),
            }
    if published.top1 is not None:
        found["top1"] = published.top1
    return found


def _shape(shape: Any) -> dict[str, int]:
    return {axis: int(shape[axis]) for axis in ("channels", *shape.others) if axis in shape}
