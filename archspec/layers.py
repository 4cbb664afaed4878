"""The few layers that PyTorch lacks. Plain torch: `archspec build --emit` copies them as they are.

Shapes: B batch, A all axes before `dim` taken together, I/O features in/out, R the axes after it.
"""

import torch
from torch import Tensor, nn


class AxisLinear(nn.Linear):
    """A linear map along any dimension: y[a, o, r] = Σᵢ W[o, i] x[a, i, r] + b[o].

    Args:
        in_features: size along `dim`.
        out_features: size along `dim` after it.
        bias: whether to add b.
        dim: the dimension, counted with the batch as 0; not the last.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dim: int = 1
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, …, in_features, …) → (batch, …, out_features, …)."""
        before, after = x.shape[: self.dim], x.shape[self.dim + 1 :]
        # flatten, since the product of `before` would fix the batch size of an exported graph
        x_AIR = x.flatten(0, self.dim - 1).flatten(2)
        # One weight for all A: expanded, not copied. The product needs no transposed copy of x.
        weight_AOI = self.weight.expand(x_AIR.shape[0], -1, -1)
        bias: Tensor | None = self.bias
        if bias is None:
            y_AOR = torch.bmm(weight_AOI, x_AIR)
        else:
            y_AOR = torch.baddbmm(bias[:, None], weight_AOI, x_AIR)
        return y_AOR.reshape(*before, self.out_features, *after)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}"


class Affine(nn.Module):
    """y = weight · x + bias along the last dimension."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, self.weight, x)


class Scale(nn.Module):
    """y = weight · x along the last dimension; every weight is `init` at the start."""

    def __init__(self, channels: int, init: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm that also trains on an input without gradient, such as images.

    For these PyTorch's CPU kernel (2.13) crashes in backward when memory is channels-last.

    Args:
        bias: whether to add one after the weight.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, bias: bool = True
    ) -> None:
        super().__init__(num_groups, num_channels, eps)
        if not bias:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not x.requires_grad:
            x = x.contiguous()
        return super().forward(x)


class StochasticDepth(nn.Module):
    """While training, zero whole images of a branch with probability p and scale up the others."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        keep = torch.empty(x.shape[:1] + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * keep.bernoulli_(1.0 - self.p).div_(1.0 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Shift(nn.Module):
    """Move groups of channels along `dim`, each group by its own offset.

    Args:
        offsets: one for each group; a single one moves all of x.
        dim: the dimension to move along, counted with the batch as 0.
        mode: "circular" rolls around; "zero" and "replicate" fill what is uncovered.
        group_dim: the dimension that is cut into groups.
        grouping: "chunk" cuts as torch.chunk does; "cycle" deals its positions out in turn.
    """

    def __init__(
        self,
        offsets: tuple[int, ...],
        dim: int,
        mode: str,
        group_dim: int = 0,
        grouping: str = "chunk",
    ) -> None:
        super().__init__()
        self.offsets, self.dim, self.mode = offsets, dim, mode
        self.group_dim, self.grouping = group_dim, grouping

    def forward(self, x: Tensor) -> Tensor:
        if len(self.offsets) == 1:
            return self._moved(x, self.offsets[0])
        if self.grouping == "cycle":
            return self._cycled(x)
        groups = x.chunk(len(self.offsets), self.group_dim)
        moved = [self._moved(part, by) for part, by in zip(groups, self.offsets, strict=True)]
        return torch.cat(moved, self.group_dim)

    def _cycled(self, x: Tensor) -> Tensor:
        """The groups as columns of a table whose rows are rounds, the last one filled up."""
        size, count, dim = x.shape[self.group_dim], len(self.offsets), self.group_dim
        missing = -size % count
        if missing:
            x = torch.cat([x, x.narrow(dim, 0, missing)], dim)
        columns = torch.unflatten(x, dim, (-1, count)).unbind(dim + 1)
        moved = [self._moved(column, by) for column, by in zip(columns, self.offsets, strict=True)]
        return torch.stack(moved, dim + 1).flatten(dim, dim + 1).narrow(dim, 0, size)

    def _moved(self, x: Tensor, by: int) -> Tensor:
        if by == 0:
            return x
        if self.mode == "circular":
            return x.roll(by, self.dim)
        size, count = x.shape[self.dim], abs(by)
        kept = x.narrow(self.dim, max(-by, 0), size - count)
        if self.mode == "zero":
            edge = torch.zeros_like(x.narrow(self.dim, 0, count))
        else:
            edge = repeated(x, self.dim, 0 if by > 0 else size - 1, count)
        return torch.cat([edge, kept] if by > 0 else [kept, edge], self.dim)

    def extra_repr(self) -> str:
        cycle = "" if self.grouping == "chunk" else f", grouping={self.grouping!r}"
        return f"{self.offsets}, dim={self.dim}, mode={self.mode!r}{cycle}"


