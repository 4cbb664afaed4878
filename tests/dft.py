"""Discrete Fourier transforms as sums over cosines and sines, with real numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def turned(re: Tensor, im: Tensor, dims: Sequence[int], sign: int) -> tuple[Tensor, Tensor]:
    """Σⱼ z[j] exp(sign · 2πi · jk / n) along each dimension, real and imaginary part."""
    for dim in dims:
        size = re.shape[dim]
        place = torch.arange(size, dtype=re.dtype)
        angle = sign * 2 * math.pi * (place[:, None] * place % size) / size
        cos, sin = angle.cos(), angle.sin()
        a, b = re.movedim(dim, -1), im.movedim(dim, -1)
        re, im = (y.movedim(-1, dim) for y in (a @ cos - b @ sin, a @ sin + b @ cos))
    return re, im


def mirrored(re: Tensor, im: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """All `size` frequencies of a real signal along the last dimension, from half of them.

    Those that are their own mirror images are real: what else is given there means nothing.
    """
    im = im.clone()
    im[..., 0] = 0
    if size % 2 == 0:
        im[..., size // 2] = 0
    source = torch.tensor([min(k, size - k) for k in range(size)])
    sign = torch.tensor([1.0 if k <= size // 2 else -1.0 for k in range(size)], dtype=re.dtype)
    return re[..., source], im[..., source] * sign


def factor(norm: str, count: int, *, inverse: bool) -> float:
    """What a transform over `count` positions is multiplied by."""
    if norm == "ortho":
        return 1 / math.sqrt(count)
    return 1 / count if (norm == "forward") != inverse else 1.0
