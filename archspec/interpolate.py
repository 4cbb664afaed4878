"""Position embeddings of one image size, brought to another.

What is one is seen in the graph: a learnable tensor along tokens, or along height and width, that
is added; the table of relative positions of window attention; a filter of frequencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec.graph import INPUT, CallNode, Graph, OpNode, Ref
from archspec.ops.base import pair
from archspec.ops.combine import Add, Concat
from archspec.ops.fourier import COMPLEX, ComplexMultiply
from archspec.ops.layout import Flatten
from archspec.ops.param import Param, RelativePositionBias
from archspec.shape import GRID, TOKENS


@dataclass(frozen=True)
class Resize:
    """How a parameter of another image size becomes the one of this size."""

    size: tuple[int, ...]
    """Of the parameter here."""
    grid: tuple[int, int]
    """Height and width of what it has values for, here."""
    dims: tuple[int, ...]
    """Where they are: two dimensions, or one that holds both, rows after one another."""
    before: int = 0
    """Entries before the grid in that one dimension, which stay: a class token's."""
    after: int = 0
    antialias: bool = False
    align_corners: bool = False

    def __call__(self, held: Tensor) -> Tensor | None:
        """A checkpoint's tensor in the size that is needed here; None if it cannot be that."""
        while held.ndim > len(self.size) and held.shape[0] == 1:
            held = held[0]
        rest = [dim for dim in range(len(self.size)) if dim not in self.dims]
        if held.ndim != len(self.size) or any(held.shape[d] != self.size[d] for d in rest):
            return None
        if len(self.dims) == 2:
            return self._interpolated(held, self.dims)
        (dim,) = self.dims
        count = held.shape[dim] - self.before - self.after
        old = self._grid_of(count)
        if old is None:
            return None
        first, cells, last = torch.split(held, [self.before, count, self.after], dim)
        made = self._interpolated(torch.unflatten(cells, dim, old), (dim, dim + 1)).flatten(
            dim, dim + 1
        )
        return torch.cat([first, made, last], dim)

    def _grid_of(self, count: int) -> tuple[int, int] | None:
        """A square, as images nearly always are; or else the shape that the grid has here."""
        side = math.isqrt(max(count, 0))
        if side and side * side == count:
            return side, side
        height, width = self.grid
        rows = math.isqrt(max(count, 0) * height // width)
        return (rows, count // rows) if rows and rows * rows * width == count * height else None

    def _interpolated(self, cells: Tensor, dims: tuple[int, ...]) -> Tensor:
        """Bicubic, along two dimensions."""
        last = (cells.ndim - 2, cells.ndim - 1)
        moved = cells.movedim(dims, last)
        exact = moved if moved.dtype == torch.float64 else moved.float()
        image = exact.reshape(1, -1, *moved.shape[-2:])
        made = F.interpolate(
            image, size=self.grid, mode="bicubic",
            antialias=self.antialias, align_corners=self.align_corners,
        )  # fmt: skip
        return made.reshape(*moved.shape[:-2], *self.grid).movedim(last, dims).to(cells.dtype)


def resizable(graph: Graph) -> dict[str, Resize]:
    """The parameters that can be resized, by their names in the state dict."""
    found = {}
    for path, part, node in graph.written_out():
        resize = _resize(part, node)
        if resize is not None:
            found[f"{path}.weight"] = resize
    return found


def _resize(part: Graph, node: OpNode) -> Resize | None:
    op = node.op
    if isinstance(op, RelativePositionBias):
        height, width = pair(op.window)
        grid = (2 * int(height) - 1, 2 * int(width) - 1)
        heads = int(node.input_shapes[0][op.heads])
        # as microsoft/Swin-Transformer, utils.py, and timm's resize_rel_pos_bias_table_simple
        return Resize((grid[0] * grid[1], heads), grid, (0,))
    if not isinstance(op, Param):
        return None
    axes = list(op.axes)
    size = tuple(int(length) for length in op.axes.values())
    readers = [
        reader
        for reader in part.nodes
        if isinstance(reader, OpNode) and any(ref.node == node.id for ref in reader.inputs)
    ]
    added = next((reader for reader in readers if isinstance(reader.op, Add)), None)
    if set(GRID) <= set(axes):
        dims = tuple(axes.index(axis) for axis in GRID)
        grid = (size[dims[0]], size[dims[1]])
        if added is not None:
            # as timm's resample_abs_pos_embed_nhwc
            return Resize(size, grid, dims, antialias=True)
        if COMPLEX in axes and any(isinstance(each.op, ComplexMultiply) for each in readers):
            # as raoyongming/GFNet, main_gfnet.py
            return Resize(size, grid, dims, align_corners=True)
    elif TOKENS in axes and added is not None:
        others = (ref for ref in added.inputs if ref.node != node.id)
        place = next(filter(None, (token_grid(part, ref) for ref in others)), None)
        if place is not None:
            # as timm's resample_abs_pos_embed
            before, grid, after = place
            return Resize(size, grid, (axes.index(TOKENS),), before, after, antialias=True)
    return None


def token_grid(part: Graph, ref: Ref) -> tuple[int, tuple[int, int], int] | None:
    """Where among a tensor's tokens a grid lies: the tokens before, its size, the tokens after."""
    if ref.node == INPUT:
        return None
    node = next(node for node in part.nodes if node.id == ref.node)
    if isinstance(node, OpNode) and isinstance(node.op, Flatten):
        (x,) = node.input_shapes
        is_grid = node.op.axes == GRID and node.op.into == TOKENS
        return (0, (int(x[GRID[0]]), int(x[GRID[1]])), 0) if is_grid else None
    if isinstance(node, OpNode) and isinstance(node.op, Concat) and node.op.axis == TOKENS:
        lengths = [int(shape[TOKENS]) for shape in node.input_shapes]
        for index, source in enumerate(node.inputs):
            if (inner := token_grid(part, source)) is not None:
                before, grid, after = inner
                return before + sum(lengths[:index]), grid, after + sum(lengths[index + 1 :])
        return None
    if isinstance(node, CallNode):
        inner = token_grid(node.graph, node.graph.output)
        if inner is not None:
            return inner
    # what keeps the tokens as they are, such as a norm
    shape = part.shape_of(node.inputs[0])
    same = TOKENS in shape and shape[TOKENS] == part.shape_of(ref)[TOKENS]
    return token_grid(part, node.inputs[0]) if same else None
