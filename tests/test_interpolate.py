"""Position embeddings of another image size: brought to this one, or refused by name.

The figures were computed with timm 1.0.31 (https://github.com/huggingface/pytorch-image-models),
those of frequencies with main_gfnet.py of https://github.com/raoyongming/GFNet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import archspec
from archspec.errors import WeightsError
from archspec.interpolate import Resize, resizable
from archspec.spec import Spec, loads
from tests.test_cli import run
from tests.test_resolution import small

NUMBERS = torch.tensor([(i * i * 7) % 11 for i in range(30)], dtype=torch.float32)


def close(found: Tensor | None, expected: list[float]) -> None:
    assert found is not None
    torch.testing.assert_close(found.flatten(), torch.tensor(expected), rtol=0, atol=2e-5)


def test_tokens_as_in_timm() -> None:
    """resample_abs_pos_embed(…, [3, 4], num_prefix_tokens=1): the class token stays."""
    resize = Resize((13, 1), (3, 4), (0,), before=1, antialias=True)
    close(
        resize(NUMBERS[:5].reshape(1, 5, 1)),
        [
            0.0, 6.99342, 6.79521, 6.40216, 6.20395, 7.80882, 6.775, 4.725, 3.69118, 8.62423,
            6.75479, 3.04784, 1.17841,
        ],
    )  # fmt: skip


def test_a_grid_as_in_timm() -> None:
    """resample_abs_pos_embed_nhwc(…, [3, 2])"""
    resize = Resize((3, 2, 1), (3, 2), (0, 1), antialias=True)
    expected = [2.28628, 6.60917, 4.03451, 6.79535, 5.78274, 6.98152]
    close(resize(NUMBERS[:6].reshape(1, 2, 3, 1)), expected)
    turned = Resize((1, 2, 3), (3, 2), (2, 1), antialias=True)
    made = turned(NUMBERS[:6].reshape(2, 3, 1).permute(2, 1, 0))
    assert made is not None
    close(made.permute(2, 1, 0), expected)


def test_a_table_of_relative_positions_as_in_timm() -> None:
    """resize_rel_pos_bias_table_simple(…, (3, 3), (25, 1))"""
    close(
        Resize((25, 1), (5, 5), (0,))(NUMBERS[:9].reshape(9, 1)),
        [
            -1.55981, 2.56643, 7.48, 6.93309, 5.43706, 2.7584, 3.58501, 5.06, 6.82443, 7.94906,
            8.576, 5.096, 2.0, 6.464, 10.768, 10.58336, 6.09939, 1.64, 5.59597, 9.7767, 10.97844,
            6.59533, 2.0, 4.96468, 8.36557,
        ],
    )  # fmt: skip


def test_frequencies_as_in_gfnet() -> None:
    close(
        Resize((4, 3, 1, 2), (4, 3), (0, 1), align_corners=True)(NUMBERS[:12].reshape(3, 2, 1, 2)),
        [
            0.0, 7.0, 3.0, 7.5, 6.0, 8.0, 0.7037, 9.5, 4.88889, 6.80556, 9.07408, 4.11111, 4.11111,
            9.07407, 6.80555, 4.88889, 9.5, 0.7037, 8.0, 6.0, 7.5, 3.0, 7.0, 0.0,
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "count", "found"),
    [
        ((4, 6), 49, (7, 7)), ((4, 6), 6, (2, 3)), ((4, 6), 54, (6, 9)), ((4, 6), 12, None),
        ((4, 6), 0, None), ((4, 6), -1, None), ((3, 3), 8, None),
    ],
)  # fmt: skip
def test_the_grid_that_a_checkpoint_had(
    grid: tuple[int, int], count: int, found: tuple[int, int] | None
) -> None:
    assert Resize((1, 1), grid, (0,))._grid_of(count) == found


@pytest.mark.parametrize("shape", [(5, 2), (2, 5, 1), (4,), (1, 4, 1, 1), (0, 1), (7, 1)])
def test_what_cannot_be_resized(shape: tuple[int, ...]) -> None:
    assert Resize((10, 1), (3, 3), (0,), before=1)(torch.zeros(shape)) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_number_formats_stay(dtype: torch.dtype) -> None:
    made = Resize((9, 1), (3, 3), (0,), antialias=True)(torch.ones(4, 1, dtype=dtype))
    assert made is not None
    assert made.dtype == dtype
    assert torch.equal(made, torch.ones(9, 1, dtype=dtype))


def names(name: str, **values: Any) -> dict[str, Resize]:
    spec = small(name)
    if values:
        spec = spec.with_values({key.replace("__", "."): value for key, value in values.items()})
    return resizable(archspec.expand(spec))


def test_embeddings_are_seen_in_the_graph() -> None:
    assert names("deit_s") == {
        "stem.position.weight": Resize((7, 128), (2, 3), (0,), before=1, antialias=True)
    }
    found = names("gfnet_ti")
    assert list(found) == [
        "stem.position.embedding.weight",
        "stage1.layers.0.global_filter.filter.weight",
        "stage1.layers.1.global_filter.filter.weight",
    ]
    assert found["stem.position.embedding.weight"] == Resize((15, 8), (3, 5), (0,), antialias=True)
    assert found["stage1.layers.0.global_filter.filter.weight"] == Resize(
        (3, 3, 8, 2), (3, 3), (0, 1), align_corners=True
    )
    tables = names("swin_t")
    assert len(tables) == 6
    assert tables["stage4.layers.0.window_attention.bias.weight"] == Resize((9, 16), (3, 3), (0,))
    for name in ("mixer_s16", "gmlp_ti", "resmlp_12", "smlpnet_t"):
        assert names(name) == {}


ADDED = """
input: {height: 8, width: 16}
classes: 3
blocks:
  patches: [{conv: {out: 4, kernel: 4, stride: 4}}, flatten]
