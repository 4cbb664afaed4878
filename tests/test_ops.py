"""What every op must do, tested over the registry: a new op is held to it without being named."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archspec
from archspec.names import RESERVED
from archspec.ops import Op, registry
from archspec.shape import Shape
from archspec.source import HOLE_KEYS
from archspec.steps import CONTROL
from tests import reference
from tests.built import built, enlivened
from tests.strategies import networks
from tests.writer import CHANGE, KEEP

OPS = list(registry())


def uncovered(names: Iterable[str]) -> set[str]:
    """Ops without a rule that writes them or without a second meaning to compare with."""
    return {name for name in names if name not in {*KEEP, *CHANGE} or name not in reference.OPS}


def test_every_op_is_covered() -> None:
    assert uncovered(OPS) == set()


def test_a_new_op_would_be_missed() -> None:
    assert uncovered([*OPS, "selective_scan"]) == {"selective_scan"}


@pytest.mark.parametrize("name", OPS)
def test_what_a_class_states(name: str) -> None:
    op = registry()[name]
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert name not in {*RESERVED, *CONTROL, *HOLE_KEYS}
    assert op.lower is not Op.lower
    assert op.__doc__ is not None
    assert op.__doc__ != Op.__doc__
    words = {*re.findall(r"\w+", op.__doc__.lower())} - {*name.split("_"), op.__name__.lower()}
    assert len(words) >= 3, "a docstring that says nothing but the name"
    assert op.__doc__.strip().endswith((".", "`"))
    fewest, most = op.inputs
    assert fewest >= 1
    assert most is None or most >= fewest
    assert op.shorthand is None or op.shorthand in op.model_fields
    assert not {"id", "from", "input"} & set(op.model_fields)
    assert op.__module__.startswith("archspec.ops.")


@pytest.mark.parametrize("name", [*KEEP, *CHANGE])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_shapes_costs_and_values(name: str, data: st.DataObject) -> None:
    """Each op, and each way of arranging steps: shapes, counts, outputs by independent means."""
    network = built(data.draw(networks(must=name, parts=False)))
    if name in OPS:
        assert name in {leaf.node.op.name for leaf, _ in network.graph.walk()}
    assert network.check().differences == ()
    module, images = enlivened(network).eval(), network.images(2)
    with torch.no_grad():
        outputs = module(images)
    shape = network.graph.output_shape
    assert sorted(outputs.shape[1:]) == sorted(shape.values())
    expected = reference.logits(network.graph, module, images)
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("step", ["conv: {kernel: 3, out: 5}", "avg_pool: 3", "max_pool: 3"])
def test_every_position_of_further_axes_is_an_image(step: str) -> None:
    """The same layer, on tensors with two more axes and on each position by itself."""
    wide = archspec.build(
        archspec.loads(
            f"""
            input: {{channels: 4, height: 6, width: 30}}
            stem:
              - unflatten: {{axis: width, into: {{rows: 3, width: 5, keys: 2}}}}
              - {{{step}}}
            """
        )
    ).double()
    one = archspec.build(
        archspec.loads(f"input: {{channels: 4, height: 6, width: 5}}\nstem: [{{{step}}}]")
    ).double()
    one.load_state_dict(wide.state_dict())
    images = torch.randn(2, 4, 6, 3, 5, 2, dtype=torch.float64)
    found = wide(images.flatten(3))  # batch, height, width, keys, rows, channels
    for row in range(3):
        for key in range(2):
            expected = one(images[:, :, :, row, :, key])
            torch.testing.assert_close(found[:, :, :, key, row], expected)


def test_batch_norm_takes_its_statistics_over_further_axes() -> None:
    module = archspec.build(
        archspec.loads(
            """
            input: {channels: 4, height: 6, width: 10}
            stem: [{unflatten: {axis: width, into: {width: 5, keys: 2}}}, batch_norm: {id: norm}]
            """
        )
    ).double()
    images = 3 * torch.randn(2, 4, 6, 10, dtype=torch.float64) + 1
    found = module.train()(images)
    norm = nn.BatchNorm2d(4).double()
    expected = norm(images).permute(0, 2, 3, 1).unflatten(2, (5, 2))
    torch.testing.assert_close(found, expected)
    held = module.state_dict()
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(held[f"stem.norm.{name}"], value)


def test_a_scalar_param_is_held_as_one_number() -> None:
    module = archspec.build(
        archspec.loads(
            """
            input: {channels: 4, height: 6, width: 5}
            stem:
              - identity: {id: x}
              - param: {id: s, axes: {}, init: 0.5}
              - multiply: {from: [x, s]}
            """
        )
    )
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {
        "stem.s.weight": (1,)
    }
    images = torch.randn(2, 4, 6, 5)
    assert torch.equal(module(images), images.permute(0, 2, 3, 1) / 2)


def test_two_ops_of_one_name_are_refused() -> None:
    code = (
        "from archspec.ops import registry\n"
        "from archspec.ops.activation import ReLU\n"
        "class Other(ReLU):\n"
        "    name = 'gelu'\n"
        "try:\n"
        "    registry()\n"
        "except RuntimeError as error:\n"
        "    assert str(error).startswith(\"two ops are called 'gelu'\"), error\n"
        "else:\n"
        "    raise SystemExit('not refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_op_is_found_without_being_listed() -> None:
    code = (
        "from archspec.ops import registry\n"
        "from archspec.ops.activation import ReLU\n"
        "class Other(ReLU):\n"
        "    name = 'other'\n"
        "assert registry()['other'] is Other\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_padding_0_cuts_off_what_is_left_over_as_pytorch_does() -> None:
    spec = archspec.loads(
        """
        input: {channels: 3, height: 7, width: 9}
        classes: 3
        head: [{max_pool: {kernel: 2, stride: 2, padding: 0}}, {global_pool: max}]
        """
    )
    x_BCHW = torch.randn(1, 3, 7, 9)
    found = archspec.build(spec)(x_BCHW)
    assert torch.equal(found, nn.functional.max_pool2d(x_BCHW, 2).amax((2, 3)))
    pooled = archspec.expand(spec).nodes[0].graph.nodes[0].outputs[0]
    assert pooled == Shape(channels=3, height=3, width=4)
