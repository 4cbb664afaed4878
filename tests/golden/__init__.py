"""Answers of public reference implementations, and the weights that they had then.

`NAME.npz` holds the float64 logits of a reference in eval mode, its parameter count and fvcore's
FLOPs on it, and the name and shape of each entry of its state dict. The entries themselves are
drawn again here, as a function of name, shape and gain alone. `NAME.yaml` beside it says whose
answer it is, which spec claims to be that network, and where fvcore counts the reference otherwise
than ours.
`record` writes both from a reference implementation that is at hand.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from fvcore.nn.flop_count import FlopCountAnalysis
from torch import nn

from archspec import expr

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    name: str
    shapes: dict[str, tuple[int, ...]]
    image_shape: tuple[int, ...]
    logits: torch.Tensor
    params: int
    fvcore_flops: int
    gain: float = 1.0
    """What its matrices and kernels were multiplied by."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {
            key: torch.from_numpy(_draw(key, shape, self.gain))
            for key, shape in self.shapes.items()
        }

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
            meta.get("gain", 1.0),
        )


@dataclass(frozen=True)
class Claim:
    """What `NAME.yaml` says."""

    reference: str
    spec: str
    source: str
    differences: dict[str, int]
    """What fvcore counts on the reference and not on our module, by its reason."""
    values: dict[str, Any] = field(default_factory=dict)
    """What of the spec is set to be that reference, where it is a small one."""


def claims() -> dict[str, Claim]:
    """All golden references, by name."""
    return {path.stem: _claim(path) for path in sorted(FOLDER.glob("*.yaml"))}


def _claim(path: Path) -> Claim:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = document.pop("differences", {})
    differences = {reason: int(expr.parse(str(count))({})) for reason, count in given.items()}
    return Claim(path.stem, **document, differences=differences)


def record(
    name: str, model: nn.Module, size: tuple[int, int] = (224, 224), gain: float = 1.0
) -> None:
    """Write `NAME.npz`: what a reference implementation answers. `NAME.yaml` is left to its author.

    Args:
        model: gives logits, and has the names that public checkpoints have. Buffers other than
            statistics (masks, index tables) keep their values, and a mapping has to ignore them.
        size: height and width of the images.
        gain: factor for all matrices and kernels. Less than 1 keeps a network in range that
            multiplies activations with each other: where they grow to millions, the kink of a
            ReLU6 is a step, and one rounding moves the logits by more than 1e-9.
    """
    model = model.double().eval()
    learned = {key for key, _ in model.named_parameters()}
    entries = model.state_dict()
    shapes = {key: tuple(value.shape) for key, value in entries.items()}
    for key, value in entries.items():
        if key in learned or key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            value.copy_(torch.from_numpy(_draw(key, shapes[key], gain)))
    meta = {
        "name": name, "shapes": shapes, "image_shape": (2, 3, *size),
        "params": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "gain": gain,
    }  # fmt: skip
    images = Golden(**meta, logits=torch.empty(0), fvcore_flops=0).image()
    with torch.no_grad():
        logits = model(images).numpy()
        meta["fvcore_flops"] = int(FlopCountAnalysis(model, images[:1]).total())
    np.savez_compressed(FOLDER / f"{name}.npz", meta=json.dumps(meta), logits=logits)


def _draw(key: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
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
    return values * gain / math.sqrt(math.prod(shape[1:]))
