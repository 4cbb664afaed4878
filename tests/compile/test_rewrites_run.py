"""Running rewrites: their names and order, what they report, and what they save on sMLPNet-T."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
import torch

from archspec.compile.errors import CompileError
from archspec.compile.network import Network, inline
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.rewrites.editing import Edit
from archspec.compile.rewriting import Firings, by_name, collapsed, find_all, rewrite, run
from archspec.compile.traffic import Traffic
from archspec.ops.layout import Identity, Rename
from tests.built import built, network_of
from tests.compile.rewriting import network_in, stem

ALL = list(find_all())


# -- names and order -----------------------------------------------------------------------------


def test_rewrites_are_found_by_scanning_and_run_by_rank() -> None:
    assert ALL == [
        "drop-identities", "fold-batch-norm", "fold-layer-norm", "fold-affine",
        "batch-norm-to-affine", "compose-linears", "split-concat", "commute-axes", "merge-linears",
    ]  # fmt: skip
    ranks = [cls.rank for cls in find_all().values()]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize("cls", find_all().values(), ids=lambda cls: cls.name)
def test_every_rewrite_says_what_it_does_and_when(cls: type[Rewrite]) -> None:
    assert cls.about
    assert cls.precondition
    assert cls.name.islower() and " " not in cls.name


def test_a_name_taken_twice_is_an_error() -> None:
    classes = list(find_all().values())
    with pytest.raises(RuntimeError, match="two rewrites are called 'drop-identities'"):
        by_name([*classes, classes[0]])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fold-batchnorm",
            "there is no rewrite 'fold-batchnorm'\n  did you mean 'fold-batch-norm'?",
        ),
        (
            "zz",
            "there is no rewrite 'zz'\n  known: batch-norm-to-affine, commute-axes, "
            "compose-linears, drop-identities, fold-affine, fold-batch-norm, fold-layer-norm, "
            "merge-linears, split-concat",
        ),
    ],
)
def test_an_unknown_name_is_refused(name: str, message: str) -> None:
    network, _, _ = network_in(stem("[gelu]"))
    with pytest.raises(CompileError) as refusal:
        rewrite(network, [ALL[0], name])
    assert str(refusal.value) == message


def test_only_what_is_asked_for_runs_in_the_order_of_ranks() -> None:
    network, _, _ = network_in(stem("[linear, batch_norm, dropout: 0.5, batch_norm]"))
    found = rewrite(network, ["batch-norm-to-affine", "fold-batch-norm", "fold-batch-norm"])
    assert list(found.by_rewrite) == ["fold-batch-norm", "batch-norm-to-affine"]
    assert [one.rewrite for one in found.fired] == ["fold-batch-norm", "fold-batch-norm"]
    assert [node.op.name for node in found.network.nodes] == ["linear", "dropout"]


def test_no_rewrite_at_all() -> None:
    network, _, _ = network_in(stem("[linear, batch_norm]"))
    found = rewrite(network, [])
    assert found.network is network
    assert (found.fired, dict(found.by_rewrite)) == ((), {})
    assert found.before == found.after
    assert found.flops_before == found.flops_after


def test_what_one_makes_possible_another_does() -> None:
    """The affine reaches the linear map only when nothing is read beside it any more."""
    network, _, _ = network_in(stem("[linear, stochastic_depth: 0.1, affine, scale]"))
    found = rewrite(network, ALL)
    assert [node.op.name for node in found.network.nodes] == ["linear"]


class _Back(Rewrite):
    name: ClassVar[str] = "back"

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, op in edit.each(Rename):
            edit.note(node, op.name)
            edit.change(node, Identity(), weights={})
        return edit.done()


class _Forth(Rewrite):
    name: ClassVar[str] = "forth"

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        edit = Edit(network, cls.name)
        for node, op in edit.each(Identity):
            edit.note(node, op.name)
            edit.change(node, Rename(axes={}), weights={})
        return edit.done()


def test_rewrites_that_undo_each_other_are_an_error_and_no_endless_loop() -> None:
    network, _, _ = network_in(stem("[identity, gelu]"))
    with pytest.raises(RuntimeError, match="the rewrites back, forth do not come to an end"):
        run(network, [_Back, _Forth])


def test_the_network_before_is_left_as_it_was() -> None:
    network, images, expected = network_in(network_of("smlpnet_t"))
    before = {node: dict(held) for node, held in network.weights.items()}
    copies = {(n, k): t.clone() for n, held in before.items() for k, t in held.items()}
    nodes, places = network.nodes, dict(network.places)
    rewrite(network, ALL)
    assert (network.nodes, network.places) == (nodes, places)
    assert network.weights == before
    assert all(torch.equal(network.weights[n][k], copy) for (n, k), copy in copies.items())
    with torch.no_grad():
        assert torch.equal(network.module(torch.float64)(images), expected)


# -- what is reported ----------------------------------------------------------------------------


def test_where_rewrites_fired_in_small() -> None:
    network, _, _ = network_in(network_of("smlpnet_t"))
    found = collapsed(rewrite(network, ALL).fired)
    assert found == [
        Firings("drop-identities", "stage*.layers.*.stochastic_depth",
                "stochastic_depth left out", 5),
        Firings("drop-identities", "stage*.layers.*.stochastic_depth_2",
                "stochastic_depth left out", 5),
        Firings("fold-batch-norm", "stage*.layers.*.cross.batch_norm",
                "batch_norm into the conv before it", 5),
        Firings("fold-batch-norm", "head.batch_norm", "batch_norm into the linear after it", 1),
        Firings("fold-layer-norm", "stage*.layers.*.ffn.layer_norm",
                "weight and bias of layer_norm into the linear after it", 5),
        Firings("batch-norm-to-affine", "stage*.layers.*.local.batch_norm",
                "batch_norm as affine", 5),
        Firings("split-concat", "stage*.layers.*.cross.fuse",
                "concat and linear as 3 products and their sum", 5),
        Firings("commute-axes", "stage*.layers.*.cross.fuse",
                "linear along channels before that along width", 5),
        Firings("commute-axes", "stage*.layers.*.cross.fuse",
                "linear along channels before that along height", 5),
    ]  # fmt: skip


def test_places_are_collapsed_where_they_differ() -> None:
    def fired(place: str, what: str = "done") -> Fired:
        return Fired("rule", place.replace(".", "_"), place, what)

    found = collapsed([
        fired("stage1.layers.0.conv1"), fired("stage1.layers.3.conv1"),
        fired("stage1.layers.0.conv2"), fired("stage2.layers.0.conv1", "undone"),
        fired("stage10.layers.3.conv2"), fired("head.norm"),
    ])  # fmt: skip
    assert found == [
        Firings("rule", "stage1.layers.*.conv1", "done", 2),
        Firings("rule", "stage*.layers.*.conv2", "done", 2),
        Firings("rule", "stage2.layers.0.conv1", "undone", 1),
        Firings("rule", "head.norm", "done", 1),
    ]


# -- sMLPNet-T -----------------------------------------------------------------------------------

STAGES = [(80, 56, 2), (160, 28, 8), (320, 14, 14), (640, 7, 2)]
"""Channels, height and width of the grid, layers."""
LAYERS = sum(depth for _, _, depth in STAGES)


def per_layer(amount: Callable[[int, int], int]) -> int:
    """The sum over all layers of an amount that depends on channels and the grid's side."""
    return sum(depth * amount(channels, side) for channels, side, depth in STAGES)


