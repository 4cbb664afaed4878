"""A second meaning of shaped graphs, to hold the lowering against: slow, and by axis names only.

A value is a tensor whose dimensions are the batch and then the axes in alphabetical order. No op
knows of memory layouts, and nothing is shared with `archspec.ops` but the ops' fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.graph import INPUT, CallNode, Graph, OpNode, Ref
from tests import dft


class Named:
    """A tensor (batch, *axes), the axes in alphabetical order."""

    def __init__(self, x: Tensor, axes: tuple[str, ...]) -> None:
        """`x` has its axes in any order; they are sorted here."""
        order = sorted(axes)
        self.x = x.permute(0, *(1 + axes.index(axis) for axis in order))
        self.axes = tuple(order)

    def to(self, *axes: str) -> Tensor:
        """The dimensions in another order, those that are not there with size 1."""
        x = self.x
        for _ in range(len(axes) - len(self.axes)):
            x = x[..., None]
        extra = iter(range(1 + len(self.axes), x.ndim))
        return x.permute(
            0, *(1 + self.axes.index(a) if a in self.axes else next(extra) for a in axes)
        )

    def last(self, axis: str) -> tuple[Tensor, tuple[str, ...]]:
        """The tensor with `axis` last, and its axes then."""
        axes = (*(a for a in self.axes if a != axis), axis)
        return self.to(*axes), axes


def run(graph: Graph, module: nn.Module, *inputs: Named, path: str = "") -> Named:
    """Evaluate a graph in eval mode with the parameters of the module made from it."""
    values: dict[Ref, Named] = {Ref(INPUT, port): x for port, x in enumerate(inputs)}
    for node in graph.nodes:
        xs = [values[ref] for ref in node.inputs]
        here = f"{path}{node.id}"
        if isinstance(node, OpNode):
            try:
                layer = module.get_submodule(here)
            except AttributeError:
                layer = nn.Module()
            result = OPS[node.op.name](node.op, layer, *xs)
            outputs = result if isinstance(result, list) else [result]
        elif isinstance(node, CallNode):
            outputs = [run(node.graph, module, *xs, path=f"{here}.")]
        else:
            for index, body in enumerate(node.iterations()):
                xs = [run(body, module, *xs, path=f"{here}.{index}.")]
            outputs = xs
        for port, (value, shape) in enumerate(zip(outputs, node.outputs, strict=True)):
            assert tuple(value.x.shape[1:]) == tuple(shape[axis] for axis in value.axes), here
            assert set(value.axes) == set(shape), here
            values[Ref(node.id, port)] = value
    return values[graph.output]


def _pointwise(function: Callable[[Tensor], Tensor]) -> Any:
    return lambda op, layer, x: Named(function(x.x), x.axes)


def _join(function: Callable[[Tensor, Tensor], Tensor]) -> Any:
    def join(op: Any, layer: Any, *xs: Named) -> Named:
        axes = tuple(sorted({axis for x in xs for axis in x.axes}))
        total = xs[0].to(*axes)
        for x in xs[1:]:
            total = function(total, x.to(*axes))
        return Named(total, axes)

    return join


def _linear(op: Any, layer: Any, x: Named) -> Named:
    moved, axes = x.last(op.axis)
    out, size = layer.weight.shape[0], moved.shape[-1]
    y = torch.einsum("...i,oi->...o", moved, layer.weight.reshape(out, size))
    return Named(y if layer.bias is None else y + layer.bias, axes)


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _by_image(function: Callable[[Any, Any, Named], Named]) -> Any:
    """An op on images, at every position of further axes."""

    def apply(op: Any, layer: Any, x: Named) -> Named:
        grid = ("channels", "height", "width")
        rest = tuple(axis for axis in x.axes if axis not in grid)
        moved = x.to(*rest, *grid)
        y = function(op, layer, Named(moved.flatten(0, len(rest)), grid)).to(*grid)
        return Named(y.unflatten(0, moved.shape[: 1 + len(rest)]), (*rest, *grid))

    return apply


def _windows(op: Any, x: Named, fill: float) -> tuple[Tensor, int, int]:
    """(batch, channels, taps, positions), and the grid of positions."""
    image = x.to("channels", "height", "width")
    k, s, d = _two(op.kernel), _two(op.stride), _two(op.dilation)
    if op.padding == "same":
        pads = [0 if a == b and c == 1 else c * (a // 2) for a, b, c in zip(k, s, d, strict=True)]
    else:
        pads = list(_two(op.padding))
    padded = F.pad(image, (pads[1], pads[1], pads[0], pads[0]), value=fill)
    rows = torch.arange(0, padded.shape[2] - d[0] * (k[0] - 1), s[0])
    columns = torch.arange(0, padded.shape[3] - d[1] * (k[1] - 1), s[1])
    taps = [
        padded[:, :, rows + i * d[0]][:, :, :, columns + j * d[1]].flatten(2)
        for i in range(k[0])
        for j in range(k[1])
    ]
    return torch.stack(taps, 2), len(rows), len(columns)


def _conv(op: Any, layer: Any, x: Named) -> Named:
    windows, rows, columns = _windows(op, x, 0.0)
    weight = layer.weight.flatten(2)  # out, in / groups, taps
    groups, out = op.groups, weight.shape[0]
    y = torch.einsum(
        "bgctp,goct->bgop",
        windows.unflatten(1, (groups, -1)), weight.unflatten(0, (groups, out // groups)),
    ).reshape(windows.shape[0], out, rows, columns)  # fmt: skip
    y = y if layer.bias is None else y + layer.bias[:, None, None]
    return Named(y, ("channels", "height", "width"))


def _avg_pool(op: Any, layer: Any, x: Named) -> Named:
    windows, rows, columns = _windows(op, x, math.nan)
    total = windows.nan_to_num(0.0).sum(2)
    inside = windows.shape[2] if op.count_include_pad else (~windows.isnan()).sum(2)
    return Named((total / inside).unflatten(2, (rows, columns)), ("channels", "height", "width"))


def _max_pool(op: Any, layer: Any, x: Named) -> Named:
    windows, rows, columns = _windows(op, x, -math.inf)
    y = windows.max(2).values.unflatten(2, (rows, columns))
    return Named(y, ("channels", "height", "width"))


def _global_pool(op: Any, layer: Any, x: Named) -> Named:
    axes = op.axes or tuple(axis for axis in x.axes if axis != "channels")
    dims = [1 + x.axes.index(axis) for axis in axes]
    y = x.x.mean(dims, keepdim=True) if op.kind == "average" else x.x.amax(dims, keepdim=True)
    if op.keep:
        return Named(y, x.axes)
    return Named(y.squeeze(dims), tuple(axis for axis in x.axes if axis not in axes))


def _standardised(x: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    return (x - mean) / torch.sqrt(variance + eps)


def _per_entry(op: Any, layer: Any, y: Tensor, axes: tuple[str, ...]) -> Named:
    """Weight and bias along the last dimension, where there are any."""
    if op.affine:
        y = y * layer.weight
    return Named(y + layer.bias if op.affine and getattr(op, "bias", True) else y, axes)


def _batch_norm(op: Any, layer: Any, x: Named) -> Named:
    y, axes = x.last("channels")
    y = _standardised(y, layer.running_mean, layer.running_var, op.eps)
    return _per_entry(op, layer, y, axes)


def _layer_norm(op: Any, layer: Any, x: Named) -> Named:
    y, axes = x.last(op.axis)
    y = _standardised(y, y.mean(-1, True), y.var(-1, correction=0, keepdim=True), op.eps)
    return _per_entry(op, layer, y, axes)


def _group_norm(op: Any, layer: Any, x: Named) -> Named:
    moved, axes = x.last("channels")
    parts = moved.unflatten(-1, (op.groups, -1)).movedim(-2, 1)  # batch, group, …
    flat = parts.flatten(2)
    y = _standardised(flat, flat.mean(-1, True), flat.var(-1, correction=0, keepdim=True), op.eps)
    return _per_entry(op, layer, y.reshape(parts.shape).movedim(1, -2).flatten(-2), axes)


def _affine(op: Any, layer: Any, x: Named) -> Named:
    y, axes = x.last("channels")
    return Named(y * layer.weight + layer.bias, axes)


def _scale(op: Any, layer: Any, x: Named) -> Named:
    y, axes = x.last("channels")
    return Named(y * layer.weight, axes)


def _softmax(op: Any, layer: Any, x: Named) -> Named:
    y, axes = x.last(op.axis)
    powers = (y - y.max(-1, keepdim=True).values).exp()
    return Named(powers / powers.sum(-1, keepdim=True), axes)


def _concat(op: Any, layer: Any, *xs: Named) -> Named:
    axes = xs[0].last(op.axis)[1]
    return Named(torch.cat([x.to(*axes) for x in xs], -1), axes)


def _split(op: Any, layer: Any, x: Named) -> list[Named]:
    moved, axes = x.last(op.axis)
    sizes = op.sizes or [moved.shape[-1] // op.into] * op.into
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        Named(moved[..., start : start + size], axes)
        for start, size in zip(starts, sizes, strict=True)
    ]


def _flatten(op: Any, layer: Any, x: Named) -> Named:
    rest = tuple(axis for axis in x.axes if axis not in op.axes)
    return Named(x.to(*rest, *op.axes).flatten(1 + len(rest)), (*rest, op.into))


def _unflatten(op: Any, layer: Any, x: Named) -> Named:
    moved, axes = x.last(op.axis)
    side = math.isqrt(moved.shape[-1])
    into = op.into or {"height": side, "width": side}
    return Named(moved.unflatten(-1, tuple(into.values())), (*axes[:-1], *into))


def _rename(op: Any, layer: Any, x: Named) -> Named:
    return Named(x.x, tuple(op.axes.get(axis, axis) for axis in x.axes))


def _shift(op: Any, layer: Any, x: Named) -> Named:
    """y[i] = x[i − by], position by position."""
    moved, axes = x.last(op.axis)
    size = moved.shape[-1]
    y = torch.zeros_like(moved)
    offsets = op.by if isinstance(op.by, tuple) else (op.by,)
    channels = axes.index("channels") + 1 if len(offsets) > 1 else 0
    group = math.ceil(moved.shape[channels] / len(offsets))
    for number, by in enumerate(offsets):
        part = slice(number * group, (number + 1) * group)
        if op.grouping == "cycle":
            part = slice(number, None, len(offsets))
        here: Any = (*(slice(None),) * channels, part)
        for i in range(size):
            source = i - by
            if op.mode == "circular":
                source %= size
            elif op.mode == "replicate":
                source = min(max(source, 0), size - 1)
            if 0 <= source < size:
                y[here][..., i] = moved[here][..., source]
    return Named(y, axes)


def _contract(op: Any, layer: Any, a: Named, b: Named) -> Named:
    over = (op.over,) if isinstance(op.over, str) else op.over
    axes = tuple(sorted({*a.axes, *b.axes}))
    letter = {axis: chr(ord("a") + i) for i, axis in enumerate(axes)}
    terms = ["z" + "".join(letter[axis] for axis in x.axes) for x in (a, b)]
    kept = tuple(axis for axis in axes if axis not in over)
    result = "z" + "".join(letter[axis] for axis in kept)
    y = torch.einsum(f"{','.join(terms)}->{result}", a.x, b.x)
    count = math.prod(a.x.shape[1 + a.axes.index(axis)] for axis in over)
    return Named(y / math.sqrt(count) if op.scaled else y, kept)


def _slice(op: Any, layer: Any, x: Named) -> Named:
    moved, axes = x.last(op.axis)
    end = moved.shape[-1] if op.size is None else op.start + op.size
    return Named(moved[..., op.start : end], axes)


def _select(op: Any, layer: Any, x: Named) -> Named:
    moved, axes = x.last(op.axis)
    return Named(moved[..., op.index], axes[:-1])


def _pad(op: Any, layer: Any, x: Named) -> Named:
    moved, axes = x.last(op.axis)
    size = moved.shape[-1]
    places = []
    for i in range(-op.before, size + op.after):
        source = {
            "constant": i,
            "circular": i % size,
            "replicate": min(max(i, 0), size - 1),
            "reflect": size - 1 - abs(size - 1 - abs(i)),
        }[op.mode]
        is_there = 0 <= source < size
        filled = torch.full_like(moved[..., 0], op.value)
        places.append(moved[..., source] if is_there else filled)
    return Named(torch.stack(places, -1), axes)


def _divide(op: Any, layer: Any, a: Named, b: Named) -> Any:
    return _join(torch.div)(op, layer, a, Named(b.x + op.eps, b.axes))


def _parts(x: Named) -> tuple[Named, Named]:
    """Real and imaginary part."""
    moved, axes = x.last("complex")
    return Named(moved[..., 0], axes[:-1]), Named(moved[..., 1], axes[:-1])


def _complex(re: Tensor, im: Tensor, axes: tuple[str, ...]) -> Named:
    return Named(torch.stack([re, im], -1), (*axes, "complex"))


def _fourier(op: Any, layer: Any, x: Named) -> Named:
    """The sums of the definition, the last of the op's axes last."""
    re, im = _parts(x) if "complex" in x.axes else (x, Named(torch.zeros_like(x.x), x.axes))
    (a, axes), (b, _) = re.last(op.axes[-1]), im.last(op.axes[-1])
    inverse = op.name in ("irfft", "ifft")
    dims = [1 + axes.index(axis) for axis in op.axes]
    if op.name == "irfft":
        a, b = dft.turned(a, b, dims[:-1], 1)
        a, b = dft.mirrored(a, b, op.size)
        a, b = dft.turned(a, b, dims[-1:], 1)
    else:
        a, b = dft.turned(a, b, dims, 1 if inverse else -1)
    scale = dft.factor(op.norm, math.prod(a.shape[dim] for dim in dims), inverse=inverse)
    if op.name == "irfft":
        return Named(a * scale, axes)
    kept = a.shape[-1] // 2 + 1 if op.name == "rfft" else a.shape[-1]
    return _complex(a[..., :kept] * scale, b[..., :kept] * scale, axes)


