"""What a module computes beside multiply-adds and norms, counted from the calls that it makes.

Nothing here knows of the ops' rules: each call's figure comes from its tensors, and that of an
activation from the calls that PyTorch itself decomposes it into.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

COMPUTING = {
    "add", "sub", "mul", "div", "exp", "erf", "tanh", "sin", "cos", "le", "ge", "gt", "amax", "sum",
}  # fmt: skip
"""What counts of a decomposition. The rest turns signs, selects, repeats, or looks for NaN."""

OTHERWISE = {
    "mm", "bmm", "native_layer_norm", "native_group_norm", "native_batch_norm",
}  # fmt: skip
"""What fvcore counts."""

FREE = {
    "t", "permute", "transpose", "view", "_unsafe_view", "expand", "slice", "select", "split",
    "split_with_sizes", "unsqueeze", "clone", "cat", "roll", "constant_pad_nd", "view_as_complex",
    "view_as_real", "_to_copy", "unbind", "empty", "stack", "unfold", "zeros_like", "flip",
}  # fmt: skip
"""What only moves values, or makes constants."""


class Operations(TorchDispatchMode):
    """Adds up what the calls made under it compute."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.is_constant = False
        """Whether what is made does not depend on the image."""
        self._real: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.is_constant:
            return out
        name = func.overloadpacket.__name__
        if name == "_to_copy" and out.is_complex() and not args[0].is_complex():
            self._real.append(out)
        if name == "_fft_c2c" and any(args[0] is real for real in self._real):
            # PyTorch makes real numbers complex before it transforms along several dimensions
            self.total += _transformed(args[0], args[1], 2.5)
        else:
            self.total += _of_call(func, args, kwargs or {}, out)
        return out


def other_operations(module: nn.Module, images: Tensor) -> int:
    """Those of one forward pass in eval mode, not those of constants that are made in it."""
    counted = Operations()

    def around(is_constant: bool) -> Callable[..., None]:
        return lambda *_: setattr(counted, "is_constant", is_constant)

    for layer in module.modules():
        if type(layer).__name__ == "ShiftedWindowMask":
            layer.register_forward_pre_hook(around(True))
            layer.register_forward_hook(around(False))
    with torch.no_grad(), counted:
        module.eval()(images)
    return counted.total


def _of_call(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> int:
    name = func.overloadpacket.__name__
    if name in OTHERWISE or name in FREE:
        return 0
    if name in CALLS:
        return CALLS[name](args, kwargs, out)
    assert func in decomposition_table, f"{func} is not known to the count"
    return out.numel() * _decomposed(func, out.ndim, tuple(args[1:]), tuple(kwargs.items()))


@cache
def _decomposed(
    func: Any, dimensions: int, arguments: tuple[Any, ...], named: tuple[tuple[str, Any], ...]
) -> int:
    """Computing calls for each element."""
    traced = make_fx(
        lambda x: func(x, *arguments, **dict(named)), decomposition_table=decomposition_table
    )(torch.randn((2,) * dimensions, dtype=torch.float64))
    calls = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert all(call.namespace == "prims" for call in calls), calls
    return sum(call.overloadpacket.__name__ in COMPUTING for call in calls)


def _elements(args: Any, kwargs: Any, out: Tensor) -> int:
    return out.numel()


def _multiplied(args: Any, kwargs: Any, out: Tensor) -> int:
    # (a + ib)(c + id) = ac - bd + i(ad + bc)
    return out.numel() * (6 if out.is_complex() else 1)


def _reduced(args: Any, kwargs: Any, out: Tensor) -> int:
    return int(args[0].numel())


def _pooled(args: Any, kwargs: Any, out: Any) -> int:
    pooled = out[0] if isinstance(out, tuple) else out
    sides = args[1] if len(args[1]) == 2 else args[1] * 2
    return int(pooled.numel() * math.prod(sides))


def _transformed(signal: Tensor, dims: list[int], each: float) -> int:
    n = math.prod(signal.shape[dim] for dim in dims)
    return signal.numel() // n * round(each * n * math.log2(n))


CALLS: dict[str, Callable[[Any, Any, Any], int]] = {
    "add": _elements,
    "sub": _elements,
    "div": _elements,
    "mul": _multiplied,
    "addcmul": lambda args, kwargs, out: 2 * out.numel(),
    "addmm": _elements,
    "baddbmm": _elements,
    "convolution": lambda args, kwargs, out: 0 if args[2] is None else out.numel(),
    "mean": _reduced,
    "amax": _reduced,
    "avg_pool2d": _pooled,
    "max_pool2d_with_indices": _pooled,
    "_fft_r2c": lambda args, kwargs, out: _transformed(args[0], args[1], 2.5),
    "_fft_c2r": lambda args, kwargs, out: _transformed(out, args[1], 2.5),
    "_fft_c2c": lambda args, kwargs, out: _transformed(args[0], args[1], 5),
}
