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
        x_AIR = x.reshape(before.numel(), self.in_features, after.numel())
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


def shift(x: Tensor, offsets: tuple[int, ...], dim: int, group_dim: int, mode: str) -> Tensor:
    """Move groups of channels along `dim`, each group by its own offset.

    Args:
        x: any tensor; `group_dim` is cut into `len(offsets)` groups (as torch.chunk does).
        mode: "circular" rolls around; "zero" and "replicate" fill what is uncovered.
    """
    moved = []
    for part, offset in zip(x.chunk(len(offsets), group_dim), offsets, strict=True):
        if offset == 0:
            moved.append(part)
        elif mode == "circular":
            moved.append(part.roll(offset, dim))
        else:
            size, count = x.shape[dim], abs(offset)
            kept = part.narrow(dim, max(-offset, 0), size - count)
            if mode == "zero":
                edge = torch.zeros_like(part.narrow(dim, 0, count))
            else:
                line = part.narrow(dim, 0 if offset > 0 else size - 1, 1)
                edge = line.expand(*(count if d == dim else -1 for d in range(x.ndim)))
            moved.append(torch.cat([edge, kept] if offset > 0 else [kept, edge], dim))
    return torch.cat(moved, group_dim) if len(moved) > 1 else moved[0]


__all__ = ["Affine", "AxisLinear", "Scale", "StochasticDepth", "shift"]
