"""The layers that PyTorch lacks, against formulas written out, and the rates of dropped layers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from archspec import layers
from archspec.errors import SpecError
from archspec.layers import (
    Affine,
    AxisLinear,
    ComplexMultiply,
    Fourier,
    GroupNorm,
    Pad,
    Scale,
    Shift,
    StochasticDepth,
)
from tests.built import Built, built


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


# -- linear maps along an axis -------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "dim", "formula"),
    [
        ((2, 5, 3), 1, "oi,bic->boc"),
        ((2, 5, 4, 3), 1, "oi,bihc->bohc"),
        ((2, 4, 5, 3), 2, "oi,bhic->bhoc"),
        ((1, 2, 3, 5, 4, 2), 3, "oi,bxyizc->bxyozc"),
    ],
)
def test_axis_linear(shape: tuple[int, ...], dim: int, formula: str, bias: bool) -> None:
    layer = AxisLinear(5, 7, bias=bias, dim=dim).double()
    x = numbers(*shape)
    expected = torch.einsum(formula, layer.weight, x)
    if bias:
        expected = expected + layer.bias.reshape(-1, *(1,) * (len(shape) - 1 - dim))
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-13)
    strided = x.transpose(0, -1).contiguous().transpose(0, -1)
    torch.testing.assert_close(layer(strided), expected, rtol=1e-12, atol=1e-13)


def test_axis_linear_gradients() -> None:
    layer = AxisLinear(3, 2, dim=1).double()
    assert torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,)),
        (numbers(2, 3, 4).requires_grad_(), layer.weight, layer.bias),
    )


def test_axis_linear_is_initialised_as_linear_is() -> None:
    torch.manual_seed(0)
    ours = AxisLinear(6, 4, dim=1)
    torch.manual_seed(0)
    theirs = nn.Linear(6, 4)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


# -- shift ---------------------------------------------------------------------------------------


def shifted(x: Tensor, by: int, dim: int, mode: str) -> Tensor:
    """y[i] = x[i − by] along a dimension, read through an index of positions."""
    size = x.shape[dim]
    source = torch.arange(size) - by
    inside = (source >= 0) & (source < size)
    if mode == "circular":
        return torch.roll(x, by, dim)
    y = x.index_select(dim, source.clamp(0, size - 1))
    if mode == "zero":
        y = y * inside.reshape(-1, *(1,) * (x.ndim - 1 - dim))
    return y


@pytest.mark.parametrize("mode", ["circular", "zero", "replicate"])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("offsets", [(0,), (1,), (-2,), (3,), (1, 0, -1), (2, -3, 1, 0)])
def test_shift(mode: str, dim: int, offsets: tuple[int, ...]) -> None:
    x = numbers(2, 4, 5, 7)
    found = Shift(offsets, dim, mode, group_dim=3)(x)
    parts = x.chunk(len(offsets), 3)
    expected = [shifted(part, by, dim, mode) for part, by in zip(parts, offsets, strict=True)]
    assert torch.equal(found, torch.cat(expected, 3))


@pytest.mark.parametrize("mode", ["circular", "zero", "replicate"])
@pytest.mark.parametrize("offsets", [(1, 0), (1, 0, -1), (2, -3, 1, 0, 1), (1, 2, 3, 0, 1, 2, 3)])
def test_shift_of_channels_in_turn(mode: str, offsets: tuple[int, ...]) -> None:
    x = numbers(2, 4, 5, 7)
    found = Shift(offsets, 2, mode, group_dim=3, grouping="cycle")(x)
    expected = [
        shifted(x[..., c : c + 1], offsets[c % len(offsets)], 2, mode) for c in range(x.shape[3])
    ]
    assert torch.equal(found, torch.cat(expected, 3))


# -- pad -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["circular", "replicate", "reflect"])
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(("before", "after"), [(0, 1), (2, 0), (1, 3)])
def test_pad(mode: str, dim: int, before: int, after: int) -> None:
    """As F.pad does it along the last dimension."""
    x = numbers(2, 5, 4, 6)
    moved = x.movedim(dim, -1).flatten(0, 1)
    expected = nn.functional.pad(moved, (before, after), mode=mode)
    expected = expected.reshape(*x.movedim(dim, -1).shape[:3], -1).movedim(-1, dim)
    assert torch.equal(Pad(before, after, dim, mode)(x), expected)


# -- Fourier transforms --------------------------------------------------------------------------


def pairs(z: Tensor) -> Tensor:
    return torch.view_as_real(z)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("size", [6, 7])
def test_there_and_back(norm: str, size: int) -> None:
    """Against torch.fft, whose results `tests.dft` checks through the networks of test_ops."""
    x, dim = numbers(2, 5, size, 3), (1, 2)
    half = Fourier("rfft", dim, norm)(x)
    torch.testing.assert_close(half, pairs(torch.fft.rfft2(x, dim=dim, norm=norm)))
    torch.testing.assert_close(Fourier("irfft", dim, norm, size=size)(half), x)
    full = Fourier("fft", dim, norm, is_complex=False)(x)
    torch.testing.assert_close(full, pairs(torch.fft.fft2(x, dim=dim, norm=norm)))
    back = Fourier("ifft", dim, norm)(full)
    torch.testing.assert_close(back, torch.stack([x, torch.zeros_like(x)], -1))
    again = Fourier("fft", dim, norm)(back)
    torch.testing.assert_close(again, full)


def test_pairs_that_lie_apart() -> None:
    """Real and imaginary parts need not be neighbours in memory."""
    x = numbers(2, 5, 2, 3).permute(0, 1, 3, 2)
    z = torch.complex(x[..., 0], x[..., 1])
    torch.testing.assert_close(Fourier("fft", (1,))(x), pairs(torch.fft.fft(z, dim=1)))
    y = numbers(2, 1, 3, 2, seed=1)
    expected = pairs(z * torch.complex(y[..., 0], y[..., 1]))
    torch.testing.assert_close(ComplexMultiply()(x, y), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_transformed_in_float32(dtype: torch.dtype) -> None:
    x = numbers(2, 6, 3).to(dtype)
    half = Fourier("rfft", (1,))(x)
    assert half.dtype == dtype
    assert torch.equal(half, Fourier("rfft", (1,))(x.float()).to(dtype))
    assert torch.equal(
        Fourier("irfft", (1,), size=6)(half), Fourier("irfft", (1,), size=6)(half.float()).to(dtype)
    )
    product = ComplexMultiply()(half, half)
    assert torch.equal(product, ComplexMultiply()(half.float(), half.float()).to(dtype))


@pytest.mark.parametrize("size", [5, 6])
def test_fourier_gradients(size: int) -> None:
    def there_and_back(x: Tensor, weight: Tensor) -> Tensor:
        z = ComplexMultiply()(Fourier("rfft", (1,))(x), weight)
        y: Tensor = Fourier("irfft", (1,), "ortho", size=size)(z)
        return y

    weight = numbers(1, size // 2 + 1, 2, 2, seed=1)
    inputs = numbers(2, size, 2).requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(there_and_back, inputs)


# -- weights alone -------------------------------------------------------------------------------


def test_affine_and_scale() -> None:
    x, weight, bias = numbers(2, 3, 4), numbers(4, seed=1), numbers(4, seed=2)
    affine, scale = Affine(4).double(), Scale(4, init=0.1).double()
    assert torch.equal(affine(x), x)
    torch.testing.assert_close(scale(x), 0.1 * x, rtol=1e-7, atol=0)
    with torch.no_grad():
        affine.weight.copy_(weight)
        affine.bias.copy_(bias)
        scale.weight.copy_(weight)
    torch.testing.assert_close(affine(x), weight * x + bias, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(scale(x), weight * x, rtol=1e-14, atol=0)


def test_group_norm_without_bias() -> None:
    x, layer = numbers(2, 6, 3), GroupNorm(2, 6, bias=False).double()
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    with torch.no_grad():
        layer.weight.copy_(numbers(6, seed=1))
    torch.testing.assert_close(layer(x), nn.functional.group_norm(x, 2, layer.weight))


def test_all_names_every_layer() -> None:
    defined = {
        name
        for name, value in vars(layers).items()
        if isinstance(value, type) and value.__module__ == layers.__name__
    }
    assert set(layers.__all__) == defined


@pytest.mark.parametrize(
    "layer",
    [
        AxisLinear(2, 3, dim=1),
        Shift((1,), 1, "zero"),
        StochasticDepth(0.1),
        Shift((1, 0), 1, "zero", 2, "cycle"),
        Pad(1, 0, 1, "reflect"),
        Fourier("fft", (1,)),
    ],
)
def test_what_a_layer_prints(layer: nn.Module) -> None:
    assert layer.extra_repr() in repr(layer)
    assert layer.extra_repr()


# -- stochastic depth ----------------------------------------------------------------------------


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    rate, count = 0.3, 20_000
    layer, x = StochasticDepth(rate), torch.ones(count, 2, 3)
    y = layer(x)
    kept = y[:, 0, 0] != 0
    assert torch.equal(y, kept[:, None, None].expand_as(x) / (1 - rate))
    deviation = (rate * (1 - rate) / count) ** 0.5
    assert abs(float(kept.float().mean()) - (1 - rate)) < 4 * deviation
    assert layer.eval()(x) is x
    assert StochasticDepth(0.0).train()(x) is x


def rates(network: Built) -> list[float]:
    return [m.p for m in network.module.modules() if isinstance(m, StochasticDepth)]


def test_the_schedule_is_linear_over_all_layers() -> None:
    """rate · l / (L − 1), the same for the two branches of a layer."""
    network = built("smlpnet_t", drop_path=0.3, depths=[1, 2, 3, 1], dim=8)
    expected = [0.3 * layer / 6 for layer in range(7)]
    found = rates(network)
    assert found[0::2] == found[1::2] == pytest.approx(expected, abs=1e-6)


def test_a_rate_of_zero_needs_no_layer() -> None:
    assert rates(built("smlpnet_t", depths=[1, 1, 1, 1], dim=8)) == []


NESTED = """
input: {channels: 2, height: 8, width: 8}
classes: 2
blocks:
  pair: [{repeat: {times: 2, body: [relu, stochastic_depth: 0.8]}}]
