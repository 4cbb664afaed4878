"""The analytic figures are exact: against fvcore, FlopCounterMode, numel, and tensors that flow.

On shipped networks at full size, at other input sizes, and on random networks.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

import archspec
from archspec import catalog
from archspec.cli.app import _load_commands, app
from archspec.counting import CostTable, count
from archspec.expansion import expand
from archspec.graph import CallNode, Graph, OpNode
from archspec.ops.base import Op
from archspec.ops.conv import Conv
from archspec.ops.linear import Linear
from archspec.ops.norm import LayerNorm
from archspec.shape import Shape
from tests.built import SMALL, Built, built, thin
from tests.strategies import networks

SHIPPED = [
    name
    for name in catalog.shipped()
    if (spec := archspec.load(name)).is_network and not spec.holes
]
WHOLE = ["smlpnet_t", "mixer_b16", "resnet50", "swin_t", "gfnet_ti"]
"""Networks that are measured with all their layers, as `archspec build` does with each."""
OTHER_SIZES = [
    ("smlpnet_t", 3, 192, 256), ("smlpnet_t_alpha2", 1, 256, 256), ("mixer_s32", 3, 256, 192),
    ("dwconv_t", 4, 96, 160), ("table5_multi_stage", 3, 64, 96), ("table3_sum", 3, 96, 64),
]  # fmt: skip


def assert_exact(network: Built) -> None:
    found, table = network.check(), network.table
    assert found.differences == ()
    assert all(line.agrees for line in found.lines)
    assert found.total.flops == found.total.measured_flops == table.flops
    assert sum(p.numel() for p in network.module.parameters()) == table.params
    assert found.torch_flops == 2 * table.macs
    assert sum(part.flops for part in table.by_stage().values()) == table.flops


# -- FLOPs and parameters ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name: str) -> None:
    """Each layer at its full size, once; a layer that is like another costs what that one does."""
    network = thin(name)
    assert_exact(network)
    whole = count(expand(network.spec))
    assert kinds(whole) == kinds(network.table)


def kinds(table: CostTable) -> set[tuple[object, ...]]:
    return {
        (row.stage, row.op, row.params, row.flops, row.activations, row.output) for row in table
    }


@pytest.mark.parametrize("name", WHOLE)
def test_whole(name: str) -> None:
    assert_exact(built(name))


@pytest.mark.parametrize(("name", "channels", "height", "width"), OTHER_SIZES)
def test_shipped_at_other_sizes(name: str, channels: int, height: int, width: int) -> None:
    sizes = {"input__channels": channels, "input__height": height, "input__width": width}
    assert_exact(thin(name, **sizes))


@settings(max_examples=300, deadline=None)
@given(networks())
def test_random(text: str) -> None:
    assert_exact(built(text))


def test_flop_counter_on_numbers_agrees_with_that_on_shapes() -> None:
    """`archspec.measure` counts on the meta device; here the numbers are computed."""
    network = built("smlpnet_t", **SMALL["smlpnet_t"])
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.module(network.images(1, torch.float32))
    assert counter.get_total_flops() == network.check().torch_flops


# -- shapes --------------------------------------------------------------------------------------


def expected_outputs(graph: Graph, path: str = "") -> dict[str, Shape]:
    """Module path → the shape that was inferred for its output."""
    found: dict[str, Shape] = {}
    for node in graph.nodes:
        here = f"{path}{node.id}"
        if isinstance(node, OpNode):
            found[here] = node.outputs[0]
        elif isinstance(node, CallNode):
            found |= {here: node.outputs[0], **expected_outputs(node.graph, f"{here}.")}
        else:
            for index, body in enumerate(node.iterations()):
                found[f"{here}.{index}"] = body.output_shape
                found |= expected_outputs(body, f"{here}.{index}.")
    return found


def real_outputs(module: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Module path → the dimensions of its output, as they flow."""
    found: dict[str, tuple[int, ...]] = {}

    def note(path: str) -> Any:
        return lambda _module, _inputs, output: found.update({path: tuple(output.shape)})

    hooks = [child.register_forward_hook(note(path)) for path, child in module.named_modules()]
    with torch.no_grad():
        module(images)
    for hook in hooks:
        hook.remove()
    return found