@pytest.mark.parametrize(("batch", "element_bytes"), [(1, 4), (8, 2)])
def test_savings_on_smlpnet_t(batch: int, element_bytes: int) -> None:
    of = built("smlpnet_t")
    network = inline(of.graph, of.module.eval())
    found = rewrite(network, ALL, batch=batch, element_bytes=element_bytes)
    tensor = per_layer(lambda c, side: c * side * side)  # one in each layer
    last, out = 640 * 7 * 7, 640
    savings = {
        name: (saving.times, saving.flops, saving.traffic.activations // (batch * element_bytes),
               saving.traffic.weights // element_bytes)
        for name, saving in found.by_rewrite.items() if saving.times
    }  # fmt: skip
    assert savings == {
        "drop-identities": (2 * LAYERS, 0, 0, 0),
        # its tensor is neither read nor written; four numbers a channel, but one for the bias that
        # the convolution gets (the classifier has one)
        "fold-batch-norm": (
            LAYERS + 1, 2 * (tensor + last), 2 * (tensor + last),
            per_layer(lambda c, side: 3 * c) + 4 * out,
        ),
        "fold-layer-norm": (LAYERS, tensor, 0, per_layer(lambda c, side: 2 * c)),
        "batch-norm-to-affine": (LAYERS, 2 * tensor, 0, per_layer(lambda c, side: 2 * c)),
        # 3·3C + C for concat and product, and as much for three products and their sum
        "split-concat": (LAYERS, 0, 0, 0),
        # three products read their input once; biases of rows and columns become constants
        "commute-axes": (
            2 * LAYERS, 0, 2 * tensor, per_layer(lambda c, side: 2 * side - 2 * side * c)
        ),
    }  # fmt: skip
    assert found.flops_before == 5_011_528_960
    assert found.flops_before - found.flops_after == 5 * tensor + 2 * last
    assert found.flops_after == of.table.macs + 4 * tensor  # what is left of the layer_norms
    total = Traffic(0, 0, 0)
    for saving in found.by_rewrite.values():
        total += saving.traffic
    assert found.before - found.after == total
