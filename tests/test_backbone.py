"""Stage outputs are the network's own, as grids, without its head; they train, export, compile."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archspec
from archspec.backbone import Backbone
from archspec.errors import SpecError, WeightsError
from tests.built import CASES, SMALL, Built, assert_same, built, enlivened, network_of

FEW = ("smlpnet_t", "swin_t", "deit_s")


def backbone(network: Built, out_indices: int | Sequence[int] | None = None) -> Backbone:
    return Backbone(enlivened(network).eval(), network.graph, out_indices)


def seen(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What each stage of the whole network hands on while it classifies."""
    found: dict[str, Tensor] = {}
    for name, child in network.named_children():
        if name not in ("stem", "head"):
            child.register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
    network(images)
    return found


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_network(case: str) -> None:
    network = network_of(case)
    whole, images = enlivened(network).eval(), network.images(2)
    if case == "branchy":
        images = images.requires_grad_()
    outputs = seen(whole, images)
    model = Backbone(whole, network.graph)
    found = model(images)
    info = model.feature_info
    assert info is not None
    assert info.module_name() == list(outputs)
    for name, feature, channels, reduction in zip(
        outputs, found, info.channels(), info.reduction(), strict=True
    ):
        batch, size, height, width = feature.shape
        assert (batch, size) == (2, channels)
        assert (height, width) == tuple(round(n / reduction) for n in network.image[1:])
        held = outputs[name]
        if held.ndim == 3:  # tokens: a class token is the first, if there is one
            held = held[:, -height * width :].reshape(2, height, width, channels)
        assert torch.equal(feature, held.movedim(-1, 1))


@pytest.mark.parametrize("case", CASES)
def test_no_parameter_is_unused(case: str) -> None:
    network = network_of(case)
    model = backbone(network)
    torch.manual_seed(0)
    sum(map(torch.sum, model(network.images(2)))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    whole = network.module.state_dict()
    names = [name for name in whole if not name.startswith("head.")]
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("case", FEW)
def test_export_and_compile(case: str) -> None:
    network = network_of(case)
    model, images = backbone(network), network.images(3)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = model(images)
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for found in (exported(images), compiled(images)):
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert_same(one, other)
        assert exported(network.images(5))[0].shape[0] == 5


@pytest.mark.parametrize(
    ("asked", "stages"),
    [(None, [1, 2, 3, 4]), ((1, 2), [2, 3]), (2, [3, 4]), ((-1, 0), [4, 1]), ([0], [1])],
)
def test_which_outputs(asked: Any, stages: list[int]) -> None:
    network = network_of("smlpnet_t")
    images, every = network.images(2), backbone(network)
    model = Backbone(every, network.graph, asked)  # a backbone has the network's sections, too
    assert model.feature_info is not None
    assert model.feature_info.module_name() == [f"stage{stage}" for stage in stages]
    expected = every(images)
    for found, stage in zip(model(images), stages, strict=True):
        assert torch.equal(found, expected[stage - 1])
    # what no output needs is not there
    assert [name for name, _ in model.named_children()][1:] == [
        f"stage{stage}" for stage in range(1, max(stages) + 1)
    ]


def test_feature_info_answers_as_timms() -> None:
    info = backbone(network_of("smlpnet_t"), (1, 3)).feature_info
    assert info is not None
    assert (info.channels(), info.reduction()) == ([16, 64], [8, 32])
    assert (info.channels(0), info.reduction([0, 1]), len(info)) == (8, [4, 8], 4)
    assert info[2] == {"num_chs": 32, "reduction": 16, "module": "stage3", "index": 2}
    assert info.get_dicts(["module", "reduction"]) == [
        {"module": "stage2", "reduction": 8}, {"module": "stage4", "reduction": 32},
    ]  # fmt: skip
    assert info.get_dicts(idx=0) == info[0]
    assert info.get_dicts(idx=[2]) == [info[2]]
    assert info.out_indices == (1, 3)


def test_copies() -> None:
    network = network_of("deit_s")
    model, images = backbone(network), network.images(2)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(images)[0], model(images)[0])
        assert again.feature_info.channels() == [128]