def repeated(x: Tensor, dim: int, position: int, count: int) -> Tensor:
    """One position of a dimension, `count` times."""
    line = x.narrow(dim, position, 1)
    return line.expand(*(count if d == dim else -1 for d in range(x.ndim)))


class Pad(nn.Module):
    """More positions along a dimension, copied from what is there.

    F.pad does so along the last dimensions of tensors that have few.

    Args:
        before: how many to add before the first position.
        after: how many to add after the last.
        dim: the dimension, counted with the batch as 0.
        mode: "circular" copies the other end, "replicate" the first or last position, "reflect"
            the mirror image about it.
    """

    def __init__(self, before: int, after: int, dim: int, mode: str) -> None:
        super().__init__()
        self.before, self.after, self.dim, self.mode = before, after, dim, mode

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "circular":
            first = x.narrow(self.dim, -self.before, self.before)
            last = x.narrow(self.dim, 0, self.after)
        elif self.mode == "replicate":
            first = repeated(x, self.dim, 0, self.before)
            last = repeated(x, self.dim, -1, self.after)
        else:
            first = x.narrow(self.dim, 1, self.before).flip(self.dim)
            last = x.narrow(self.dim, -1 - self.after, self.after).flip(self.dim)
        return torch.cat([first, x, last], self.dim)

    def extra_repr(self) -> str:
        return f"({self.before}, {self.after}), dim={self.dim}, mode={self.mode!r}"


