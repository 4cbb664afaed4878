"""What the tests of rewrites share: networks in which nothing can hide, and what must hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import torch
from hypothesis import strategies as st
from torch import Tensor

from archspec import catalog
from archspec.compile.network import Network, inline
from archspec.compile.rewrites.base import Rewrite
from archspec.compile.rewriting import Rewritten, run
from archspec.counting import count
from archspec.errors import ArchspecError
from archspec.graph import INPUT, Ref
from archspec.ops.norm import BatchNorm
from archspec.spec import load
from tests.built import SMALL, Built, built, enlivened, network_of

BOUND = 1e-13
"""The relative error in float64 that a rewrite may bring in by rounding."""
SHIPPED = [name for name in catalog.shipped() if (spec := load(name)).is_network and not spec.holes]


@cache
def shipped(name: str) -> Built:
    """A shipped spec, made small by the values of a relative: the one with the nearest name."""

    def likeness(other: str) -> int:
        same = [a == b for a, b in zip(name, other, strict=False)]
        return (same.index(False) if False in same else len(same)) + 100 * (name == other)

    for relative in sorted(SMALL, key=likeness, reverse=True):
        try:
            return built(name, **SMALL[relative])
        except ArchspecError:
            continue  # it has other variables
    raise AssertionError(f"no entry of SMALL fits {name}")


def stem(steps: str, **size: int) -> Built:
    """A network of a few steps on 4 channels of 6×5, random but for its shape."""
    size = {"channels": 4, "height": 6, "width": 5} | size
    sizes = ", ".join(f"{axis}: {number}" for axis, number in size.items())
    return built(f"input: {{{sizes}}}\nstem: {steps}\n")


Ready: TypeAlias = tuple[Network, Tensor, Tensor]
"""A network, images, and what it makes of them."""


def network_in(of: Built) -> Ready:
    """A network with random statistics, biases and scales, images, and what it makes of them."""
    module = enlivened(of).eval()
    images = of.images(2)
    with torch.no_grad():
        return inline(of.graph, module), images, module(images)


@cache
def ready(case: str) -> Ready:
    """A case of `tests.built`, as `network_in` gives it."""
    return network_in(network_of(case))


def error(network: Network, images: Tensor, expected: Tensor, **options: Any) -> float:
    """‖found − expected‖ / ‖expected‖ in float64."""
    with torch.no_grad():
        found = network.module(torch.float64, **options)(images)
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


def assert_whole(network: Network) -> None:
    """Every node reads what comes before it, has the shapes that its op infers, and its weights."""
    shapes = {Ref(INPUT, port): shape for port, shape in enumerate(network.graph.inputs)}
    read = {network.graph.output}
    for node in network.nodes:
        assert tuple(shapes[ref] for ref in node.inputs) == node.input_shapes, node.id
        found = node.op.infer(*node.input_shapes)
        assert node.outputs == (found if isinstance(found, tuple) else (found,)), node.id
        assert Ref(node.id) not in shapes, f"{node.id} twice"
        shapes |= {Ref(node.id, port): shape for port, shape in enumerate(node.outputs)}
        read |= set(node.inputs)
        held = sum(tensor.numel() for tensor in network.weights.get(node.id, {}).values())
        statistics = 2 * node.input_shapes[0].channels if isinstance(node.op, BatchNorm) else 0
        assert held == node.op.params(*node.input_shapes) + statistics, node.id
    assert set(network.weights) <= {node.id for node in network.nodes} == set(network.places)
    left = {node.id for node in network.nodes} - {ref.node for ref in read}
    assert not left, f"nothing reads {left}"
    assert network.graph.output in shapes


def assert_exact(
    of: Built | Ready, rewrites: Sequence[type[Rewrite]], bound: float = BOUND
) -> Rewritten:
    """The rewrites keep the function, cost nothing, and leave nothing to do; what they did."""
    network, images, expected = network_in(of) if isinstance(of, Built) else of
    found = run(network, rewrites)
    if not found.fired:
        assert found.network is network
        return found
    assert_whole(found.network)
    for pointwise in ("conv", "linear"):
        off = error(found.network, images, expected, pointwise=pointwise)
        assert off <= bound, f"relative error {off:.1e}"
    assert found.flops_after == count(found.network.graph).flops <= found.flops_before
    assert found.after.activations <= found.before.activations
    assert sum(saving.flops for saving in found.by_rewrite.values()) == (
        found.flops_before - found.flops_after
    )
    assert len(found.fired) == sum(saving.times for saving in found.by_rewrite.values())
    again = run(found.network, rewrites)
    assert again.fired == ()
    assert again.network is found.network
    return found


# -- random networks in which rewrites have much to do -------------------------------------------

Sizes = dict[str, int]


@st.composite
def dense_networks(draw: st.DrawFn) -> str:
    """The YAML text of a network of linear maps, norms, sums and concats that read one another."""
    tensors: dict[str, Sizes] = {"t0": {"channels": 4, "height": 3, "width": 5}}
    steps = ["identity: {id: t0}"]
    read: set[str] = set()

    def step(op: str, sources: list[str], sizes: Sizes, **args: Any) -> None:
        name = f"t{len(tensors)}"
        given = "".join(f", {key}: {value}" for key, value in args.items())
        source = sources[0] if len(sources) == 1 else f"[{', '.join(sources)}]"
        steps.append(f"{op}: {{id: {name}, from: {source}{given}}}")
        read.update(sources)
        tensors[name] = sizes

    def flag() -> str:
        return str(draw(st.booleans())).lower()

    for _ in range(draw(st.integers(2, 12))):
        names = list(tensors)
        name = draw(st.sampled_from([*names, *names[-2:]]))  # the latest more often
        x = tensors[name]
        axis = draw(st.sampled_from(sorted(x)))
        like = [other for other in names if tensors[other] == x]
        op = draw(st.sampled_from(
            ["linear", "linear", "linear", "batch_norm", "layer_norm", "group_norm", "affine",
             "scale", "gelu", "dropout", "shift", "pad", "add", "concat", "conv", "avg_pool",
             "global_pool", "pair", "cross", "cross"]
        ))  # fmt: skip
        if op == "linear":
            out = draw(st.integers(1, 6))
            step(op, [name], {**x, axis: out}, axis=axis, out=out, bias=flag())
        elif op == "pair":  # along two axes
            step("linear", [name], {**x, axis: 6}, axis=axis, out=6, bias=flag())
            other = draw(st.sampled_from([other for other in sorted(x) if other != axis]))
            y = {**x, axis: 6, other: draw(st.integers(1, 4))}
            step("linear", [f"t{len(tensors) - 1}"], y, axis=other, out=y[other], bias=flag())
        elif op == "cross":  # maps along several axes, fused along one
            parts = [name]
            for along in draw(st.lists(st.sampled_from(sorted(x)), min_size=1, max_size=2)):
                step("linear", [name], x, axis=along, bias=flag())
                parts.append(f"t{len(tensors) - 1}")
            whole = {**x, axis: x[axis] * len(parts)}
            step("concat", draw(st.permutations(parts)), whole, axis=axis)
            out = draw(st.integers(1, x[axis]))
            step("linear", [f"t{len(tensors) - 1}"], {**x, axis: out}, axis=axis, out=out,
                 bias=flag())  # fmt: skip
        elif op in ("batch_norm", "group_norm"):
            step(op, [name], x, affine=flag())
        elif op == "layer_norm":
            step(op, [name], x, axis=axis, affine=flag())
        elif op == "dropout":
            step(op, [name], x, rate=0.5)
        elif op == "shift":
            mode = draw(st.sampled_from(["circular", "zero", "replicate"]))
            step(op, [name], x, axis=axis, by=draw(st.integers(0, x[axis] - 1)), mode=mode)
        elif op == "pad":
            before = draw(st.integers(0, 1))
            step(op, [name], {**x, axis: x[axis] + before}, axis=axis, before=before)
        elif op == "add":
            step(op, [name, draw(st.sampled_from(like))], x)
        elif op == "concat":
            others = draw(st.lists(st.sampled_from(like), min_size=1, max_size=2))
            step(op, [name, *others], {**x, axis: x[axis] * (1 + len(others))}, axis=axis)
        elif op in ("conv", "avg_pool"):
            groups = {"groups": draw(st.sampled_from([1, "C"])), "bias": flag()}
            inside = {} if op == "conv" else {"count_include_pad": flag()}
            step(op, [name], x, kernel=draw(st.sampled_from([1, 3])),
                 **(groups if op == "conv" else inside))  # fmt: skip
        elif op == "global_pool":
            other = draw(st.sampled_from(["height", "width"]))
            step(op, [name], {**x, other: 1}, axes=f"[{other}]", keep="true")
        else:
            step(op, [name], x)
    ends = [name for name in tensors if name not in read]
    for number, name in enumerate(ends):
        steps += [
            f"global_pool: {{id: p{number}, from: {name}}}",
            f"linear: {{id: e{number}, out: 3}}",
        ]
    if len(ends) > 1:
        steps.append(f"add: {{from: [{', '.join(f'e{n}' for n in range(len(ends)))}]}}")
    lines = "".join(f"  - {{{text}}}\n" for text in steps)
    return f"input: {{channels: 4, height: 3, width: 5}}\nstem:\n{lines}"
