"""Which parameters depend on the size of the image: by rule, and as the modules have them."""

from __future__ import annotations

import json

import pytest
import torch

import archspec
from archspec.errors import SpecError
from archspec.lower import lower
from archspec.module import to_module
from archspec.resolution import Dependent, grouped, size_dependence
from archspec.spec import Spec, loads
from tests.built import SMALL
from tests.test_cli import run


def small(name: str) -> Spec:
    values = {key.replace("__", "."): value for key, value in SMALL[name].items()}
    return archspec.load(name).with_values(values)


def shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        module = to_module(lower(archspec.expand(spec)))
    return {name: tuple(value.shape) for name, value in module.named_parameters()}


@pytest.mark.parametrize("name", SMALL)
def test_it_is_what_differs_between_the_modules(name: str) -> None:
    spec = small(name)
    found = size_dependence(spec)
    assert found.compared is not None
    height, width = found.compared
    here = shapes(spec)
    there = shapes(spec.with_values({"input.height": height, "input.width": width}))
    expected = {key for key, shape in here.items() if there.get(key) != shape}
    modules = {key.rpartition(".")[0] for key in expected}
    assert found.paths == modules
    assert found.params == sum(
        torch.Size(shape).numel()
        for key, shape in here.items()
        if key.rpartition(".")[0] in modules
    )
    assert sum(place.times for place in found.places) == len(modules)


def test_the_paper_networks() -> None:
    found = size_dependence("mixer_s16")
    assert found.compared == (448, 448)
    assert found.places == (
        Dependent("stage1.layers.*.token_mlp.up", "linear", 8, 8 * (196 * 256 + 256)),
        Dependent("stage1.layers.*.token_mlp.down", "linear", 8, 8 * (256 * 196 + 196)),
    )
    assert size_dependence("deit_s").places == (Dependent("stem.position", "param", 1, 197 * 384),)
    assert size_dependence("convnext_tiny").places == ()
    assert size_dependence("swin_t").places == ()


FIXED = """
input: {height: 8, width: 8}
classes: 3
stem:
  - conv: {out: 4, kernel: 4, stride: 4}
  - unflatten: {axis: height, into: {height: 1, row: 2}}
  - select: height
  - unflatten: {axis: width, into: {width: SIZE, column: 2}}
  - select: width
  - flatten: {axes: [channels, row, column], into: channels}
head: [{linear: classes}]
"""


def test_a_network_of_one_size_only() -> None:
    spec = loads(FIXED.replace("SIZE", "1"))
    assert size_dependence(spec) == size_dependence(spec, archspec.expand(spec))
    assert size_dependence(spec).compared is None
    assert size_dependence(spec).places == ()


def test_a_spec_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(SpecError):
        size_dependence(loads(FIXED.replace("SIZE", "3")))


def test_names_in_a_phrase() -> None:
    names = ["a.b.weight", *(f"s.layers.{i}.mix.weight" for i in range(3))]
    assert grouped(names) == "a.b.weight, s.layers.*.mix.weight ×3"
    assert grouped(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "mixer_s16",
            "806,432 parameters hold for this one alone: stage1.layers.*.token_mlp.up ×8",
        ),
        ("convnext_tiny", "all parameters fit any image size at which the network exists"),
    ],
)
def test_cost_says_so(name: str, text: str) -> None:
    assert f"Image size: {text}" in run("cost", name).stdout


def test_json_has_all_places() -> None:
    found = json.loads(run("cost", "smlpnet_t", "--json").stdout)["size_dependence"]
    assert found["compared"] == [448, 448]
    assert found["params"] == 31864
    assert len(found["places"]) == 8
    assert found["places"][0] == {
        "name": "stage1.layers.*.cross.row", "op": "linear", "times": 2, "params": 6384,
    }  # fmt: skip
