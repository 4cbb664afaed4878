"""Operations beside the FLOPs: each op's rule against the calls that its module makes."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import archspec
from archspec import report
from archspec.cli.tables import show_cost
from archspec.columns import Table
from archspec.counting import count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.ops import Op, registry
from archspec.shape import Shape
from archspec.spec import Spec, load
from tests.built import built
from tests.operations import other_operations
from tests.strategies import networks

COUNTED_BY_FVCORE = {"batch_norm", "layer_norm", "group_norm"}
WHILE_TRAINING = {"dropout", "stochastic_depth"}
MOVES = {
    "identity", "flatten", "unflatten", "rename", "shift", "slice", "select", "pad", "concat",
    "split",
}  # fmt: skip
READ_FROM_MEMORY = {"param", "relative_position_bias", "shifted_window_mask"}
NONE = COUNTED_BY_FVCORE | WHILE_TRAINING | MOVES | READ_FROM_MEMORY
"""Ops that have no other operations, and why."""


def unstated(none: set[str]) -> set[str]:
    """Ops with neither a rule nor a reason to have none, and those with both."""
    ops = registry().values()
    has_rule = {op.name for op in ops if op.other_operations is not Op.other_operations}
    return {op.name for op in ops} ^ has_rule ^ none


def test_every_op_states_its_other_operations() -> None:
    assert unstated(NONE) == set()


def test_an_op_that_states_nothing_would_be_missed() -> None:
    assert unstated(NONE - {"pad"}) == {"pad"}
    assert unstated(NONE | {"relu"}) == {"relu"}


@pytest.mark.parametrize("name", registry())
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_against_the_calls_of_the_module(name: str, data: st.DataObject) -> None:
    network = built(data.draw(networks(must=name, parts=False)))
    found = other_operations(network.module.double(), network.images(1))
    assert network.table.other_operations == found


def test_transforms_of_complex_numbers() -> None:
    """Twice the work of as many real ones, which a transform along one axis takes as they are."""
    network = built(
        """
        input: {channels: 3, height: 8, width: 4}
        stem: [fft: [width], ifft: [height, width], irfft: {axes: [height, width], size: 7}]
        """
    )
    by_op = {op: part.other_operations for op, part in network.table.by_op().items()}
    assert by_op == {
        "fft": 3 * 8 * 4 * 2 * 5 // 2,
        "ifft": 3 * 32 * 5 * 5,
        "irfft": 3 * 813,  # 2.5 · 56 · log₂ 56 = 813.0
    }
    assert network.table.other_operations == other_operations(network.module, network.images(1))


# 12 layers on 14×14 patches of 256 channels; with 14·14 = 196, log₂ 196 = 7.6147…
GFNET_TI = {
    "rfft": 12 * 256 * 3731,  # 2.5 · 196 · log₂ 196 = 3731.2
    "irfft": 12 * 256 * 3731,
    "complex_multiply": 12 * 256 * 14 * 8 * 6,  # 8 frequencies of a row differ
    "gelu": 12 * 196 * 4 * 256 * 5,
    "linear": 12 * 196 * (4 + 1) * 256 + 1000,
    "add": (12 + 1) * 196 * 256,  # residuals, and the position embedding
    "conv": 196 * 256,
    "global_pool": 196 * 256,
}

# as GFNet-XS, of 384 channels; one real transform a layer, of 196 · 384 = 75,264 numbers
FNET = {
    "fft": 12 * 3048130,  # 2.5 · 75,264 · log₂ 75,264 = 3,048,130.3
    "gelu": 12 * 196 * 4 * 384 * 5,
    "linear": 12 * 196 * (4 + 1) * 384 + 1000,
    "add": (12 + 1) * 196 * 384,
    "conv": 196 * 384,
    "global_pool": 196 * 384,
}

# 12 layers on 197 tokens of 384 channels, 6 heads
DEIT_S = {
    "softmax": 12 * 6 * 197 * 197 * 5,
    "contract": 12 * 197 * 384,  # queries, scaled
    "gelu": 12 * 197 * 4 * 384 * 5,
    "linear": 12 * 197 * (3 + 1 + 4 + 1) * 384 + 1000,
    "add": (2 * 12 + 1) * 197 * 384,
    "conv": 196 * 384,
}

# positions · channels of a stage halve each time, and its heads are of 32 channels
SWIN_T_STAGES = [
    (layers, (56 >> i) ** 2, 96 << i) for i, layers in enumerate([2, 2, 6, 2])
]  # fmt: skip
SWIN_T = {
    "softmax": sum(layers * n * 49 * c // 32 * 5 for layers, n, c in SWIN_T_STAGES),
    "contract": sum(layers * n * c for layers, n, c in SWIN_T_STAGES),
    "gelu": sum(layers * n * 4 * c * 5 for layers, n, c in SWIN_T_STAGES),
    "linear": sum(layers * n * 9 * c for layers, n, c in SWIN_T_STAGES) + 1000,
    "add": sum(layers * n * (2 * c + 49 * c // 32) for layers, n, c in SWIN_T_STAGES)
    # in every second layer but those of the last stage, which has one window, a mask
    + sum(layers // 2 * n * 49 * c // 32 for layers, n, c in SWIN_T_STAGES[:3]),
    "conv": 56 * 56 * 96,
    "global_pool": 7 * 7 * 768,
}

DERIVED = {"gfnet_ti": GFNET_TI, "fnet": FNET, "deit_s": DEIT_S, "swin_t": SWIN_T}


@pytest.mark.parametrize("name", DERIVED)
def test_of_known_networks(name: str) -> None:
    """Each op's figure as derived above, and their sum as the calls of the module have it."""
    spec = load(name)
    table = archspec.cost(spec)
    by_op = {op: part.other_operations for op, part in table.by_op().items()}
    assert {op: amount for op, amount in by_op.items() if amount} == DERIVED[name]
    assert sum(part.other_operations for part in table.by_stage().values()) == sum(
        DERIVED[name].values()
    )
    image = torch.zeros(1, *(spec.input[axis] for axis in ("channels", "height", "width")))
    module = archspec.build(spec).to("meta")
    assert table.other_operations == other_operations(module, image.to("meta"))


