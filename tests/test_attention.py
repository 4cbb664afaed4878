"""The ops that attention is made of: formulas written out, refusals, formulas and many at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import archspec
from archspec.errors import SpecError, WeightsError
from archspec.formula import formulas
from archspec.layers import Contract, Param, RelativePositionBias, ShiftedWindowMask
from tests import golden
from tests.built import built


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


# -- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "shared", "over", "formula"),
    [
        ((2, 3, 5), (2, 5, 4), 0, 1, "bik,bkj->bij"),
        ((2, 6, 3, 5), (2, 6, 5, 4), 1, 1, "bsik,bskj->bsij"),
        ((2, 6, 3, 4, 5), (2, 6, 4, 5, 2, 7), 1, 2, "bsikl,bskljm->bsijm"),
        ((2, 6, 5), (2, 6, 5, 4), 1, 1, "bsk,bskj->bsj"),
        ((2, 6, 3, 4, 5), (2, 6, 5), 1, 1, "bsijk,bsk->bsij"),
        ((2, 5), (2, 5), 0, 1, "bk,bk->b"),
    ],
)
def test_contract(
    left: tuple[int, ...], right: tuple[int, ...], shared: int, over: int, formula: str
) -> None:
    a, b = numbers(*left), numbers(*right, seed=1)
    found = Contract(shared, over, scale=0.5)(a, b)
    torch.testing.assert_close(found, torch.einsum(formula, a, b) / 2, rtol=1e-12, atol=1e-13)


def test_attention_is_that_of_pytorch() -> None:
    network = built(
        "import: [attention]\ninput: {channels: 12, height: 4, width: 5}\n"
        "stem: [flatten, attention: {heads: 3}]\n"
    )
    module, x = network.module.double().eval(), network.images(2)
    layer = module.stem.attention
    tokens = x.flatten(2).transpose(1, 2)
    qkv = layer.qkv(tokens).reshape(2, 20, 3, 3, 4).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
    torch.testing.assert_close(module(x), layer.project(mixed), rtol=1e-11, atol=1e-12)


def test_params_are_repeated_not_copied() -> None:
    layer = Param((3, 4), init=0.5)
    out = layer(torch.zeros(5, 2))
    assert out.shape == (5, 3, 4)
    assert out.data_ptr() == layer.weight.data_ptr()
    assert bool((out == 0.5).all())
    torch.manual_seed(0)
    assert abs(float(Param((100, 100), std=0.3).weight.detach().std()) - 0.3) < 0.01


def test_relative_position_bias_depends_on_the_offset_alone() -> None:
    layer = RelativePositionBias(heads=2, height=3, width=4)
    nn.init.normal_(layer.weight)
    bias = layer(torch.zeros(1, 1))[0].unflatten(1, (3, 4)).unflatten(3, (3, 4))
    table = layer.weight.unflatten(0, (5, 7))
    for i, j, k, m in np.ndindex(3, 4, 3, 4):
        assert torch.equal(bias[:, i, j, k, m], table[i - k + 2, j - m + 3])


def test_shifted_window_mask_as_published() -> None:
    """Regions are numbered on the rolled image; places of different regions are kept apart."""
    regions = torch.zeros(12, 8)
    number = 0
    for rows in (slice(0, -4), slice(-4, -2), slice(-2, None)):
        for columns in (slice(0, -4), slice(-4, -2), slice(-2, None)):
            regions[rows, columns] = number
            number += 1
    windows = regions.reshape(3, 4, 2, 4).transpose(1, 2).flatten(2)
    expected = (windows[..., :, None] != windows[..., None, :]) * -100.0
    found = ShiftedWindowMask((3, 2), (4, 4), (-2, -2))(torch.zeros(2, 1))
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], expected)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            "[gelu: {id: a}, pad: {axis: width, after: 1, id: b},"
            " contract: {over: channels, from: [a, b]}]",
            "'contract' cannot join C3 H8 W8 and C3 H8 W9: width is 8 in one and 9 in the other",
        ),
        (
            "[gelu: {id: a}, global_pool: {id: b}, contract: {over: width, from: [a, b]}]",
            "there is no axis 'width' in C3",
        ),
        (
            "[gelu: {id: a}, relu: {id: b}, contract: {over: [width, width], from: [a, b]}]",
            "'contract' names an axis twice",
        ),
        ("[gelu, contract: {over: width}]", "'contract' joins 2 tensors, found 1"),
        ("[slice: {axis: width, start: 6, size: 4}]", "'slice' ends at position 10, and width has"),
        ("[slice: {axis: width, start: 8}]", "'slice' ends at position 9, and width has 8"),
        ("[select: {axis: width, index: 8}]", "'select' ends at position 9, and width has 8"),
        ("[pad: {axis: tokens}]", "there is no axis 'tokens' in C3 H8 W8"),
        ("[param: {axes: {channels: C / 2}}]", "'param' axes: expected a whole number"),
        (
            "[relative_position_bias: {window: 3, heads: channels, queries: height, keys: width}]",
            "a window of 3×3 has 9 positions, and height has 8",
        ),
        (
            "[relative_position_bias: {window: [2, 4], heads: width, queries: height,"
            " keys: width}]",
            "'relative_position_bias' needs heads to be an axis of their own",
        ),
        (
            "[shifted_window_mask: {window: [2, 4], by: -2, rows: channels, columns: channels,"
            " queries: height, keys: width}]",
            "a shift by -2 is not less than the window's 2",
        ),
        (
            "[shifted_window_mask: {window: [2, 4], by: -1, rows: channels, columns: channels,"
            " queries: height, keys: width}]",
            "'shifted_window_mask' needs four different axes",
        ),
    ],
)  # fmt: skip
def test_refusals(steps: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        built(f"input: {{height: 8, width: 8}}\nstem: {steps}\n")
    assert message in str(caught.value)


# -- formulas and many at once -------------------------------------------------------------------


def test_formula_of_attention() -> None:
    (found,) = formulas(archspec.load("deit_s"), "attention")
    assert found.macs.value({"C": 384, "N": 197}) == 4 * 197 * 384**2 + 2 * 197**2 * 384
    assert str(found.macs) == "2·N²·C + 4·N·C²"


def test_formula_of_window_attention() -> None:
    """Equation 2 of the paper: Ω(W-MSA) = 4hwC² + 2M²hwC."""
    (found,) = formulas(archspec.load("swin_t"), "window_attention")
    assert str(found.macs) == "2·window²·H·W·C + 4·H·W·C²"


def test_many_at_once() -> None:
    dims, depths = np.array([128, 192, 384]), np.array([1, 12, 5])
    found = archspec.costs(archspec.load("deit_s"), {"dim": dims, "depth": depths})
    for index, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
        one = archspec.cost(archspec.load("deit_s").with_values({"dim": dim, "depth": depth}))
        assert (found.params[index], found.flops[index]) == (one.params, one.flops)


# -- checkpoints ---------------------------------------------------------------------------------


def test_buffers_of_older_files_are_ignored(tmp_path: Path) -> None:
    """Of masks and indices: they are computed here. What is not known is still refused."""
    answer = golden.load("swin_tiny_patch4_window7_224")
    entries = answer.state_dict()
    entries["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    entries["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(49, 49)
    file = tmp_path / "old.pth"
    torch.save(entries, file)
    model = archspec.build("swin_t", weights=file)
    table = entries["layers.2.blocks.5.attn.relative_position_bias_table"]
    found = model.get_submodule("stage3.layers.5.window_attention.bias").weight
    assert torch.equal(found, table.float())
    torch.save({**entries, "layers.0.blocks.1.attn.tau": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match=r"1 surplus: layers\.0\.blocks\.1\.attn\.tau"):
        archspec.build("swin_t", weights=file)