def assert_shapes(network: Built) -> None:
    module = network.module.eval()
    images = network.images(2, torch.float32)
    real = real_outputs(module, images)
    expected = expected_outputs(network.graph)
    for path, child in module.named_modules():
        if not path:
            shape = network.graph.output_shape
        elif isinstance(child, nn.Sequential):
            continue
        else:
            shape = expected[path]
        if isinstance(child, fx.GraphModule):  # blocks hand tensors on as positions, channels
            order = [a for a in (*shape.others, "channels") if a in shape]
            assert real[path] == (len(images), *(shape[axis] for axis in order)), path
        else:
            batch, *rest = real[path]
            left = Counter(shape.values()) - Counter(rest)
            assert Counter(rest) <= Counter(shape.values()), path
            # layers of a fixed number of axes find the others in the batch
            assert not left or len(shape) > 3, path
            assert batch == len(images) * math.prod(left.elements()), path


@pytest.mark.parametrize("name", SMALL)
def test_shapes_of_shipped(name: str) -> None:
    assert_shapes(built(name, **SMALL[name]))


@settings(max_examples=150, deadline=None)
@given(networks())
def test_shapes_of_random(text: str) -> None:
    assert_shapes(built(text))


# -- proof that the check can fail ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "rule", "kind", "unit"),
    [
        (Linear, "flops", "linear", "FLOPs by rule"),
        (Linear, "params", "linear", "parameters by rule"),
        (Conv, "flops", "conv", "FLOPs by rule"),
        (LayerNorm, "flops", "layer_norm", "FLOPs by rule"),
        (LayerNorm, "params", "layer_norm", "parameters by rule"),
    ],
)
def test_a_rule_that_is_wrong_by_one_is_reported(
    op: type[Op], rule: str, kind: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(op, rule)
    monkeypatch.setattr(op, rule, lambda self, *xs: right(self, *xs) + 1)
    found = built("smlpnet_t", **SMALL["smlpnet_t"]).check()
    assert not found.agrees
    by_ops = [text for text in found.differences if not text.startswith("multiply-adds")]
    assert by_ops
    assert all(f"({kind}): " in text and unit in text for text in by_ops)
    assert [line.op for line in found.lines if not line.agrees] == [kind]
    macs = [text for text in found.differences if text.startswith("multiply-adds")]
    assert len(macs) == (rule == "flops" and op.is_product)


def test_errors_that_cancel_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The totals agree here; the ops do not."""
    right = Linear.params
    monkeypatch.setattr(
        Linear, "params", lambda self, x: right(self, x) + (-1 if self.axis == "width" else 0)
    )
    monkeypatch.setattr(LayerNorm, "params", lambda self, x: 2 * x.channels + 1)
    text = """
input: {channels: 4, height: 8, width: 8}
stem: [layer_norm, {linear: {axis: width}}]
"""
    found = built(text).check()
    assert found.total.agrees
    assert not found.agrees
    assert len(found.differences) == 2


def test_what_no_op_accounts_for_is_reported() -> None:
    network = built("smlpnet_t", **SMALL["smlpnet_t"])
    network.module.register_parameter("stray", nn.Parameter(torch.zeros(7)))
    (difference,) = network.check().differences
    assert difference == "the network itself (no op): 0 parameters by rule, 7 by numel"


def test_build_exits_with_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    spec = tmp_path / "small.yaml"
    spec.write_text("input: {channels: 2, height: 8, width: 8}\nstem: [{conv: {kernel: 3}}]\n")
    _load_commands()
    assert CliRunner().invoke(app, ["build", str(spec)]).exit_code == 0
    right = Conv.flops
    monkeypatch.setattr(Conv, "flops", lambda self, *xs: right(self, *xs) - 1)
    result = CliRunner().invoke(app, ["build", str(spec)])
    assert result.exit_code == 1
    assert "2,303" in result.output
    assert "2,304" in result.output