def printed(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `archspec cost` prints beside the total."""
    spec = archspec.loads(text)
    graph = expand(spec)
    show_cost(report.facts(spec, graph, count(graph)))
    return [line for line in capsys.readouterr().out.splitlines() if "Beside" in line]


def test_the_largest_are_printed_first(capsys: pytest.CaptureFixture[str]) -> None:
    text = """
    input: {channels: 4, height: 8, width: 8}
    stem: [relu, linear: 8, softmax]
    """
    assert printed(text, capsys) == [
        "Beside the total: 3.328 K operations that fvcore leaves out: "
        "softmax 2.560 K, linear bias 512, relu 256"
    ]


def test_nothing_is_printed_of_a_network_that_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    text = """
    input: {channels: 4, height: 8, width: 8}
    stem: [linear: {out: 8, bias: false}, layer_norm]
    """
    assert printed(text, capsys) == []


def figures(spec: Spec, name: str, sizes: np.ndarray) -> list[int]:
    """Of many networks at once."""
    table = Table(len(sizes))
    costed = count(expand(spec.with_values({name: table.add(sizes)}, origin="values")))
    return table.values(costed.other_operations)[0].tolist()


def test_of_many_networks_at_once() -> None:
    dims = np.array([64, 80, 96])
    one_by_one = [
        archspec.cost(load("smlpnet_t").with_values({"dim": dim})).other_operations
        for dim in dims.tolist()
    ]
    assert figures(load("smlpnet_t"), "dim", dims) == one_by_one


def test_a_transform_whose_size_is_an_array_has_no_whole_number() -> None:
    spec = archspec.loads(
        """
        vars: {n: 4}
        input: {height: 8, width: 8}
        stem: [linear: {axis: width, out: n}, fft: [width]]
        """
    )
    with pytest.raises(SpecError) as caught:
        figures(spec, "n", np.array([4, 8]))
    assert str(caught.value) == (
        "logarithms, as in the operations of a Fourier transform, are of one network at a time"
    )


def test_as_formulas() -> None:
    h, w, c = sympy.symbols("H W C", positive=True, integer=True)
    x = Shape(height=h, width=w, channels=c)
    ops = registry()
    rfft = ops["rfft"]().other_operations(x)
    assert sympy.simplify(rfft - c * 5 * h * w * sympy.log(h * w, 2) / 2) == 0
    assert ops["softmax"]().other_operations(x) == 5 * h * w * c
    assert ops["linear"](out=2 * c).other_operations(x) == 2 * h * w * c
