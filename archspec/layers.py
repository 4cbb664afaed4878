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
        group_dim: the dimension that is cut into groups, as torch.chunk does.
    """

    def __init__(self, offsets: tuple[int, ...], dim: int, mode: str, group_dim: int = 0) -> None:
        super().__init__()
        self.offsets, self.dim, self.mode, self.group_dim = offsets, dim, mode, group_dim

    def forward(self, x: Tensor) -> Tensor:
        groups = x.chunk(len(self.offsets), self.group_dim) if len(self.offsets) > 1 else (x,)
        moved = [self._moved(part, by) for part, by in zip(groups, self.offsets, strict=True)]
        return torch.cat(moved, self.group_dim) if len(moved) > 1 else moved[0]

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
            line = x.narrow(self.dim, 0 if by > 0 else size - 1, 1)
            edge = line.expand(*(count if d == self.dim else -1 for d in range(x.ndim)))
        return torch.cat([edge, kept] if by > 0 else [kept, edge], self.dim)

    def extra_repr(self) -> str:
        return f"{self.offsets}, dim={self.dim}, mode={self.mode!r}"


__all__ = ["Affine", "AxisLinear", "Scale", "Shift", "StochasticDepth"]