stem: [stochastic_depth: 0.8, pair]
stages:
  first: {repeat: 2, body: [{stochastic_depth: {rate: 0.8, schedule: constant}}, pair]}
head: [{stochastic_depth: 0.8}, global_pool, linear: classes]
"""


def test_repeats_inside_blocks_and_layers() -> None:
    """Four layers: two in the stem's block, two in the stage; what is inside one shares its rate.

    What stands before a layer has that layer's rate, and after the last layer the last one's.
    """
    last = 0.8
    third = [0.8, *[0.8 * 2 / 3] * 2]  # the constant one, and the pair inside the layer
    fourth = [0.8, last, last]
    expected = [0.0, 0.0, 0.8 / 3, *third, *fourth, last]
    assert rates(built(NESTED)) == pytest.approx(expected, abs=1e-6)


def test_a_single_layer_is_never_dropped() -> None:
    text = "stem: [relu]\nstages: {only: {body: [stochastic_depth: 0.5]}}\n"
    assert rates(built(text)) == [0.0]


def test_dropping_happens_in_the_network() -> None:
    """With a constant rate, a residual branch vanishes for about that share of the images."""
    text = """
input: {channels: 2, height: 8, width: 8}
stem: [residual: [relu, {stochastic_depth: {rate: 0.25, schedule: constant}}]]
"""
    network = built(text)
    torch.manual_seed(0)
    x = torch.ones(4000, *network.image)
    y = network.module.train()(x).permute(0, 3, 1, 2)
    dropped = (y == x).flatten(1).all(1)
    scaled = torch.isclose(y, x * (1 + 1 / 0.75)).flatten(1).all(1)
    assert bool((dropped ^ scaled).all())
    assert abs(float(dropped.float().mean()) - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    assert torch.equal(network.module.eval()(x).permute(0, 3, 1, 2), 2 * x)


def test_group_sizes_are_those_of_chunk() -> None:
    """The shape rule admits exactly the counts of groups that torch.chunk makes."""
    for channels, count in itertools.product(range(1, 13), range(2, 9)):
        offsets = [0] * count
        text = (
            f"input: {{channels: {channels}, height: 8, width: 8}}\n"
            f"stem: [shift: {{axis: width, by: {offsets}}}]\n"
        )
        makes = len(torch.zeros(channels).chunk(count)) == count
        if makes:
            built(text)
        else:
            with pytest.raises(SpecError, match="groups"):
                built(text)
