"""Answers of public reference implementations, and the weights that they had then.

`NAME.npz` holds the float64 logits of a reference in eval mode, its parameter count and fvcore's
FLOPs on it, and the name and shape of each entry of its state dict. The entries themselves are
drawn again here, as a function of name and shape alone. Sources: microsoft/SPACH (sMLPNet),
svip-lab/AS-MLP, houqb/VisionPermutator (vip_s7) and timm 1.0.31 (the rest), with torch 2.13.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    name: str
    shapes: dict[str, tuple[int, ...]]
    image_shape: tuple[int, ...]
    logits: torch.Tensor
    params: int
    fvcore_flops: int

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {key: torch.from_numpy(_draw(key, shape)) for key, shape in self.shapes.items()}

    def image(self) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(0).standard_normal(self.image_shape))


def load(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz") as archive:
        meta = json.loads(str(archive["meta"]))
        return Golden(
            meta["name"],
            {key: tuple(shape) for key, shape in meta["shapes"].items()},
            tuple(meta["image_shape"]),
            torch.from_numpy(archive["logits"]),
            meta["params"],
            meta["fvcore_flops"],
        )


def _draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape)
    if last == "running_var":
        return generator.uniform(0.5, 1.5, shape)
    values = generator.standard_normal(shape)
    if last.endswith(("bias", "running_mean")):
        return 0.1 * values
    if len(shape) <= 1 or last in ("gamma", "alpha", "scale"):
        return 1.0 + 0.1 * values
    return values / math.sqrt(math.prod(shape[1:]))