def _complex_multiply(op: Any, layer: Any, x: Named, y: Named) -> Named:
    axes = tuple(sorted({*x.axes, *y.axes} - {"complex"}))
    (a, b), (c, d) = ((part.to(*axes) for part in _parts(each)) for each in (x, y))
    return _complex(a * c - b * d, a * d + b * c, axes)


def _param(op: Any, layer: Any, x: Named) -> Named:
    weight = layer.weight.reshape(tuple(op.axes.values()))
    return Named(torch.stack([weight] * x.x.shape[0]), tuple(op.axes))


def _relative_position_bias(op: Any, layer: Any, x: Named) -> Named:
    """The published index: (Δrow + height − 1) · (2 · width − 1) + Δcolumn + width − 1."""
    height, width = _two(op.window)
    row, column = (index.flatten() for index in _places(height, width))
    index = (row[:, None] - row + height - 1) * (2 * width - 1) + column[:, None] - column
    bias = layer.weight[index + width - 1]
    return Named(torch.stack([bias] * x.x.shape[0]), (op.queries, op.keys, op.heads))


def _places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The row and the column of each place of a grid."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return rows, columns


def _shifted_window_mask(op: Any, layer: Any, x: Named) -> Named:
    """Places that are as far from each other as before the shift are not masked."""
    window, by = _two(op.window), _two(op.by)
    counts = [x.x.shape[1 + x.axes.index(axis)] for axis in (op.rows, op.columns)]
    is_near = torch.tensor(True)
    for dim in (0, 1):
        size = counts[dim] * window[dim]
        places = _places(counts[0] * window[0], counts[1] * window[1])[dim]
        before = (places - by[dim]) % size
        here, there = (
            grid.unflatten(1, (counts[1], window[1])).unflatten(0, (counts[0], window[0]))
            .transpose(1, 2).flatten(2) for grid in (places, before)
        )  # fmt: skip
        moved = [v[..., :, None] - v[..., None, :] for v in (here, there)]
        is_near = is_near & (moved[0] == moved[1])
    mask = torch.where(is_near, 0.0, -100.0).to(x.x.dtype)
    axes = (op.rows, op.columns, op.queries, op.keys)
    return Named(torch.stack([mask] * x.x.shape[0]), axes)