def test_a_checkpoint_of_the_whole_network(tmp_path: Path) -> None:
    network = network_of("swin_t")
    whole = enlivened(network).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    model = archspec.build(
        network.spec, features_only=True, out_indices=(0, 2), dtype=torch.float64,
        weights=tmp_path / "whole.pth",
    )  # fmt: skip
    images = network.images(2)
    for found, expected in zip(
        model.eval()(images), Backbone(whole, network.graph, (0, 2))(images), strict=True
    ):
        assert torch.equal(found, expected)
    assert not any(name.startswith(("head", "stage4")) for name in model.state_dict())
    cut = {k: v for k, v in whole.state_dict().items() if k != "stage1.layers.0.norm1.weight"}
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"1 missing: stage1\.layers\.0\.norm1\.weight"):
        archspec.build(network.spec, features_only=True, weights=tmp_path / "cut.pth")


def test_other_image_sizes() -> None:
    network = network_of("convnext_tiny")
    model = backbone(network, (3,))
    (found,) = model(torch.zeros(1, 3, 96, 160, dtype=torch.float64))
    assert found.shape == (1, 64, 3, 5)
    values = SMALL["mixer_s16"] | {"input__height": 32, "input__width": 96}
    tokens = built("mixer_s16", **values)
    (found,) = backbone(tokens)(tokens.images(1))
    assert found.shape == (1, 24, 2, 6)


PAIRS = """
input: {height: 8, width: 8}
stages:
  first: {body: [conv: {out: 4, kernel: 2, stride: 2}]}
  second: {body: [flatten, {linear: {axis: tokens, out: 5}}]}
"""


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        (
            PAIRS, None,
            "stage 'second' of network ends in C4 N5, which is no grid of positions\n"
            "  stage outputs need height and width, or tokens that are the patches of a grid",
        ),
        (
            "input: {height: 8, width: 8}\nstem: [conv: {out: 4, kernel: 3}]\n", None,
            "network has no stages whose outputs could be had\n"
            "  put its layers under 'stages'; a stem and a head are none",
        ),
        (
            "input: {height: 8, width: 8}\nstages: {feature_info: {body: [gelu]}}\n", None,
            "stage 'feature_info' of network has a name with a meaning of its own where stage "
            "outputs are had\n  pick another name",
        ),
        (
            "smlpnet_t", (4,),
            "smlpnet_t has 4 stages, counted from 0: out_indices cannot have 4\n"
            "  the stem is no stage",
        ),
        (
            "smlpnet_t", 5,
            "smlpnet_t has 4 stages, so that a number of last ones is 1 to 4, found 5",
        ),
        ("smlpnet_t", (0, -4), "out_indices must name stages, each once, found [0, -4]"),
        ("smlpnet_t", (), "out_indices must name stages, each once, found []"),
    ],
)  # fmt: skip
def test_refusals(text: str, asked: Any, message: str) -> None:
    spec = archspec.loads(text) if "\n" in text else network_of(text).spec
    with pytest.raises(SpecError) as caught:
        archspec.build(spec, features_only=True, out_indices=asked)
    assert str(caught.value) == message


def test_indices_need_features() -> None:
    with pytest.raises(SpecError) as caught:
        archspec.build("smlpnet_t", out_indices=(0, 1))
    assert str(caught.value) == ("out_indices chooses stage outputs: it needs features_only=True")


def test_random_grids_among_tokens() -> None:
    """Tokens before and after the patches, and patches cut anew between stages."""
    text = """
input: {height: 8, width: 12}
stages:
  one:
    enter:
      - conv: {id: embed, out: 6, kernel: 4, stride: 4}
      - flatten: {id: cells}
      - param: {id: first, axes: {tokens: 2, channels: C}}
      - param: {id: last, axes: {tokens: 3, channels: C}}
      - concat: {axis: tokens, from: [first, cells, last]}
    repeat: 2
    body: [residual: [layer_norm, linear]]
"""
    network = built(text)
    model, images = backbone(network), network.images(2)
    (found,) = model(images)
    held = seen(network.module, images)["one"]
    assert held.shape == (2, 11, 6)
    assert torch.equal(found, held[:, 2:8].reshape(2, 2, 3, 6).permute(0, 3, 1, 2))
