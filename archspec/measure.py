"""What others count on a built module: fvcore, PyTorch's own counter, and `numel`.

Nothing here reads the analytic rules; the figures come from the tensors that flow.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.nn.flop_count import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIZE_ARITHMETIC = ("add", "sub", "mul", "neg")
"""Ops that a trace also holds for arithmetic on sizes, which is no computation on the tensors."""


@dataclass(frozen=True)
class Measured:
    """Figures of one forward pass of one image, in eval mode.

    `flops` and `params` are by module path (a parameter belongs to the module that holds it).
    """

    flops: dict[str, int]
    params: dict[str, int]
    fvcore_kinds: dict[str, int]
    uncounted: dict[str, int]
    torch_flops: int

    @property
    def fvcore_flops(self) -> int:
        return sum(self.flops.values())

    @property
    def total_params(self) -> int:
        return sum(self.params.values())


def measure(module: nn.Module, image: tuple[int, int, int]) -> Measured:
    """Count a module with fvcore and with torch's FlopCounterMode.

    Args:
        module: takes (batch, channels, height, width); it is not changed.
        image: channels, height, width.
    """
    parameter = next(module.parameters(), None)
    dtype = parameter.dtype if parameter is not None else torch.float32
    device = parameter.device if parameter is not None else torch.device("cpu")
    x = torch.zeros(1, *image, dtype=dtype, device=device)
    was_training = module.training
    module.eval()
    try:
        analysis = FlopCountAnalysis(module, x)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        for op, handle in _HANDLES.items():
            analysis.set_op_handle(f"aten::{op}", handle)
        elementwise: Counter[str] = Counter()
        for op in SIZE_ARITHMETIC:
            analysis.set_op_handle(f"aten::{op}", _on_tensors(op, elementwise))
        with torch.no_grad():
            by_module = analysis.by_module_and_operator()
            kinds = analysis.by_operator()
            uncounted = analysis.unsupported_ops() + elementwise
            flops = _torch_flops(module, x)
    finally:
        module.train(was_training)
    own = _own({name: sum(counts.values()) for name, counts in by_module.items()})
    params = {
        name: sum(p.numel() for p in child.parameters(recurse=False))
        for name, child in module.named_modules()
    }
    return Measured(
        {name: flops for name, flops in own.items() if flops},
        {name: number for name, number in params.items() if number},
        {kind: int(flops) for kind, flops in sorted(kinds.items())},
        {op.removeprefix("aten::"): int(n) for op, n in sorted(uncounted.items())},
        flops,
    )


def _torch_flops(module: nn.Module, x: torch.Tensor) -> int:
    """What torch's FlopCounterMode says: two per multiply-add, products only."""
    counter = FlopCounterMode(display=False)
    # under no_grad a view of a parameter still asks for gradients, and the counter's hooks fail
    plain = {name: p.detach() for name, p in module.named_parameters()}
    with torch.no_grad(), counter:
        torch.func.functional_call(module, plain, (x,))
    return int(counter.get_total_flops())


def _own(inclusive: dict[str, Any]) -> dict[str, int]:
    """Each module's figure without its children's."""
    own: Counter[str] = Counter({name: int(value) for name, value in inclusive.items()})
    for name, value in inclusive.items():
        if name:
            parent = name.rpartition(".")[0]
            while parent and parent not in inclusive:
                parent = parent.rpartition(".")[0]
            own[parent] -= int(value)
    return dict(own)


def _shape(value: Any) -> list[int]:
    return list(value.type().sizes())


def _on_tensors(name: str, seen: Counter[str]) -> Any:
    """A handle that counts nothing, and notes in `seen` each use on tensors rather than sizes."""

    def handle(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        if _shape(outputs[0]):
            seen[name] += 1
        return Counter()

    return handle


def _matmul(inputs: list[Any], outputs: list[Any]) -> int:
    """fvcore's own handle is wrong when the left operand is broadcast."""
    return math.prod(_shape(outputs[0])) * _shape(inputs[0])[-1]


def _baddbmm(inputs: list[Any], outputs: list[Any]) -> int:
    """fvcore has no handle for this one; like addmm, the addition is not counted."""
    return math.prod(_shape(outputs[0])) * _shape(inputs[1])[-1]


def _norm(inputs: list[Any], outputs: list[Any]) -> int:
    """fvcore's own handle says the same, and refuses tensors of more than five dimensions."""
    has_weight = inputs[2].isCompleteTensor()
    return math.prod(_shape(inputs[0])) * (5 if has_weight else 4)


_HANDLES = {"matmul": _matmul, "baddbmm": _baddbmm, "layer_norm": _norm, "group_norm": _norm}

logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
