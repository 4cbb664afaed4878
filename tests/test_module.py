"""The built module is a plain nn.Module: it trains, copies, saves, exports and compiles."""

from __future__ import annotations

import copy
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import save_file
from torch import Tensor, fx, nn

import archspec
from archspec.layers import StochasticDepth
from archspec.lower import lower
from archspec.module import to_module
from archspec.names import RESERVED
from archspec.ops.activation import Hardswish
from archspec.weights import load_weights
from tests import reference
from tests.built import (
    BRANCHY,
    CASES,
    SMALL,
    Built,
    assert_same,
    brief,
    built,
    enlivened,
    network_of,
)
from tests.strategies import networks

NOISY = (nn.Dropout, StochasticDepth, nn.modules.batchnorm._BatchNorm)
"""What may differ between training and evaluation."""

SILENT = {
    "mixer_s16": r"\.token_mlp\.down\.bias$",
    "gmixer_12": r"\.token_mlp\.gated_mlp\.down\.bias$",
    "poolformer_s12": r"\.norm1\.bias$",
}
"""Parameters that the output does not depend on.

Mixer's and gMixer's last token bias is the same for all channels of a token, and every reader of
the residual stream is a layer norm over channels, which takes it out again. PoolFormer's mixer is a
difference of positions, in which what is the same at all of them is lost.
"""

# -- training ------------------------------------------------------------------------------------


def gradients(network: Built) -> dict[str, Tensor]:
    """Of a random linear function of the outputs, while training, in float64.

    Batch norms use their running statistics: those of the batch take out whatever constant was
    added before them, so that such a bias would have the gradient 0.
    """
    module = enlivened(network).train()
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()
    torch.manual_seed(0)
    outputs = module(network.images(4))
    (outputs * torch.randn(outputs.shape, dtype=outputs.dtype)).sum().backward()
    found = {name: p.grad for name, p in module.named_parameters()}
    for name, gradient in found.items():
        assert gradient is not None, f"no gradient reaches {name}"
        assert bool(gradient.isfinite().all()), name
    return {name: gradient for name, gradient in found.items() if gradient is not None}


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_every_parameter(case: str) -> None:
    silent = SILENT.get(case, r"(?!)")
    found = gradients(network_of(case))
    largest = max(float(gradient.abs().max()) for gradient in found.values())
    for name, gradient in found.items():
        if re.search(silent, name):
            assert float(gradient.abs().max()) < 1e-12 * largest, name
        else:
            # RepViT's mixers have no residual around them: 1e-8 of it is left at the stem
            assert float(gradient.abs().max()) > 1e-9 * largest, name


@settings(max_examples=60, deadline=None)
@given(networks())
def test_gradients_of_random_networks(text: str) -> None:
    network = built(text)
    assert set(gradients(network)) == {name for name, _ in network.module.named_parameters()}


def test_a_group_norm_of_the_images_trains() -> None:
    """PyTorch's own crashes in backward on channels-last memory without gradient (2.13, CPU)."""
    found = gradients(built("input: {height: 8, width: 8}\nstem: [group_norm: 3]\n"))
    assert set(found) == {"stem.group_norm.weight", "stem.group_norm.bias"}


def assert_modes_differ_only_where_they_should(network: Built) -> None:
    module, images = enlivened(network), network.images(4)
    with torch.no_grad():
        evaluated = module.eval()(images)
        module.train()
        for child in module.modules():
            if isinstance(child, NOISY):
                child.eval()
        trained = module(images)
    assert torch.equal(trained, evaluated)


@pytest.mark.parametrize("case", CASES)
def test_train_and_eval(case: str) -> None:
    assert_modes_differ_only_where_they_should(network_of(case))


@settings(max_examples=60, deadline=None)
@given(networks())
def test_train_and_eval_of_random_networks(text: str) -> None:
    assert_modes_differ_only_where_they_should(built(text))


def test_train_and_eval_do_differ() -> None:
    for steps in (
        "batch_norm",
        "dropout: 0.5",
        "stochastic_depth: {rate: 0.5, schedule: constant}",
    ):
        network = built(f"stem: [{steps}]\ninput: {{height: 8, width: 8}}\n")
        images = network.images(16, torch.float32)
        assert not torch.equal(network.module.train()(images), network.module.eval()(images))


