"""What each layer of the stand-in's networks computes, in torch.

FOR TESTS ONLY. A layer is a function of its input tensors, by their position, and of the attributes
that converters set on it; the names of arguments are those of TensorRT's Python interface.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Inputs = dict[int, Tensor]
Dims = tuple[int, ...] | None

SHAPE_INPUTS = {"shuffle": (1,), "slice": (1, 2, 3)}
"""Inputs that say a shape: they have values always."""


def arguments(kind: str) -> list[str]:
    """The names of a layer's arguments in TensorRT's order, its tensors among them."""
    tensors = {
        "matrix_multiply": ["input0", "op0", "input1", "op1"],
        "elementwise": ["input1", "input2", "op"],
        "gather": ["input", "indices", "axis"],
        "select": ["condition", "then_input", "else_input"],
        "normalization": ["input", "scale", "bias", "axesMask"],
        "attention": ["query", "key", "value", "norm_op", "causal"],
        "constant": ["shape", "weights"],
        "concatenation": ["inputs"],
    }
    if kind in tensors:
        return tensors[kind]
    return ["input", *(n for n in inspect.signature(functions()[kind]).parameters if n != "x")]


@functools.cache
def functions() -> dict[str, Callable[..., Tensor]]:
    module = sys.modules[__name__]
    found = inspect.getmembers(module, inspect.isfunction)
    return {
        name.removesuffix("_"): f for name, f in found if "x" in inspect.signature(f).parameters
    }


def _same(*tensors: Tensor, rank: bool = False) -> None:
    """What a strongly typed network asks of a layer's inputs."""
    dtypes = {tensor.dtype for tensor in tensors}
    assert len(dtypes) == 1, f"a strongly typed network has no layer of {dtypes}"
    if rank:
        ranks = {tensor.ndim for tensor in tensors}
        assert len(ranks) == 1, f"TensorRT wants inputs of one rank, found {ranks}"


def _axes(mask: int) -> list[int]:
    return [axis for axis in range(32) if mask >> axis & 1]


def constant(x: Inputs, shape: Dims, weights: Tensor) -> Tensor:
    return weights.reshape(tuple(shape or ()))


def identity(x: Inputs) -> Tensor:
    return x[0]


def cast(x: Inputs, to_type: torch.dtype) -> Tensor:
    return x[0].to(to_type)


def shape(x: Inputs) -> Tensor:
    return torch.tensor(tuple(x[0].shape), dtype=torch.int64)


def shuffle(
    x: Inputs, reshape_dims: Dims = None, first_transpose: Dims = None,
    second_transpose: Dims = None,
) -> Tensor:  # fmt: skip
    value = x[0] if first_transpose is None else x[0].permute(first_transpose)
    dims = tuple(x[1].tolist()) if 1 in x else reshape_dims
    if dims is not None:
        # 0 copies the size that stands there
        value = value.reshape([value.shape[i] if n == 0 else n for i, n in enumerate(dims)])
    return value if second_transpose is None else value.permute(second_transpose)


def unsqueeze(x: Inputs, axes: Dims = None) -> Tensor:
    value = x[0]
    for axis in sorted(x[1].tolist()):
        value = value.unsqueeze(axis)
    return value


def concatenation(x: Inputs, axis: int = 0) -> Tensor:
    values = [x[index] for index in sorted(x)]
    _same(*values, rank=True)
    return torch.cat(values, axis)


def slice_(
    x: Inputs, start: Dims, shape: Dims, stride: Dims, mode: str = "STRICT_BOUNDS"
) -> Tensor:
    value = x[0]
    given = [
        tuple(x[i].tolist()) if i in x else tuple(dims or ())
        for i, dims in enumerate((start, shape, stride), start=1)
    ]
    filled = torch.zeros([], dtype=torch.bool, device=value.device)
    for axis, (begin, count, step) in enumerate(zip(*given, strict=True)):
        size = value.shape[axis]
        index = begin + step * torch.arange(count)
        if mode == "WRAP":
            index = index % size
        elif mode == "CLAMP":
            index = index.clamp(0, size - 1)
        elif mode == "REFLECT":
            index = size - 1 - (index.abs() % (2 * size - 2) - size + 1).abs()
        elif mode == "FILL":
            outside = (index < 0) | (index >= size)
            filled = filled | outside.to(value.device).reshape([-1] + [1] * (value.ndim - axis - 1))
            index = index.clamp(0, size - 1)
        assert not count or 0 <= int(index.min()) <= int(index.max()) < size, "slice out of bounds"
        value = value.index_select(axis, index.to(value.device))
    if mode != "FILL":
        return value
    return torch.where(filled, x[4] if 4 in x else value.new_zeros(()), value)


def gather(x: Inputs, axis: int = 0, mode: str = "DEFAULT") -> Tensor:
    value, index = x[0], x[1].long()
    if mode == "ELEMENT":
        return value.gather(axis, index)
    found = value.index_select(axis, index.flatten())
    return found.reshape(value.shape[:axis] + index.shape + value.shape[axis + 1 :])


def select(x: Inputs) -> Tensor:
    _same(x[1], x[2], rank=True)
    return torch.where(x[0], x[1], x[2])


_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "SUM": torch.add, "SUB": torch.sub, "PROD": torch.mul, "MAX": torch.maximum,
    "MIN": torch.minimum, "POW": torch.pow, "FLOOR_DIV": torch.floor_divide,
    "AND": torch.logical_and, "OR": torch.logical_or, "XOR": torch.logical_xor,
    "EQUAL": torch.eq, "GREATER": torch.gt, "LESS": torch.lt,
}  # fmt: skip


