"""Blocks in the frequency domain: what they compute, and their cost for many networks at once."""

from __future__ import annotations

import numpy as np
import torch

import archspec
from archspec.counting import count
from archspec.expansion import expand

FILTER = """
vars: {dim: 4, size: 6}
input: {channels: 3, height: 5, width: 8}
blocks:
  mixer:
    args: {h: H, w: W}
    body:
      - rfft: {id: frequencies}
      - param: {id: filter, axes: {height: h, width: w // 2 + 1, channels: C, complex: 2}}
      - complex_multiply: {from: [frequencies, filter]}
      - irfft: {size: w}
stem: [{linear: dim}, {linear: {axis: width, out: size}}, mixer: {id: mixed}]
"""


def test_a_product_of_frequencies_is_a_circular_convolution() -> None:
    spec = archspec.loads(FILTER)
    module = archspec.build(spec).double().eval()
    block = module.get_submodule("stem.mixed")
    kernel = torch.randn(5, 6, 4, dtype=torch.float64)
    filter_ = torch.view_as_real(torch.fft.rfft2(kernel, dim=(0, 1)))
    with torch.no_grad():
        block.get_parameter("filter.weight").copy_(filter_)
    x = torch.randn(2, 5, 6, 4, dtype=torch.float64)
    expected = torch.zeros_like(x)
    for i in range(5):
        for j in range(6):
            expected += kernel[i, j] * x.roll((i, j), (1, 2))
    torch.testing.assert_close(block(x), expected)


def test_costs_of_many_networks_at_once() -> None:
    spec = archspec.loads(FILTER)
    dims, sizes = np.array([4, 4, 7, 9]), np.array([6, 7, 8, 9])
    found = archspec.costs(spec, {"dim": dims, "size": sizes})
    for row, (dim, size) in enumerate(zip(dims.tolist(), sizes.tolist(), strict=True)):
        one = count(expand(spec.with_values({"dim": dim, "size": size})))
        figures = found.params[row], found.flops[row], found.activations[row]
        assert figures == (one.params, one.flops, one.activations)
        # two linear maps, and the filter's complex numbers
        filter_ = 2 * 5 * (size // 2 + 1) * dim
        assert one.params == 4 * dim + 9 * size + filter_
