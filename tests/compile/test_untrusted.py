"""Exported programs from anywhere: what could run code is not opened."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from archspec.compile import exported
from archspec.compile.artefact import load
from archspec.compile.settings import Batch, Settings
from tests.built import network_of
from tests.compile.artefacts import images, make, refusal


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("artefact") / "good")


class Attack:
    """Changes a `.pt2` so that opening or running it would make the file `mark`."""

    def __init__(self, program: Path, mark: Path) -> None:
        with zipfile.ZipFile(program) as archive:
            self.entries = {name: archive.read(name) for name in archive.namelist()}
        self.root = next(iter(self.entries)).partition("/")[0]
        self.call = f"__import__('builtins').open({str(mark)!r}, 'w')"
        buffer = io.BytesIO()
        torch.save((_Opens(mark),), buffer)
        self.pickled = buffer.getvalue()
        self.first = "weight_0"

    def write(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in self.entries.items():
                archive.writestr(name, content)

    def put(self, name: str, content: bytes | None) -> None:
        if content is None:
            del self.entries[f"{self.root}/{name}"]
        else:
            self.entries[f"{self.root}/{name}"] = content

    def edit(self, name: str, change: Callable[[Any], Any]) -> None:
        facts = json.loads(self.entries[f"{self.root}/{name}"])
        self.put(name, json.dumps(change(facts)).encode())


class _Opens:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.mark), "w"))


CONFIG, PROGRAM, INPUTS = (
    "data/weights/model_weights_config.json", "models/model.json", "data/sample_inputs/model.pt",
)  # fmt: skip


def pickled_weight(attack: Attack) -> None:
    def change(facts: Any) -> Any:
        next(iter(facts["config"].values())).update(use_pickle=True, path_name=attack.first)
        return facts

    attack.edit(CONFIG, change)
    attack.put(f"data/weights/{attack.first}", attack.pickled)


def pickled_constant(attack: Attack) -> None:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    facts = {"config": {"c": entry | {"tensor_meta": None}}}
    attack.put("data/constants/model_constants_config.json", json.dumps(facts).encode())
    attack.put("data/constants/opaque_obj_0", pickle.dumps(attack))


def sample_inputs(attack: Attack) -> None:
    attack.put(INPUTS, attack.pickled)


def sample_inputs_in_capitals(attack: Attack) -> None:
    """PyTorch's reader does not tell capitals from small letters."""
    attack.put(INPUTS, None)
    attack.put(INPUTS.replace("model.pt", "MODEL.PT"), attack.pickled)


def the_old_format(attack: Attack) -> None:
    """Which torch.export turns to if an archive has no program of the new one."""
    buffer = io.BytesIO()
    torch.save({}, buffer)
    attack.entries = {
        "version": b"8.20",
        "serialized_exported_program.json": attack.entries[f"{attack.root}/{PROGRAM}"],
        "serialized_state_dict.json": attack.pickled,
        "serialized_constants.pt": buffer.getvalue(),
        "serialized_example_inputs.pt": buffer.getvalue(),
    }