def elementwise(x: Inputs, op: str) -> Tensor:
    _same(x[0], x[1], rank=True)
    if op == "DIV":
        rounding = None if x[0].is_floating_point() else "trunc"
        return torch.div(x[0], x[1], rounding_mode=rounding)
    return _BINARY[op](x[0], x[1])


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "EXP": torch.exp, "LOG": torch.log, "SQRT": torch.sqrt, "RECIP": torch.reciprocal,
    "ABS": torch.abs, "NEG": torch.neg, "ERF": torch.erf, "FLOOR": torch.floor,
    "CEIL": torch.ceil, "ROUND": torch.round, "NOT": torch.logical_not, "SIGN": torch.sign,
    "SIN": torch.sin, "COS": torch.cos, "TANH": torch.tanh,
}  # fmt: skip


def unary(x: Inputs, op: str) -> Tensor:
    return _UNARY[op](x[0])


def activation(x: Inputs, type: str, alpha: float = 0.0, beta: float = 0.0) -> Tensor:
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "RELU": F.relu, "SIGMOID": torch.sigmoid, "TANH": torch.tanh, "GELU_ERF": F.gelu,
        "GELU_TANH": lambda t: F.gelu(t, approximate="tanh"),
        "CLIP": lambda t: t.clamp(alpha, beta),
        "LEAKY_RELU": lambda t: F.leaky_relu(t, alpha),
        "ELU": lambda t: F.elu(t, alpha),
        "HARD_SIGMOID": lambda t: (alpha * t + beta).clamp(0, 1),
        "SOFTPLUS": lambda t: alpha * torch.log1p(torch.exp(beta * t)),
    }  # fmt: skip
    return known[type](x[0])


def softmax(x: Inputs, axes: int) -> Tensor:
    (axis,) = _axes(axes)
    return x[0].softmax(axis)


def reduce(x: Inputs, op: str, axes: int, keep_dims: bool) -> Tensor:
    dims = _axes(axes)
    if op == "PROD":
        value = x[0]
        for dim in reversed(dims):
            value = value.prod(dim, keepdim=keep_dims)
        return value
    known: dict[str, Callable[..., Tensor]] = {
        "SUM": torch.sum, "AVG": torch.mean, "MAX": torch.amax, "MIN": torch.amin,
    }  # fmt: skip
    return known[op](x[0], dim=dims, keepdim=keep_dims).to(x[0].dtype)


def normalization(x: Inputs, axesMask: int, epsilon: float = 1e-5, num_groups: int = 1) -> Tensor:
    value, scale, bias = x[0], x[1], x[2]
    _same(value, scale, bias, rank=True)
    if num_groups == 1:
        dims = _axes(axesMask)
        variance, mean = torch.var_mean(value, dims, correction=0, keepdim=True)
        return (value - mean) * torch.rsqrt(variance + epsilon) * scale + bias
    normal = F.group_norm(value, num_groups, eps=epsilon)
    return normal * scale + bias


def scale_nd(
    x: Inputs, mode: str, shift: Any, scale: Any, power: Any = None, channel_axis: int = 1
) -> Tensor:
    assert mode == "CHANNEL", f"scale mode {mode} is not known here"
    assert power is None or not power.numel(), "powers are not known here"
    _same(x[0], shift, scale)
    shape = [-1 if axis == channel_axis else 1 for axis in range(x[0].ndim)]
    return x[0] * scale.reshape(shape) + shift.reshape(shape)


def convolution_nd(
    x: Inputs, num_output_maps: int, kernel_shape: Dims, kernel: Any = None, bias: Any = None, *,
    stride_nd: Dims = None, padding_nd: Dims = None, dilation_nd: Dims = None, num_groups: int = 1,
) -> Tensor:  # fmt: skip
    value = x[0]
    kernel = x.get(1, kernel)
    bias = x.get(2, bias)
    weight = kernel.reshape(num_output_maps, value.shape[1] // num_groups, *(kernel_shape or ()))
    _same(value, weight, *([] if bias is None else [bias]))
    dims = value.ndim - 2
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    return convolve(
        value, weight, bias, stride_nd or (1,) * dims, padding_nd or (0,) * dims,
        dilation_nd or (1,) * dims, num_groups,
    )  # fmt: skip


def pooling_nd(
    x: Inputs, type: str, window_size: Dims, *, stride_nd: Dims = None, padding_nd: Dims = None,
    average_count_excludes_padding: bool = True, padding_mode: str = "EXPLICIT_ROUND_DOWN",
) -> Tensor:  # fmt: skip
    window = tuple(window_size or ())
    dims = len(window)
    stride, padding = stride_nd or (1,) * dims, padding_nd or (0,) * dims
    up = padding_mode == "EXPLICIT_ROUND_UP"
    if type == "MAX":
        return {1: F.max_pool1d, 2: F.max_pool2d}[dims](x[0], window, stride, padding, ceil_mode=up)
    assert type == "AVERAGE", f"pooling {type} is not known here"
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d}[dims]
    return pool(x[0], window, stride, padding, up, not average_count_excludes_padding)


def matrix_multiply(x: Inputs, op0: str, op1: str) -> Tensor:
    _same(x[0], x[1])
    if "VECTOR" not in (op0, op1):
        _same(x[0], x[1], rank=True)
    left = x[0].mT if op0 == "TRANSPOSE" else x[0]
    right = x[1].mT if op1 == "TRANSPOSE" else x[1]
    return left @ right


def attention(x: Inputs, norm_op: str, causal: bool, decomposable: bool = False) -> Tensor:
    """TensorRT's attention does not scale; converters scale the query."""
    assert norm_op == "SOFTMAX" and not causal, "this attention is not known here"
    _same(*x.values())
    scores = x[0] @ x[1].mT
    if 3 in x:
        scores = scores + x[3]
    return scores.softmax(-1) @ x[2]