def _gelu(op: Any, layer: Any, x: Named) -> Named:
    v = x.x
    inner = math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)
    gate = torch.erf(v / math.sqrt(2)) if op.approximate == "none" else inner.tanh()
    return Named(v * (1 + gate) / 2, x.axes)


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def _hard(x: Tensor) -> Tensor:
    return ((x + 3) / 6).clamp(0, 1)


OPS: dict[str, Callable[..., Any]] = {
    "add": _join(torch.add), "subtract": _join(torch.sub), "multiply": _join(torch.mul),
    "divide": _divide, "complex_multiply": _complex_multiply,
    "rfft": _fourier, "irfft": _fourier, "fft": _fourier, "ifft": _fourier,
    "identity": _pointwise(lambda x: x), "dropout": _pointwise(lambda x: x),
    "stochastic_depth": _pointwise(lambda x: x),
    "relu": _pointwise(lambda x: x.clamp(min=0)), "relu6": _pointwise(lambda x: x.clamp(0, 6)),
    "silu": _pointwise(lambda x: x * _sigmoid(x)), "sigmoid": _pointwise(_sigmoid),
    "tanh": _pointwise(lambda x: 2 * _sigmoid(2 * x) - 1),
    "sin": _pointwise(lambda x: 2 * (x / 2).sin() * (x / 2).cos()),
    "cos": _pointwise(lambda x: 1 - 2 * (x / 2).sin() ** 2),
    "hardsigmoid": _pointwise(_hard), "hardswish": _pointwise(lambda x: x * _hard(x)),
    "factor": lambda op, layer, x: Named(op.by * x.x, x.axes),
    "leaky_relu": lambda op, layer, x: Named(
        torch.where(x.x > 0, x.x, op.negative_slope * x.x), x.axes
    ),
    "gelu": _gelu, "softmax": _softmax, "linear": _linear, "conv": _by_image(_conv),
    "avg_pool": _by_image(_avg_pool), "max_pool": _by_image(_max_pool),
    "global_pool": _global_pool,
    "batch_norm": _batch_norm, "layer_norm": _layer_norm, "group_norm": _group_norm,
    "affine": _affine, "scale": _scale, "concat": _concat, "split": _split,
    "flatten": _flatten, "unflatten": _unflatten, "rename": _rename, "shift": _shift,
    "contract": _contract, "slice": _slice, "select": _select, "pad": _pad, "param": _param,
    "relative_position_bias": _relative_position_bias,
    "shifted_window_mask": _shifted_window_mask,
}  # fmt: skip


def logits(graph: Graph, module: nn.Module, images: Tensor) -> Tensor:
    """(batch, channels, height, width) → what the network says: positions, then channels."""
    y = run(graph, module, Named(images, ("channels", "height", "width")))
    first, last = ("height", "width", "tokens"), ("channels",)
    others = sorted({*y.axes} - {*first, *last})
    return y.to(*(axis for axis in (*first, *others, *last) if axis in y.axes))
