"""Every rewrite keeps the function, alone and with all others, on shipped and random networks.

Parametrised over the registry: a new rewrite is tested without being named here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.editing import Edit
from archspec.compile.rewrites.fold_batch_norm import FoldBatchNorm
from archspec.compile.rewriting import find_all
from archspec.graph import Ref
from archspec.ops.base import Op
from archspec.ops.conv import Conv
from archspec.ops.norm import BatchNorm, Scale
from tests.built import CASES, built, network_of
from tests.compile.rewriting import (
    SHIPPED,
    assert_exact,
    dense_networks,
    network_in,
    ready,
    shipped,
    stem,
)
from tests.strategies import networks

ALL = list(find_all().values())
each = pytest.mark.parametrize("alone", ALL, ids=lambda cls: cls.name)


@pytest.mark.parametrize("name", SHIPPED)
def test_all_on_shipped(name: str) -> None:
    assert_exact(shipped(name), ALL)


@each
@pytest.mark.parametrize("case", CASES)
def test_each_alone(alone: type[Rewrite], case: str) -> None:
    assert_exact(ready(case), [alone])


@settings(max_examples=60, deadline=None)
@given(networks())
def test_all_on_random(text: str) -> None:
    assert_exact(built(text), ALL, bound=1e-12)


@settings(max_examples=120, deadline=None)
@given(dense_networks())
def test_all_on_dense(text: str) -> None:
    assert_exact(built(text), ALL)


@each
def test_each_on_dense(alone: type[Rewrite]) -> None:
    @settings(max_examples=25, deadline=None)
    @given(dense_networks())
    def check(text: str) -> None:
        assert_exact(built(text), [alone])

    check()


@pytest.mark.parametrize(
    "name", ["compose-linears", "split-concat", "commute-axes", "merge-linears"]
)
def test_those_that_may_lose_never_move_more(name: str) -> None:
    """In all, weights and constants included; folding may give a linear map a bias instead."""

    @settings(max_examples=40, deadline=None)
    @given(dense_networks())
    def check(text: str) -> None:
        found = assert_exact(built(text), [find_all()[name]])
        assert found.after.total <= found.before.total

    check()


# -- export --------------------------------------------------------------------------------------

EXPORTED = {
    "sparse_mlp": "[batch_norm, {conv: {kernel: 3, groups: C}}, {batch_norm: {id: x}}, "
    "{linear: {id: row, axis: width}}, {linear: {id: column, axis: height, from: x}}, "
    "{concat: {from: [x, row, column]}}, {linear: {out: C / 3, bias: false}}]",
    "constant": "[{linear: {axis: height, out: 12}}, {linear: {out: 2}}, gelu, layer_norm, "
    "{linear: {out: 3}}]",
    "merged": "[gelu: {id: x}, {linear: {id: p}}, {linear: {id: q, from: x}}, "
    "{multiply: {from: [p, q]}}, {scale: 0.5}, {global_pool: average}]",
}


@pytest.mark.parametrize("case", EXPORTED)
@pytest.mark.parametrize("pointwise", ["conv", "linear"])
def test_export_with_any_batch(case: str, pointwise: str) -> None:
    of = stem(EXPORTED[case])
    network = assert_exact(of, ALL).network
    module = network.module(torch.float64, pointwise="conv" if pointwise == "conv" else "linear")
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        exported = torch.export.export(module, (of.images(3),), dynamic_shapes=({0: batch},))
        for count in (1, 5):
            images = of.images(count, seed=count)
            torch.testing.assert_close(exported.module()(images), module(images))


# -- proof that the check can fail ---------------------------------------------------------------


class _Wrong(Rewrite):
    """A batch_norm left out, and what is wrong about it in `spoil`."""

    name: ClassVar[str] = "wrong"
    about: ClassVar[str] = "a rewrite with a fault"
    precondition: ClassVar[str] = "none"
    op: ClassVar[type[Op]] = BatchNorm

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, _ in edit.each(cls.op):
            edit.note(node, "spoilt")
            edit.bypass(node)
        return edit.done()


class _ForgetsStatistics(_Wrong):
    name: ClassVar[str] = "forgets-statistics"


class _ForgetsScale(_Wrong):
    name: ClassVar[str] = "forgets-scale"
    op: ClassVar[type[Op]] = Scale


class _FoldsThroughPadding(FoldBatchNorm):
    name: ClassVar[str] = "folds-through-padding"

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        """As if the convolution had no padding, which is put back afterwards."""
        edit = Edit(network, cls.name)
        padded = [(node, op) for node, op in edit.each(Conv) if op.pads() != (0, 0)]
        for node, op in padded:
            bare = op.model_copy(update={"padding": 0})
            edit.change(node, bare, weights=edit.tensors(node))
            edit.note(node, "padding left out")
        found, fired = super().apply(edit.done()[0])
        edit = Edit(found, cls.name)
        for node, _ in edit.each(Conv):
            op = next(op for other, op in padded if other.id == node.id)
            kept = op.model_copy(update={"bias": True})
            edit.change(node, kept, weights=edit.tensors(node))
            edit.note(node, "padding put back")
        return edit.done()[0] if fired else network, fired


class _LeavesTheRest(_Wrong):
    name: ClassVar[str] = "leaves-the-rest"

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        node = next((node for node, _ in edit.each(BatchNorm)), None)
        if node is not None and edit.is_read(Ref(node.id)):
            edit.note(node, "not read any more")
            edit.redirect(Ref(node.id), node.inputs[0])
        return edit.done()


@pytest.mark.parametrize(
    ("wrong", "steps", "fault"),
    [
        (_ForgetsStatistics, "[gelu, batch_norm, gelu]", "relative error"),
        (_ForgetsScale, "[gelu, scale, gelu]", "relative error"),
        (_FoldsThroughPadding, "[gelu, batch_norm, {conv: {kernel: 3}}]", "relative error"),
        (_LeavesTheRest, "[gelu, batch_norm, gelu]", "nothing reads {'stem_batch_norm'}"),
    ],
)
def test_a_wrong_rewrite_is_caught(wrong: type[Rewrite], steps: str, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        assert_exact(stem(steps), [wrong])


def test_no_part_of_a_network_is_plain() -> None:
    """Statistics, biases and scales are far from 0 and 1, so that none can be left out unseen."""
    network, _, _ = network_in(network_of("smlpnet_t"))
    for node in network.nodes:
        for name, tensor in network.weights.get(node.id, {}).items():
            plain = torch.zeros_like(tensor) if "mean" in name or name == "bias" else 1.0
            away = float((tensor - plain).abs().mean())
            assert away > 0.05 or tensor.ndim > 1, (node.id, name)
            assert math.isfinite(away)
