"""Bytes moved, op by op: against counts made by hand."""

from __future__ import annotations

import pytest

from archspec.compile.network import Network
from archspec.compile.traffic import Traffic, traffic
from archspec.expansion import expand
from archspec.spec import loads
from tests.built import CASES
from tests.compile.rewriting import network_in, ready, stem

X = 4 * 6 * 5
"""Elements of the input of `stem`."""


def network(steps: str) -> Network:
    return network_in(stem(steps))[0]


@pytest.mark.parametrize(
    ("steps", "read", "written", "weights"),
    [
        ("[gelu]", X, X, 0),
        ("[{linear: {out: 7}}]", X, 7 * 30, 4 * 7 + 7),
        ("[{linear: {out: 7, bias: false}}]", X, 7 * 30, 4 * 7),
        ("[{linear: {axis: width, out: 2}}]", X, 4 * 6 * 2, 5 * 2 + 2),
        ("[{conv: {kernel: 3, groups: C}}]", X, X, 4 * 9 + 4),
        ("[batch_norm]", X, X, 4 * 4),
        ("[{batch_norm: {affine: false}}]", X, X, 2 * 4),
        ("[layer_norm]", X, X, 2 * 4),
        ("[affine]", X, X, 2 * 4),
        ("[scale]", X, X, 4),
        ("[global_pool]", X, 4, 0),
        # views: what reads them moves what they show
        ("[flatten, {slice: {axis: tokens, size: 10}}, gelu]", 40, 40, 0),
        ("[dropout: 0.1, identity, {rename: {axes: {width: keys}}}]", 0, 0, 0),
        ("[split: {into: 2, id: [a, b]}, gelu: {from: a, id: c}, add: {from: [b, c]}]",
         X // 2 + X, X // 2 + X // 2, 0),
        # each input once, the result once
        ("[gelu: {id: x}, add: {from: [x, input, x]}]", X + 3 * X, X + X, 0),
        ("[gelu: {id: x}, concat: {from: [x, input]}]", X + 2 * X, X + 2 * X, 0),
    ],
)  # fmt: skip
def test_of_an_op(steps: str, read: int, written: int, weights: int) -> None:
    graph = network(steps).graph
    assert traffic(graph) == Traffic(4 * read, 4 * written, 4 * weights)
    assert traffic(graph, 16, 2) == Traffic(32 * read, 32 * written, 2 * weights)


def test_what_all_images_share_counts_once() -> None:
    steps = "[gelu: {id: x}, {param: {id: p, axes: {width: W, channels: C}}}, "
    steps += "{flatten: {id: q, axes: [width, channels], into: channels}}, "
    steps += "{unflatten: {id: r, axis: channels, into: {width: 5, channels: 4}}}, "
    steps += "{add: {from: [x, r]}}]"
    graph = network(steps).graph
    assert traffic(graph, 1, 1) == Traffic(2 * X, 2 * X, 20)
    assert traffic(graph, 8, 1) == Traffic(16 * X, 16 * X, 20)


def test_the_constants_of_window_attention_count_once() -> None:
    biased, plain = (ready("swin_t")[0].graph for _ in range(2))
    one, eight = traffic(biased, 1, 1), traffic(plain, 8, 1)
    assert eight.weights == one.weights
    assert eight.activations == 8 * one.activations
    nodes = [node for node in ready("swin_t")[0].nodes if node.op.name == "shifted_window_mask"]
    assert nodes
    held = sum(node.op.params(*node.input_shapes) for node in ready("swin_t")[0].nodes)
    masks = sum(node.outputs[0].numel() for node in nodes)
    assert one.weights > held + 2 * masks  # written, and read by the sum


@pytest.mark.parametrize("case", CASES)
def test_of_networks(case: str) -> None:
    graph = ready(case)[0].graph
    one, two = traffic(graph, 1, 1), traffic(graph, 2, 1)
    assert two.activations == 2 * one.activations
    assert two.weights == one.weights
    assert one.total == one.read + one.written + one.weights
    assert one + one - one == one
    assert traffic(graph, 3, 4).total == 4 * (3 * one.activations + one.weights)


def test_a_graph_with_graphs_inside_is_not_meant() -> None:
    text = "input: {channels: 4, height: 6, width: 5}\nstem: [{repeat: {times: 2, body: [gelu]}}]\n"
    with pytest.raises(AssertionError, match="is not a single op"):
        traffic(expand(loads(text)))
