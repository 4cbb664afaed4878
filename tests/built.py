"""From a spec to what the tests look at: its graph, its module, an image."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from archspec.check import Check, check
from archspec.counting import CostTable, count
from archspec.errors import ArchspecError
from archspec.expansion import expand
from archspec.graph import CallNode, Graph, Node, RepeatNode
from archspec.lower import lower
from archspec.measure import measure
from archspec.module import to_module
from archspec.spec import Spec, load, loads

# The networks are small and tests run side by side: a second thread would wait for its core.
torch.set_num_threads(1)


@dataclass(frozen=True)
class Built:
    """A network in all its forms."""

    spec: Spec
    graph: Graph
    table: CostTable
    module: nn.Module

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height, width of the input."""
        shape = self.graph.inputs[0]
        return shape["channels"], shape["height"], shape["width"]

    def images(self, batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
        return torch.randn(
            batch, *self.image, dtype=dtype, generator=torch.Generator().manual_seed(seed)
        )

    def check(self) -> Check:
        """The analytic figures against the measured ones."""
        return check(self.graph, self.table, measure(self.module, self.image))


def built(spec: Spec | str, **values: Any) -> Built:
    """Build a spec, YAML text (several lines) or a shipped name; keywords override values."""
    spec = _spec(spec, values)
    return _built(spec, expand(spec))


def _spec(spec: Spec | str, values: dict[str, Any]) -> Spec:
    if isinstance(spec, str):
        spec = loads(spec) if "\n" in spec else load(spec)
    return spec.with_values({name.replace("__", "."): value for name, value in values.items()})


def _built(spec: Spec, graph: Graph) -> Built:
    torch.manual_seed(0)
    return Built(spec, graph, count(graph), to_module(lower(graph)))


def thin(spec: Spec | str, **values: Any) -> Built:
    """A network with one layer of each kind, for what holds of a layer by itself.

    Widths and image are the network's own, and so is what each op of it costs; only the layers
    that are like one before them in their stage are left out.
    """
    spec = _spec(spec, values)
    return _built(spec, _thin(expand(spec)))


def _thin(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(map(_thin_node, graph.nodes)))


def _thin_node(node: Node) -> Node:
    if isinstance(node, CallNode):
        return replace(node, graph=_thin(node.graph))
    if isinstance(node, RepeatNode):
        bodies = node.bodies
        if all(body.inputs == (body.output_shape,) for body in bodies):  # they may stand alone
            bodies = tuple({_kind(body): body for body in reversed(bodies)}.values())[::-1]
        return replace(node, times=min(node.times, len(bodies)), bodies=tuple(map(_thin, bodies)))
    return node


def _kind(layer: Graph) -> str:
    """The ops and sizes of a layer; rates grow from layer to layer, and cost nothing."""
    return repr([
        (leaf.path, leaf.node.op.name, leaf.node.op.model_dump(exclude={"rate"}),
         leaf.node.inputs, leaf.node.input_shapes, times)
        for leaf, times in layer.walk()
    ])  # fmt: skip


def brief(case: str) -> Built:
    """A case of `CASES` with few stages and layers, which have all its kinds of ops between them.

    For what takes long, and holds of a network if it holds of each op and of how they are joined:
    tracing and converting. Sizes do not tell kinds apart, except that 1 is not 2 or more.
    """
    spec = spec_of(case)
    graph = expand(spec)
    for stage in spec.stages:
        fewer = copy.copy(spec)
        fewer.stages = [other for other in spec.stages if other is not stage]
        try:
            found = expand(fewer)
        except ArchspecError:  # others need what this one makes
            continue
        if _kinds(found) == _kinds(graph):
            spec, graph = fewer, found
    return _built(spec, _thin(graph))


def _kinds(graph: Graph) -> set[str]:
    """The ops of a network and the axes they read, without sizes and rates."""
    return {
        repr((leaf.node.op.name, _unsized(leaf.node.op.model_dump(exclude={"rate"})),
              [list(shape) for shape in leaf.node.input_shapes]))
        for leaf, _ in graph.walk()
    }  # fmt: skip


def _unsized(value: Any) -> Any:
    """A field of an op with 2 for every number above 1."""
    if isinstance(value, dict):
        return {key: _unsized(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unsized(item) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(value, 2) if is_number else value


def enlivened(network: Built) -> nn.Module:
    """The module in float64 with random norms and scales, so that no term can hide at 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    module = network.module.double()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.ndim == 1 and tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.copy_(noise + 0.5 if name.endswith("var") else 2 * noise - 0.75)
    return module


SMALL: dict[str, dict[str, Any]] = {
    "smlpnet_t": {
        "dim": 8, "depths": [1, 2, 1, 1], "input__height": 64, "input__width": 96, "classes": 10,
    },
    "dwconv_t": {
        "dim": 8, "depths": [1, 1, 2, 1], "input__height": 64, "input__width": 32, "classes": 10,
    },
    "mixer_s16": {
        "dim": 24, "depth": 2, "tokens_hidden": 12, "channels_hidden": 32,
        "input__height": 64, "input__width": 48, "classes": 10,
    },
    "table3_weighted_sum": {
        "dim": 8, "depths": [1, 1, 1, 1], "input__height": 32, "input__width": 64, "classes": 10,
    },
    "table5_multi_stage": {
        "dim": 8, "depths": [1, 1, 1, 1], "input__height": 64, "input__width": 32, "classes": 10,
    },
    "resmlp_12": {"dim": 8, "depth": 2, "input__height": 48, "input__width": 64, "classes": 10},
    "gmlp_ti": {"dim": 8, "depth": 2, "input__height": 48, "input__width": 64, "classes": 10},
    "asmlp_t": {
        "dim": 20, "depths": [1, 2, 1, 1], "input__height": 96, "input__width": 128, "classes": 10,
    },
    "vip_s7": {
        "dim": 24, "depths": [1, 2, 1, 1], "input__height": 28, "input__width": 42, "classes": 10,
    },
    "dynamixer_s": {
        "dim": 24, "depths": [1, 2, 1, 1], "input__height": 28, "input__width": 42, "classes": 10,
    },
    "gmixer_12": {
        "dim": 24, "depth": 2, "tokens_hidden": 12, "channels_hidden": 32,
        "input__height": 64, "input__width": 48, "classes": 10,
    },
    "s2mlp_deep": {"dim": 8, "depth": 2, "input__height": 48, "input__width": 64, "classes": 10},
    "cyclemlp_b1": {
        "dims": [8, 12, 16, 24], "depths": [1, 2, 1, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "hire_mlp_t": {
        "dims": [8, 12, 16, 24], "depths": [1, 2, 3, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "wave_mlp_t": {
        "dims": [8, 12, 16, 24], "depths": [1, 2, 1, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "convmixer_1024_20": {
        "dim": 8, "depth": 2, "patch": 4, "input__height": 24, "input__width": 32, "classes": 10,
    },
    "convnext_tiny": {
        "dim": 8, "depths": [1, 2, 1, 1], "input__height": 64, "input__width": 96, "classes": 10,
    },
    "poolformer_s12": {
        "dims": [8, 12, 16, 24], "depths": [1, 2, 1, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "spach_ms_s_mlp": {
        "dim": 8, "depths": [1, 2, 1, 1], "near": [1, 1, 0, 0],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "spach_ms_s_hybrid": {
        "dim": 8, "depths": [1, 2, 2, 1], "near": [1, 1, 0, 0],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "shiftvit_t": {
        "dim": 12, "depths": [1, 2, 1, 1], "input__height": 64, "input__width": 96, "classes": 10,
    },
    "mambaout_tiny": {
        "dims": [12, 18, 24, 30], "depths": [1, 2, 1, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "inception_next_tiny": {
        "dim": 8, "depths": [1, 2, 1, 1], "input__height": 64, "input__width": 96, "classes": 10,
    },
    "starnet_s1": {
        "dim": 8, "depths": [1, 2, 1, 1], "input__height": 64, "input__width": 96, "classes": 10,
    },
    "repvit_m0_9": {
        "dims": [8, 12, 16, 24], "depths": [1, 3, 1, 2],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "gfnet_ti": {"dim": 8, "depth": 2, "input__height": 48, "input__width": 80, "classes": 10},
    "fnet": {"dim": 8, "depth": 2, "input__height": 48, "input__width": 64, "classes": 10},
    "repmlpnet_t224": {
        "dim": 8, "depths": [1, 2, 1, 1], "sets": [1, 4, 2, 8],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "deit_s": {"dim": 128, "depth": 2, "input__height": 32, "input__width": 48, "classes": 10},
    "swin_t": {
        "dim": 16, "depths": [1, 2, 2, 1], "window": 2, "head_width": 8,
        "input__height": 64, "input__width": 128, "classes": 10,
    },
    "cswin_t": {
        "dim": 16, "depths": [1, 2, 1, 1], "stripes": [1, 2, 2], "head_width": 8,
        "input__height": 64, "input__width": 128, "classes": 10,
    },
    "deepvit_s": {
        "dim": 24, "depth": 3, "heads": 4, "again": 1,
        "input__height": 32, "input__width": 48, "classes": 10,
    },
    "pvt_v2_b1": {
        # fewer channels, cut in patches of 4 or 8, come out wrong in bfloat16 on some CPUs (oneDNN)
        "dims": [32, 32, 48, 64], "depths": [1, 2, 1, 1], "head_width": 16,
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "caformer_s18": {
        "dims": [8, 12, 32, 64], "depths": [1, 2, 1, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "poolformer_v2_s12": {
        "dims": [8, 12, 16, 24], "depths": [1, 2, 1, 1],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "efficientvit_b1": {
        "dims": [4, 4, 6, 8, 12], "depths": [1, 2, 1, 1], "alpha": 2, "head_width": 4,
        "head_dims": [12, 16],
        "input__height": 64, "input__width": 96, "classes": 10,
    },
    "resnet50": {"depths": [2, 3, 1, 2], "input__height": 64, "input__width": 96, "classes": 10},
    "regnety_4gf": {
        "widths": [8, 16, 24, 32], "depths": [1, 2, 3, 1], "group": 8,
        "input__height": 64, "input__width": 96, "classes": 10,
    },
}  # fmt: skip
"""One small network of each shipped family."""

BRANCHY = """
input: {channels: 3, height: 16, width: 12}
classes: 5
blocks:
  joined:
    inputs: [a, b]
    body: [multiply: {from: [a, b]}, layer_norm]
stem:
  - conv: {out: 8, kernel: 4, stride: 2, padding: 1}
  - batch_norm: {id: x}
  - linear: {axis: height, out: H}
  - silu: {id: row}
  - shift: {axis: width, by: [1, 0, -1], mode: replicate, from: x}
  - sigmoid: {id: gate}
  - joined: {from: [row, gate]}
  - split: {sizes: [3, 5], id: [u, v]}
  - shift: {axis: height, by: 2, mode: zero, from: u, id: moved}
  - concat: {from: [v, moved]}
stages:
  body:
    repeat: 3
    body:
      - residual: [group_norm: 4, linear, gelu, dropout: 0.1, stochastic_depth: 0.2]
head: [affine, flatten, {linear: {axis: tokens, out: 7}}, scale: 0.5, global_pool, linear: classes]
"""
CASES = [*SMALL, "branchy"]
"""What `network_of` knows."""


def network_of(case: str) -> Built:
    return built(spec_of(case))


def spec_of(case: str) -> Spec:
    return loads(BRANCHY) if case == "branchy" else _spec(case, SMALL[case])


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