stem:
  - patches
  - layer_norm: {id: x}
  - param: {id: first, axes: {tokens: 1, channels: C}}
  - param: {id: last, axes: {tokens: 2, channels: C}}
  - concat: {id: all, axis: tokens, from: [first, x, last]}
  - param: {id: where, axes: {channels: C, tokens: N}}
  - param: {id: same, axes: {channels: C}}
  - add: {from: [where, all, same]}
  - param: {id: gate, axes: {tokens: N, channels: C}}
  - multiply: {from: [gate, FROM]}
head: [global_pool, {linear: classes}]
"""


def test_tokens_before_and_after_the_grid() -> None:
    """Through a block, a norm and a concatenation; what is multiplied is no embedding."""
    spec = loads(ADDED.replace("add: {", "add: {id: y, ").replace("FROM", "y"))
    assert resizable(archspec.expand(spec)) == {
        "stem.where.weight": Resize((4, 11), (2, 4), (1,), before=1, after=2, antialias=True)
    }


def at(spec: Spec, height: int, width: int) -> Spec:
    return spec.with_values({"input.height": height, "input.width": width})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a small DeiT at 32×48."""
    torch.manual_seed(0)
    torch.save(archspec.build(small("deit_s")).state_dict(), tmp_path / "deit.pth")
    return tmp_path / "deit.pth"


def test_a_checkpoint_of_another_size(checkpoint: Path) -> None:
    held = torch.load(checkpoint)["stem.position.weight"]
    model = archspec.build(at(small("deit_s"), 64, 96), weights=checkpoint, interpolate=True)
    made = model.state_dict()["stem.position.weight"]
    assert made.shape == (1 + 4 * 6, 128)
    assert torch.equal(made[0], held[0])
    expected = Resize((25, 128), (4, 6), (0,), before=1, antialias=True)(held)
    assert expected is not None
    assert torch.equal(made, expected)
    same = archspec.build(small("deit_s"), weights=checkpoint, interpolate=True)
    assert torch.equal(same.state_dict()["stem.position.weight"], held)


def test_without_being_asked_it_is_refused(checkpoint: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        archspec.build(at(small("deit_s"), 64, 96), weights=checkpoint)
    assert str(caught.value) == (
        f"{checkpoint}: does not fit deit_s (read with the names of 'archspec'):\n"
        "  1 of another shape: stem.position.weight 7×128, expected 25×128\n"
        "  position embeddings: stem.position.weight; --interpolate resizes them "
        "(Python: interpolate=True)\n"
        "  known namings: archspec, timm"
    )


@pytest.mark.parametrize("interpolate", [False, True])
def test_what_mixes_tokens_is_refused(interpolate: bool, tmp_path: Path) -> None:
    torch.save(archspec.build(small("gmlp_ti")).state_dict(), tmp_path / "gmlp.pth")
    with pytest.raises(WeightsError) as caught:
        archspec.build(
            at(small("gmlp_ti"), 64, 64), weights=tmp_path / "gmlp.pth", interpolate=interpolate
        )
    text = str(caught.value)
    assert "  4 of another shape: stage1.layers.0." in text
    assert "12×12, expected 16×16" in text
    assert (
        "×2; what mixes positions cannot be resized: build at the checkpoint's size (--input) "
        "instead of 64×64"
    ) in text
    assert "--interpolate" not in text


def test_another_head_is_not_a_matter_of_size(checkpoint: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        archspec.build(small("deit_s").with_values({"classes": 5}), weights=checkpoint)
    assert "of another shape: head.classifier.weight 10×128, expected 5×128" in str(caught.value)
    assert "size" not in str(caught.value)


def test_windows_of_another_size(tmp_path: Path) -> None:
    spec = small("swin_t")
    torch.save(archspec.build(spec).state_dict(), tmp_path / "swin.pth")
    wider = at(spec, 128, 256).with_values({"window": 4})
    model = archspec.build(wider, weights=tmp_path / "swin.pth", interpolate=True)
    assert model.state_dict()["stage1.layers.0.window_attention.bias.weight"].shape == (49, 2)


def test_the_command(checkpoint: Path) -> None:
    options = [
        "--set", "dim=128", "--set", "depth=2", "--set", "classes=10", "--input", "3x64x96",
        "--weights", checkpoint,
    ]  # fmt: skip
    shown = run("build", "deit_s", *options, "--interpolate").stdout
    assert f"Weights: {checkpoint} (names: archspec; resized: stem.position.weight)" in shown


def test_export_resizes_too(checkpoint: Path, tmp_path: Path) -> None:
    values = ["--set", "dim=128", "--set", "depth=2", "--set", "classes=10"]
    file = tmp_path / "out.safetensors"
    run(
        "export", "deit_s", *values, "--input", "3x64x96", "--weights", checkpoint,
        "--interpolate", "--format", "safetensors", "--output", file,
    )  # fmt: skip
    model = archspec.build(at(small("deit_s"), 64, 96), weights=file)
    assert model.state_dict()["stem.position.weight"].shape == (25, 128)
