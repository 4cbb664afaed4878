"""The networks compute what public reference implementations compute, from their checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import archspec
from tests import golden

CLAIMS = golden.claims()


def distance(model: nn.Module, answer: golden.Golden) -> float:
    """How far the logits of the first image are from the reference's, relative to these."""
    with torch.no_grad():
        logits = model(answer.image()[:1])
    return float((logits - answer.logits[:1]).norm() / answer.logits[:1].norm())


@pytest.mark.parametrize("reference", CLAIMS)
def test_logits_and_figures(reference: str, tmp_path: Path) -> None:
    claim, answer = CLAIMS[reference], golden.load(reference)
    height, width = answer.image_shape[2:]
    size = {"input.height": height, "input.width": width}
    spec = archspec.load(claim.spec).with_values(size | claim.values)
    checkpoint = tmp_path / "reference.pth"
    torch.save(answer.state_dict(), checkpoint)
    model = archspec.build(spec, weights=checkpoint, dtype=torch.float64).eval()
    assert distance(model, answer) < 1e-9
    assert sum(p.numel() for p in model.parameters()) == answer.params
    differences = sum(claim.differences.values())
    assert archspec.cost(spec).flops + differences == answer.fvcore_flops


def test_swapped_axes_would_be_seen(tmp_path: Path) -> None:
    """Rows and columns have weights of one shape: only the numbers tell them apart."""
    answer = golden.load("smlpnet_t")
    entries = answer.state_dict()
    swap = {"proj_h": "proh_w", "proh_w": "proj_h"}
    swapped = {
        ".".join(swap.get(word, word) for word in key.split(".")): value
        for key, value in entries.items()
    }
    checkpoint = tmp_path / "swapped.pth"
    torch.save(swapped, checkpoint)
    model = archspec.build("smlpnet_t", weights=checkpoint, dtype=torch.float64).eval()
    assert distance(model, answer) > 1e-2