class Contract(nn.Module):
    """Products of two tensors, summed over dimensions that they share.

    Args:
        shared: how many dimensions after the batch both have and keep.
        over: how many both have and lose: the last ones of a, and those after the shared ones of b.
        scale: what each product is multiplied by.
    """

    def __init__(self, shared: int, over: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.shared, self.over, self.scale = shared, over, scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a (batch, shared…, own…, over…) and b (batch, shared…, over…, own…) → (…, own…, own…)."""
        lead, end = 1 + self.shared, a.ndim - self.over
        middle = lead + self.over
        size = (*a.shape[:end], *b.shape[middle:])
        if self.scale != 1.0:
            a = a * self.scale
        a = merged(merged(a, end, a.ndim), lead, end)
        b = merged(merged(b, middle, b.ndim), lead, middle)
        return torch.matmul(a, b).reshape(size)

    def extra_repr(self) -> str:
        return f"shared={self.shared}, over={self.over}, scale={self.scale:.6g}"


def merged(x: Tensor, start: int, stop: int) -> Tensor:
    """Dimensions from `start` up to `stop` as one, which has size 1 where there are none."""
    return x.flatten(start, stop - 1) if stop > start else x.unsqueeze(start)


class Param(nn.Module):
    """A learnable tensor, repeated for each image of a batch without being copied.

    Args:
        size: its dimensions without the batch; one number, which has none, is held as a vector.
        init: the value everywhere at the start; normal with standard deviation `std` unless given.
        std: that deviation.
    """

    def __init__(self, size: tuple[int, ...], init: float | None = None, std: float = 0.02) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.empty(size or (1,)))
        if init is None:
            nn.init.trunc_normal_(self.weight, std=std)
        else:
            nn.init.constant_(self.weight, init)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, …) tells the number of images → (batch, *size)."""
        return self.weight.expand(x.shape[0], *self.size)

    def extra_repr(self) -> str:
        return f"{self.size}"


class RelativePositionBias(nn.Module):
    """A learnable value for each head and each offset of two positions of a window.

    `weight` holds, for each of the (2 · height − 1) · (2 · width − 1) offsets, one value a head.
    """

    def __init__(self, heads: int, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.weight = nn.Parameter(torch.empty((2 * height - 1) * (2 * width - 1), heads))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, …) tells the number of images → (batch, heads, queries, keys)."""
        table = torch.unflatten(self.weight, 0, (2 * self.height - 1, 2 * self.width - 1))
        # The offset of query i and key j along an axis of n stands at i - j + n - 1: a window of n
        # offsets from i on, read backwards. So no index is needed.
        each = table.unfold(0, self.height, 1).unfold(1, self.width, 1).flip(-2, -1)
        bias = each.permute(2, 0, 1, 3, 4).flatten(3).flatten(1, 2)
        return bias.expand(x.shape[0], -1, -1, -1)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, height={self.height}, width={self.width}"


class ShiftedWindowMask(nn.Module):
    """-100 between positions of a window that a circular shift has brought together, else 0.

    Args:
        windows: rows and columns of windows.
        window: height and width of one.
        by: what the image was rolled by, along its height and its width.
    """

    def __init__(
        self, windows: tuple[int, int], window: tuple[int, int], by: tuple[int, int]
    ) -> None:
        super().__init__()
        self.windows, self.window, self.by = windows, window, by

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, …) tells the number of images → (batch, rows, columns, queries, keys)."""
        high, wide = (self._seam(dim, x.device) for dim in (0, 1))
        is_apart = high[:, None, :, None, :, None] | wide[None, :, None, :, None]
        mask = is_apart.flatten(4).flatten(2, 3).to(x.dtype) * -100
        return mask.expand(x.shape[0], -1, -1, -1, -1)

    def _seam(self, dim: int, device: torch.device) -> Tensor:
        """(window, position, position): whether the image's edge lies between two positions."""
        windows, window, by = self.windows[dim], self.window[dim], self.by[dim]
        position = torch.arange(window, device=device)
        is_rolled = position < by if by > 0 else position >= window + by
        is_cut = torch.arange(windows, device=device) == (0 if by > 0 else windows - 1)
        return is_cut[:, None, None] & (is_rolled[:, None] != is_rolled)

    def extra_repr(self) -> str:
        return f"{self.windows}, window={self.window}, by={self.by}"


class Fourier(nn.Module):
    """A discrete Fourier transform, complex numbers as pairs along the last dimension.

    Half precision is computed in float32, which PyTorch's transforms need on most devices.

    Args:
        kind: "rfft", "irfft", "fft" or "ifft", as in torch.fft.
        dim: the dimensions, counted with the batch as 0; "rfft" and "irfft" halve the last.
        norm: "backward", "ortho" or "forward".
        size: of the last of these dimensions after "irfft".
        is_complex: whether what "fft" or "ifft" reads holds pairs.
    """

    def __init__(
        self,
        kind: str,
        dim: tuple[int, ...],
        norm: str = "backward",
        size: int | None = None,
        is_complex: bool = True,
    ) -> None:
        super().__init__()
        self.kind, self.dim, self.norm, self.size = kind, dim, norm, size
        self.is_complex = is_complex

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "irfft":
            size = (*(-1 for _ in self.dim[:-1]), self.size)  # -1: as many as there are
            y: Tensor = torch.fft.irfftn(as_complex(x), size, self.dim, self.norm)
            return y.to(x.dtype)
        if self.kind == "rfft":
            z = torch.fft.rfftn(in_full(x), dim=self.dim, norm=self.norm)
        else:
            function = torch.fft.fftn if self.kind == "fft" else torch.fft.ifftn
            z = as_complex(x) if self.is_complex else in_full(x)
            z = function(z, dim=self.dim, norm=self.norm)
        return torch.view_as_real(z).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, dim={self.dim}, norm={self.norm!r}"


class ComplexMultiply(nn.Module):
    """The product of complex numbers, which are pairs along the last dimension."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.view_as_real(as_complex(a) * as_complex(b)).to(a.dtype)


def in_full(x: Tensor) -> Tensor:
    """At least float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def as_complex(x: Tensor) -> Tensor:
    """Pairs along the last dimension as complex numbers; copied where they lie apart."""
    x = in_full(x)
    if x.stride(-1) != 1 or any(step % 2 for step in x.stride()[:-1]):
        x = x.contiguous()
    return torch.view_as_complex(x)


__all__ = [
    "Affine", "AxisLinear", "ComplexMultiply", "Contract", "Fourier", "GroupNorm", "Pad", "Param",
    "RelativePositionBias", "Scale", "Shift", "ShiftedWindowMask", "StochasticDepth",
]  # fmt: skip
