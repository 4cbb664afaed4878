"""Activation memory: what the rules say is written, against every output with memory of its own.

`CostTable.activations` is what the graph's ops write: one output each, views none. PyTorch
writes more, all of it told apart here: copies that change a layout, statistics of norms and
indices of maxima, and what an op writes on the way (partial sums of several inputs).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from archspec import layers
from archspec.ops.combine import Divide
from archspec.ops.layout import Flatten
from archspec.ops.norm import GroupNorm, LayerNorm
from archspec.ops.pool import MaxPool
from tests.built import SMALL, Built, built
from tests.strategies import networks

COMPOSED = (
    layers.ComplexMultiply, layers.Contract, layers.Fourier, layers.Pad,
    layers.RelativePositionBias, layers.Shift, layers.ShiftedWindowMask,
)  # fmt: skip
"""Layers that write parts before they join them; only what they hand on is counted."""


class Written(TorchDispatchMode):
    """Counts the elements of every output that has memory of its own, by ATen op."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Counter[str] = Counter()
        self.further: Counter[str] = Counter()
        self.layer: type[nn.Module] | None = None
        """The layer that runs now, if it is one that writes more than its result."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_storage(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        name = func.overloadpacket.__name__
        # nn.Linear adds its bias in place, except under a dispatch mode
        passes = self.layer in COMPOSED or (self.layer is nn.Linear and name == "add")
        for position, x in enumerate(tree_leaves(result)):
            if isinstance(x, Tensor) and _storage(x) not in given and not passes:
                (self.further if position else self.first)[name] += x.numel()
        return result

    @property
    def copies(self) -> int:
        return self.first["clone"] + self.first["_to_copy"]


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


def written(network: Built) -> Written:
    """Run one image in eval mode and count what is written."""
    counted = Written()

    def enter(module: nn.Module, inputs: Any) -> None:
        counted.layer = type(module)

    def leave(module: nn.Module, inputs: Any, output: Tensor) -> None:
        counted.layer = None
        if type(module) in COMPOSED:
            counted.first["result"] += output.numel()

    for child in network.module.modules():
        if type(child) in (*COMPOSED, nn.Linear):
            child.register_forward_pre_hook(enter)
            child.register_forward_hook(leave)
    images = network.images(1, torch.float32)
    with torch.no_grad(), counted:
        network.module.eval()(images)
    return counted


def partial_results(network: Built) -> int:
    """What the joins of three and more tensors write before their last step, and b + eps."""
    total = 0
    for leaf, times in network.graph.walk():
        if isinstance(leaf.node.op, Divide) and leaf.node.op.eps:
            total += leaf.node.input_shapes[1].numel() * times
        if leaf.node.op.name in ("add", "multiply"):
            sizes: dict[str, int] = dict(leaf.node.input_shapes[0])
            for shape in leaf.node.input_shapes[1:-1]:
                for axis, size in shape.items():
                    sizes[axis] = max(size, sizes.get(axis, 1))
                total += int(torch.tensor(list(sizes.values())).prod()) * times
    return total


def joined_channels(network: Built) -> int:
    """What `flatten` copies where it joins channels with other axes: they were not neighbours."""
    total = 0
    for leaf, times in network.graph.walk():
        op, (x, *_) = leaf.node.op, leaf.node.input_shapes
        if isinstance(op, Flatten) and "channels" in op.axes and all(x[a] > 1 for a in op.axes):
            total += x.numel() * times
    return total


def further_results(network: Built) -> int:
    """Second results: of norms two statistics per position or group, of maxima where they were."""
    total = 0
    for leaf, times in network.graph.walk():
        op, (y, *_) = leaf.node.op, leaf.node.outputs
        if isinstance(op, LayerNorm):
            total += 2 * y.without("channels").numel() * times
        elif isinstance(op, GroupNorm):
            total += 2 * op.groups * times
        elif isinstance(op, MaxPool):
            total += y.numel() * times
    return total


REORDERED = {"swin_t", "cswin_t", "repmlpnet_t224", "hire_mlp_t", "dynamixer_s"}
"""Copied there and back, for they lie in another order: windows and regions of a grid, sets of
channels. DynaMixer's products leave heads and channels as neighbours: less is copied to join them.
"""


@pytest.mark.parametrize("name", SMALL)
def test_activations_of_shipped(name: str) -> None:
    network = built(name, **SMALL[name])
    found = written(network)
    network_writes = found.first.total() - found.copies
    assert network_writes == network.table.activations + partial_results(network)
    # the image is laid out once; after it only channels that take in other axes are copied
    if name not in REORDERED:
        assert found.copies == network.graph.inputs[0].numel() + joined_channels(network)
    assert found.further.total() == further_results(network)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_activations_of_random(text: str) -> None:
    network = built(text)
    found = written(network)
    network_writes = found.first.total() - found.copies
    assert network_writes == network.table.activations + partial_results(network)
    assert {*found.further} <= {
        "native_layer_norm", "native_group_norm", "max_pool2d_with_indices",
        "native_batch_norm", "_native_batch_norm_legit_no_training",
    }  # fmt: skip


def test_activation_bytes_by_hand() -> None:
    text = """
input: {channels: 3, height: 8, width: 6}
stem:
  - conv: {out: 4, kernel: 2, stride: 2}
  - flatten
  - residual: [layer_norm, linear]
"""
    positions = 4 * 3  # of 4 channels: conv, layer_norm, linear, add; flatten is a view
    assert built(text).table.activation_bytes == 4 * 4 * positions * 4
