"""The analytic figures beside the measured ones, op kind by op kind, and a verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from archspec.counting import CostTable, Written, written_out
from archspec.graph import Graph
from archspec.measure import Measured

OUTSIDE = "(no op)"
"""Stands for what was measured where the graph has no op: always a defect."""
_OUTSIDE = Written(OUTSIDE, 0, 0)


@dataclass(frozen=True)
class Line:
    """One op kind: our figures, and those measured on the modules that these ops became."""

    op: str
    params: int
    measured_params: int
    flops: int
    measured_flops: int

    @property
    def agrees(self) -> bool:
        return self.params == self.measured_params and self.flops == self.measured_flops


@dataclass(frozen=True)
class Check:
    """All lines, the totals, and the second witness for multiply-adds."""

    lines: tuple[Line, ...]
    total: Line
    macs: int
    torch_flops: int
    differences: tuple[str, ...]
    """Where they differ, each as one sentence."""

    @property
    def agrees(self) -> bool:
        return not self.differences


def check(graph: Graph, table: CostTable, measured: Measured) -> Check:
    """Compare, at every op of the network on its own."""
    kinds = written_out(graph)
    ours: dict[str, Counter[str]] = {}
    for name, part in table.by_op().items():
        ours[name] = Counter(params=int(part.params), flops=int(part.flops))
    theirs: dict[str, Counter[str]] = {}
    for figure, by_path in (("params", measured.params), ("flops", measured.flops)):
        for path, amount in by_path.items():
            kind = kinds.get(path, _OUTSIDE).op
            theirs.setdefault(kind, Counter())[figure] += amount
    lines = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name, Counter()), theirs.get(name, Counter())
        if any(a.values()) or any(b.values()):
            lines.append(Line(name, a["params"], b["params"], a["flops"], b["flops"]))
    total = Line(
        "total", int(table.params), measured.total_params, int(table.flops), measured.fvcore_flops
    )
    return Check(
        tuple(lines), total, int(table.macs), measured.torch_flops,
        tuple(_differences(kinds, table, measured)),
    )  # fmt: skip


def _differences(kinds: dict[str, Written], table: CostTable, measured: Measured) -> list[str]:
    found = []
    for path in dict.fromkeys([*kinds, *measured.params, *measured.flops]):
        kind, params, flops = kinds.get(path, _OUTSIDE)
        place = f"{path or 'the network itself'} ({kind.strip('()')})"
        if params != measured.params.get(path, 0):
            found.append(
                f"{place}: {params:,} parameters by rule, {measured.params.get(path, 0):,} by numel"
            )
        if flops != measured.flops.get(path, 0):
            found.append(
                f"{place}: {flops:,} FLOPs by rule, {measured.flops.get(path, 0):,} by fvcore"
            )
    if 2 * int(table.macs) != measured.torch_flops:
        found.append(
            f"multiply-adds: 2 × {int(table.macs):,} by rule, {measured.torch_flops:,} "
            "by torch's FlopCounterMode"
        )
    return found