def test_a_few_steps_of_training_lower_the_loss() -> None:
    network = built("smlpnet_t", **SMALL["smlpnet_t"])
    module, images = network.module.train(), network.images(8, torch.float32)
    labels = torch.arange(8)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(module(images), labels)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


# -- inputs --------------------------------------------------------------------------------------


def assert_inputs_do_not_matter(network: Built) -> None:
    """Memory format and batch size change nothing; values are those of the graph's meaning."""
    module, images = enlivened(network).eval(), network.images(8)
    with torch.no_grad():
        outputs = module(images)
        assert_same(outputs, reference.logits(network.graph, module, images))
        assert_same(module(images.contiguous(memory_format=torch.channels_last)), outputs)
        assert_same(module(images.transpose(2, 3).contiguous().transpose(2, 3)), outputs)
        assert_same(torch.cat([module(image[None]) for image in images]), outputs)


@pytest.mark.parametrize("case", CASES)
def test_inputs(case: str) -> None:
    assert_inputs_do_not_matter(network_of(case))


@settings(max_examples=150, deadline=None)
@given(networks())
def test_inputs_of_random_networks(text: str) -> None:
    assert_inputs_do_not_matter(built(text))


REORDERED = """
input: {channels: 2, height: 8, width: 16}
stem:
  - global_pool: {axes: [height]}
  - unflatten: {axis: width, into: {rows: 4, keys: 4}}
  - repeat:
      times: 2
      body:
        - linear: {axis: rows, id: x}
        - global_pool: {axes: [rows], id: gate}
        - multiply: {from: [gate, x]}
"""


def test_layers_hand_on_what_the_next_expects() -> None:
    """The product names its axes in another order than the body's input does; sizes are equal."""
    assert_inputs_do_not_matter(built(REORDERED))


# -- copies --------------------------------------------------------------------------------------


def deepcopied(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module)


def pickled(module: nn.Module) -> nn.Module:
    twin: nn.Module = pickle.loads(pickle.dumps(module))
    return twin


