"""FNet on images against the equations of arXiv 2105.03824: no public network has its weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.built import SMALL, assert_same, built, enlivened


def fnet(own: Any, images: Tensor) -> Tensor:
    """Logits, with the layers of `own` called in the order that the papers give."""
    x = own.stem.embed(images).flatten(2).transpose(1, 2)
    x = x + own.stem.position.embedding.weight
    for layer in own.stage1.layers:
        mixed = torch.fft.fft(torch.fft.fft(layer.norm1(x), dim=-1), dim=-2).real
        hidden = layer.mlp.up(layer.norm2(mixed).transpose(1, 2).unflatten(2, (3, 4)))
        x = x + layer.mlp.down(F.gelu(hidden)).flatten(2).transpose(1, 2)
    logits: Tensor = own.head.classifier(own.head.layer_norm(x).mean(1))
    return logits


def test_fnet() -> None:
    network = built("fnet", **SMALL["fnet"])
    module = enlivened(network).eval()
    images = network.images(2)
    assert_same(module(images), fnet(module, images))