def size(attack: Attack) -> None:
    """PyTorch has sympy evaluate sizes."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(inner) for inner in value]
        if isinstance(value, dict):
            return {
                key: attack.call if key == "expr_str" else change(inner)
                for key, inner in value.items()
            }
        return value

    attack.edit(PROGRAM, change)


def size_of_a_tensor_called_metadata(attack: Attack) -> None:
    def change(facts: Any) -> Any:
        values = facts["graph_module"]["graph"]["tensor_values"]
        meta = json.loads(json.dumps(next(iter(values.values()))))
        meta["sizes"][0] = {"as_expr": {"expr_str": attack.call, "hint": None}}
        values["metadata"] = meta
        return facts

    attack.edit(PROGRAM, change)


def guard(attack: Attack) -> None:
    attack.edit(PROGRAM, lambda facts: facts | {"guards_code": [f"{attack.call} is not None"]})


def input_name(attack: Attack) -> None:
    """Names become the source of a function, where defaults of arguments are evaluated."""
    program = attack.entries[f"{attack.root}/{PROGRAM}"].decode()
    (name,) = {
        entry["user_input"]["arg"]["as_tensor"]["name"]
        for entry in json.loads(program)["graph_module"]["signature"]["input_specs"]
        if "user_input" in entry
    }
    new = json.dumps(f"{name}={attack.call}")
    attack.put(PROGRAM, program.replace(json.dumps(name), new).encode())


def operator(target: str) -> Callable[[Attack], None]:
    def change(facts: Any) -> Any:
        facts["graph_module"]["graph"]["nodes"][0]["target"] = target
        return facts

    return lambda attack: attack.edit(PROGRAM, change)


def structure(attack: Attack) -> None:
    spec = '[1, {"type": "some.Class", "context": "null", "children_spec": []}]'

    def change(facts: Any) -> Any:
        for call in facts["graph_module"]["module_call_graph"]:
            if call.get("signature"):
                call["signature"]["in_spec"] = spec
        return facts

    attack.edit(PROGRAM, change)


def machine_code(attack: Attack) -> None:
    attack.put("data/aotinductor/model/wrapper.so", b"\x7fELF")


OPENED = (sample_inputs_in_capitals, the_old_format, size, guard, input_name, pickled_weight)
"""What torch.export itself falls for."""


@pytest.mark.parametrize(
    ("attack", "what"),
    [
        (pickled_weight, "weight as a pickled object)"),
        (pickled_constant, "the entry 'data/constants/opaque_obj_0')"),
        (sample_inputs, "(pickled objects in data/sample_inputs/model.pt)"),
        (sample_inputs_in_capitals, "(the entry 'data/sample_inputs/MODEL.PT')"),
        (size, "(expr_str \"__import__('builtins').open("),
        (size_of_a_tensor_called_metadata, "(expr_str \"__import__('builtins').open("),
        (guard, "(the guard \"__import__('builtins').open("),
        (input_name, "=__import__('builtins').open("),
        (operator("torch.os.system"), "(target 'torch.os.system')"),
        (operator("torch.ops.aten.from_file.default"), "(target 'torch.ops.aten.from_file.d"),
        (operator("torch.ops.other.name.default"), "(target 'torch.ops.other.name.default')"),
        (structure, "(arguments of type 'some.Class')"),
        (machine_code, "(the entry 'data/aotinductor/model/wrapper.so')"),
    ],
)
def test_a_program_that_could_run_code_is_not_opened(
    attack: Callable[[Attack], None], what: str, good: Path, tmp_path: Path
) -> None:
    spoilt = Attack(good / "model.pt2", tmp_path / "mark")
    attack(spoilt)
    spoilt.write(tmp_path / "evil.pt2")
    folder = make(tmp_path / "a", files={"model.pt2": (tmp_path / "evil.pt2").read_bytes()})
    told = refusal(lambda: load(folder))
    assert told.startswith(f"{folder}/model.pt2 holds what could run code (")
    assert what in told
    assert told.endswith(
        " and was not opened\n  an exported network needs tensors, operators and sizes alone"
    )
    assert not (tmp_path / "mark").exists()


def test_the_old_format_is_not_opened(good: Path, tmp_path: Path) -> None:
    spoilt = Attack(good / "model.pt2", tmp_path / "mark")
    the_old_format(spoilt)
    spoilt.write(tmp_path / "evil.pt2")
    assert refusal(lambda: exported.load(tmp_path / "evil.pt2")) == (
        f"{tmp_path}/evil.pt2 is not an exported program, or is cut short"
    )
    assert not (tmp_path / "mark").exists()


def test_an_archive_that_two_readers_read_differently(good: Path, tmp_path: Path) -> None:
    content = (good / "model.pt2").read_bytes()
    hidden = Attack(good / "model.pt2", tmp_path / "mark")
    sample_inputs(hidden)
    hidden.write(tmp_path / "hidden.pt2")
    for pair in (
        content + (tmp_path / "hidden.pt2").read_bytes(),
        (tmp_path / "hidden.pt2").read_bytes() + content,
    ):
        (tmp_path / "both.pt2").write_bytes(pair)
        refusal(lambda: exported.load(tmp_path / "both.pt2"))
    with zipfile.ZipFile(tmp_path / "twice.pt2", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that names are there twice
        for entries in (hidden.entries, Attack(good / "model.pt2", tmp_path / "mark").entries):
            for name, entry in entries.items():
                archive.writestr(name, entry)
    refusal(lambda: exported.load(tmp_path / "twice.pt2"))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("attack", OPENED)
def test_the_attacks_are_real(attack: Callable[[Attack], None], good: Path, tmp_path: Path) -> None:
    """torch.export.load, which exported.load shields, does run what they bring."""
    spoilt = Attack(good / "model.pt2", tmp_path / "mark")
    attack(spoilt)
    spoilt.write(tmp_path / "evil.pt2")
    with contextlib.suppress(Exception), warnings.catch_warnings():  # it may break afterwards
        warnings.simplefilter("ignore")
        torch.export.load(tmp_path / "evil.pt2").module()(images())
    assert (tmp_path / "mark").exists()


def test_an_archive_packed_anew_is_opened(good: Path, tmp_path: Path) -> None:
    """So that what is refused above is refused for its content."""
    same = Attack(good / "model.pt2", tmp_path / "mark")
    same.write(tmp_path / "same.pt2")
    program = exported.load(tmp_path / "same.pt2").module()
    torch.testing.assert_close(program(images()), images().mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("smlpnet_t", Batch(2, 2, 2)),
        ("smlpnet_t", Batch(1, 2, 4)),
        ("swin_t", Batch(1, 2, 4)),
        ("gmlp_ti", Batch(1, 2, 4)),
        ("deit_s", Batch(1, 2, 4)),
    ],
)
def test_whole_networks_are_opened(name: str, batch: Batch, tmp_path: Path) -> None:
    network = network_of(name)
    settings = Settings(network.image, batch)
    exported.save(exported.export(network.module.eval(), settings), tmp_path / "model.pt2")
    exported.load(tmp_path / "model.pt2")