def saved(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    twin: nn.Module = torch.load(file, weights_only=False)
    return twin


def pickled_twice(module: nn.Module) -> nn.Module:
    return pickled(pickled(module))


def assert_copies_agree(network: Built, *ways: Callable[[nn.Module], nn.Module]) -> None:
    module, images = network.module.eval(), network.images(2, torch.float32)
    with torch.no_grad():
        outputs = module(images)
        for way in ways:
            twin, name = way(module), way.__name__
            assert torch.equal(twin(images), outputs), name
            assert list(twin.state_dict()) == list(module.state_dict()), name
            for ours, theirs in zip(module.parameters(), twin.parameters(), strict=True):
                assert ours.data_ptr() != theirs.data_ptr(), f"{name} shares memory"


@pytest.mark.parametrize("case", CASES)
def test_copies(case: str) -> None:
    assert_copies_agree(brief(case), deepcopied, pickled)


@pytest.mark.parametrize("case", ["smlpnet_t", "swin_t", "branchy"])
def test_copies_of_other_kinds(case: str) -> None:
    assert_copies_agree(network_of(case), saved, pickled_twice)


@settings(max_examples=30, deadline=None)
@given(networks())
def test_copies_of_random_networks(text: str) -> None:
    assert_copies_agree(built(text), deepcopied, pickled_twice)


@pytest.mark.parametrize(
    ("case", "suffix"), [*((case, ".safetensors") for case in CASES), ("smlpnet_t", ".pth")]
)
def test_weights_round_trip(case: str, suffix: str, tmp_path: Path) -> None:
    network, images = network_of(case), network_of(case).images(2, torch.float32)
    # small, since products of many positive numbers leave float32
    state = {name: torch.rand_like(t) / 8 if t.is_floating_point() else t + 3
             for name, t in network.module.state_dict().items()}  # fmt: skip
    network.module.load_state_dict(state)
    file = tmp_path / f"model{suffix}"
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    torch.manual_seed(7)
    other = to_module(lower(network.graph))
    assert load_weights(other, network.spec, network.graph, file).naming == "archspec"
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    logits = network.module.eval()(images)
    assert logits.isfinite().all()
    assert torch.equal(other.eval()(images), logits)


# -- precision, devices, seeds -------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_precisions(case: str) -> None:
    network = network_of(case)
    single, double = network.images(2, torch.float32), network.images(2)
    module = network.module.eval()
    with torch.no_grad():
        in_single = module(single)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            in_bfloat = module(single)
        in_double = module.double()(single.double())
    assert in_double.dtype == torch.float64
    assert double.dtype == torch.float64
    torch.testing.assert_close(in_single.double(), in_double, rtol=1e-3, atol=1e-5)
    # bfloat16 has 8 bits of precision
    error = (in_bfloat.double() - in_double).norm() / in_double.norm()
    assert float(error) < 0.05


@pytest.mark.parametrize("case", CASES)
def test_seeds(case: str) -> None:
    spec = brief(case).spec

    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return archspec.build(spec)

    first, second, other = made(1).state_dict(), made(1).state_dict(), made(2).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_noise_follows_the_seed() -> None:
    network = network_of("branchy")
    module, images = network.module.train(), network.images(8, torch.float32)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(module(images))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("case", CASES)
def test_devices(case: str) -> None:
    network = network_of(case)
    module = archspec.build(network.spec, device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in module.parameters()} == {("meta", torch.bfloat16)}
    shape = module.eval()(torch.empty(2, *network.image, device="meta", dtype=torch.bfloat16)).shape
    assert shape == (2, network.graph.output_shape["channels"])
    restored = module.to_empty(device="cpu")
    restored.load_state_dict(network.module.to(torch.bfloat16).state_dict())
    images = network.images(1).to(torch.bfloat16)
    assert torch.equal(restored.eval()(images), network.module.eval()(images))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_on_a_gpu(case: str) -> None:
    network = network_of(case)
    module, images = enlivened(network).eval(), network.images(2)
    with torch.no_grad():
        expected = module(images)
        found = module.cuda()(images.cuda()).cpu()
    if any(isinstance(node.op, Hardswish) for node in network.graph.nodes):
        # PyTorch's kernel for CUDA takes a sixth in float32, in float64 too
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    else:
        assert_same(found, expected)


# -- names ---------------------------------------------------------------------------------------


def attributes() -> set[str]:
    """What a module has already: a child of that name would hide it, or be refused."""
    module = built(BRANCHY).module
    assert isinstance(module, fx.GraphModule)
    members = {name.removeprefix("_") for name in ("graph", "code")}
    known = {*dir(nn.Module), *dir(fx.GraphModule), *vars(module), *members}
    return {name for name in known if not name.startswith("_")} - set(module._modules)


def test_reserved_names_are_what_a_module_has() -> None:
    assert attributes() - RESERVED == set()


def test_any_other_name_will_do() -> None:
    """Names of Python, of torch.fx and of the program's own variables do no harm."""
    names = [
        "x", "x_2", "print", "len", "getattr", "getitem", "append", "shape", "linear_1", "index_2",
        "contiguous", "output", "placeholder", "result", "value", "device", "dtype", "match",
    ]  # fmt: skip
    steps = ", ".join(f"linear: {{id: {name}}}" for name in names)
    text = f"input: {{channels: 3, height: 8, width: 8}}\nstem: [relu: {{id: input_2}}, {steps}]\n"
    network = built(text)
    assert {name for name, _ in network.module.named_children()} == {"stem"}
    assert {name for name, _ in network.module.stem.named_children()} == set(names)
    assert_inputs_do_not_matter(network)
    assert_copies_agree(built(text), deepcopied, pickled_twice)


def test_the_module_is_called_as_the_network_is() -> None:
    module = built("smlpnet_t", **SMALL["smlpnet_t"]).module
    assert type(module).__name__ == "SmlpnetT"
    assert "AxisLinear(in_features=24, out_features=24, bias=True, dim=2)" in repr(module)


def test_axes_that_a_rename_swaps() -> None:
    """The same variable under other names must not be taken for a permuted copy made before."""
    spec = archspec.loads(
        """
        input: {channels: 3, height: 8, width: 8}
        classes: 3
        blocks:
          both:
            - conv: {id: a, kernel: [3, 1], bias: false}
            - rename: {axes: {height: width, width: height}, from: input}
            - conv: {id: b, kernel: [3, 1], bias: false}
            - rename: {id: back, axes: {height: width, width: height}}
            - add: {from: [a, back]}
        stages: {only: {body: both}}
        head: [global_pool]
        """
    )
    model = archspec.build(spec, dtype=torch.float64).eval()
    x_BCHW = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    layer = model.get_submodule("only.layers.0")
    plain = layer.a(x_BCHW) + layer.b(x_BCHW.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(model(x_BCHW), plain.mean((2, 3)))
