"""The networks compute what public reference implementations compute, from their checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import archspec
from tests import golden

SPECS = {
    "smlpnet_t": "smlpnet_t",
    "smlpnet_t_alpha2": "smlpnet_t_alpha2",
    "mixer_s32_224": "mixer_s32",
    "mixer_b16_224": "mixer_b16",
    "resmlp_12_224": "resmlp_12",
    "gmlp_ti16_224": "gmlp_ti",
    "poolformer_s12": "poolformer_s12",
    "convmixer_1024_20_ks9_p14": "convmixer_1024_20",
    "convnext_tiny": "convnext_tiny",
    "asmlp_t": "asmlp_t",
    "vip_s7": "vip_s7",
    "deit_small_patch16_224": "deit_s",
    "swin_tiny_patch4_window7_224": "swin_t",
}

# What fvcore counts on the reference and not on our module, op by op. Adaptive pooling: one per
# element, where we take a mean. `padding='same'`: no multiply-adds at all of such a convolution.
ELSEWHERE: dict[str, dict[str, int]] = {
    "poolformer_s12": {"adaptive pooling": 512 * 7 * 7},
    "convmixer_1024_20_ks9_p14": {
        "adaptive pooling": 1024 * 16 * 16,
        "padding='same'": -20 * 1024 * 16 * 16 * 9 * 9,
    },
    "convnext_tiny": {"adaptive pooling": 768 * 7 * 7},
    "asmlp_t": {"adaptive pooling": 768 * 7 * 7},
}


@pytest.mark.parametrize(("reference", "spec"), SPECS.items())
def test_logits_and_figures(reference: str, spec: str, tmp_path: Path) -> None:
    answer = golden.load(reference)
    checkpoint = tmp_path / "reference.pth"
    torch.save(answer.state_dict(), checkpoint)
    model = archspec.build(spec, weights=checkpoint, dtype=torch.float64).eval()
    with torch.no_grad():
        logits = model(answer.image())
    error = (logits - answer.logits).norm() / answer.logits.norm()
    assert error < 1e-9
    assert sum(p.numel() for p in model.parameters()) == answer.params
    elsewhere = sum(ELSEWHERE.get(reference, {}).values())
    assert archspec.cost(spec).flops + elsewhere == answer.fvcore_flops


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
    with torch.no_grad():
        logits = model(answer.image())
    assert (logits - answer.logits).norm() / answer.logits.norm() > 1e-2
