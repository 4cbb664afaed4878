"""The built module exports and compiles whole, with the same outputs; the batch may vary."""

from __future__ import annotations

import shutil

import pytest
import torch
from hypothesis import given, settings

from tests.built import CASES, Built, assert_same, brief, built, enlivened, network_of
from tests.strategies import networks


def assert_exports(network: Built) -> None:
    module, images = enlivened(network).eval(), network.images(3)
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(module, (images,), dynamic_shapes=({0: batch},)).module()
        assert_same(exported(images), module(images))
        for count in (1, 5):
            many = network.images(count, seed=1)
            assert_same(exported(many), module(many))


def test_export_of_one_batch_size() -> None:
    network = network_of("smlpnet_t")
    module, images = enlivened(network).eval(), network.images(3)
    with torch.no_grad():
        exported = torch.export.export(module, (images,)).module()
        assert_same(exported(images), module(images))


@pytest.mark.parametrize("case", CASES)
def test_export(case: str) -> None:
    assert_exports(brief(case))


@settings(max_examples=15, deadline=None)
@given(networks())
def test_export_of_random_networks(text: str) -> None:
    assert_exports(built(text))


def assert_compiles(network: Built, backend: str) -> None:
    torch._dynamo.reset()
    module, images = enlivened(network).eval(), network.images(2)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    assert_same(compiled(images), module(images))


@pytest.mark.parametrize("case", CASES)
def test_compile(case: str) -> None:
    assert_compiles(brief(case), "eager")


@settings(max_examples=15, deadline=None)
@given(networks())
def test_compile_of_random_networks(text: str) -> None:
    assert_compiles(built(text), "eager")


def test_compile_with_gradients() -> None:
    torch._dynamo.reset()
    network = network_of("smlpnet_t")
    module, images = enlivened(network).eval(), network.images(2)
    module(images).square().sum().backward()
    expected = {name: p.grad for name, p in module.named_parameters()}
    module.zero_grad()
    torch.compile(module, fullgraph=True, backend="aot_eager")(images).square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-8)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compile_to_native_code() -> None:
    text = """
input: {channels: 3, height: 8, width: 12}
stem:
  - gelu: {id: x}
  - linear: {id: row, axis: width}
  - linear: {id: column, axis: height, from: x}
  - concat: {from: [x, row, column]}
  - linear: {out: C / 3, bias: false}
"""
    assert_compiles(built(text), "inductor")
