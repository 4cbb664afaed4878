"""`archspec export`: a network as a file for other tools."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner, Result

import archspec
from archspec.cli import export as _  # noqa: F401 - registers the command
from archspec.cli.app import app
from archspec.compile import exported, exporting
from archspec.compile.exporting import Format, as_format, export
from archspec.compile.settings import Batch
from archspec.compile.subject import Subject, find
from archspec.search.train.device import seeded
from tests.compile.artefacts import network, refusal, spec

COLOURS = """\
name: colours
input: {channels: 3, height: 8, width: 6}
classes: 3
stages: {only: {body: [{linear: {id: same}}, batch_norm]}}
head: [global_pool, {linear: {id: classifier, out: classes}}]
"""

needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="needs onnx, onnxscript and onnxruntime",
)
FORMATS = [pytest.param("onnx", marks=needs_onnx), "torch-export", "safetensors"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own, with a spec in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colours.yaml").write_text(COLOURS)
    return tmp_path


def archspec_export(*args: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, args)])


def told(*args: object, code: int = 2) -> str:
    done = archspec_export(*args)
    assert isinstance(done.exception, archspec.ArchspecError), done.output
    assert (done.exception.exit_code, done.stdout) == (code, "")
    return str(done.exception)


def listing() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def subject() -> Subject:
    return find(Path("colours.yaml"))


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 6, generator=torch.Generator().manual_seed(5))


def random_network() -> torch.nn.Module:
    with seeded(0):
        return archspec.build("colours.yaml").eval()


# -- the files -------------------------------------------------------------------------------------


@needs_onnx
def test_onnx_takes_images_and_gives_logits_at_any_batch_in_the_range() -> None:
    import onnx
    import onnxruntime

    done = export(subject(), "onnx", batch=Batch(1, 2, 8))
    assert done.files == (Path("colours.onnx"),)
    assert done.size == Path("colours.onnx").stat().st_size
    assert done.checked_with == "ONNX Runtime"
    assert done.relative_error is not None and done.bound is not None
    assert done.relative_error <= done.bound < 1e-5
    model = onnx.load("colours.onnx")
    (given,), (found,) = model.graph.input, model.graph.output
    assert (given.name, found.name) == ("images", "logits")
    dimensions = given.type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dimensions] == ["batch", 3, 8, 6]
    session = onnxruntime.InferenceSession("colours.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3, 8):
        (logits_BK,) = session.run(None, {"images": images(count).numpy()})
        wanted = random_network()(images(count)).detach()
        torch.testing.assert_close(torch.from_numpy(logits_BK), wanted)


@needs_onnx
def test_weights_too_large_for_one_file_get_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr("archspec.compile.backends.onnx.LARGEST", 1)
    done = export(subject(), "onnx", Path("big.onnx"))
    assert done.files == (Path("big.onnx"), Path("big.onnx.data"))
    assert done.size == sum(file.stat().st_size for file in done.files)
    session = onnxruntime.InferenceSession("big.onnx", providers=["CPUExecutionProvider"])
    (logits_BK,) = session.run(None, {"images": images(1).numpy()})
    np.testing.assert_allclose(logits_BK, random_network()(images(1)).detach(), rtol=1e-4)
    assert listing() == ["big.onnx", "big.onnx.data", "colours.yaml"]


def test_torch_export_loads_without_our_source() -> None:
    done = export(subject(), "torch-export", batch=Batch(2, 2, 4))
    assert (done.files, done.checked_with) == ((Path("colours.pt2"),), "PyTorch")
    program = torch.export.load("colours.pt2").module()
    for count in (2, 4):
        wanted = random_network()(images(count))
        torch.testing.assert_close(program(images(count)), wanted)


def test_safetensors_are_weights_under_our_names() -> None:
    done = export(subject(), "safetensors")
    assert done.relative_error is not None and done.relative_error < 1e-6
    tensors = load_file("colours.safetensors")
    wanted = random_network().state_dict()
    assert tensors.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=0)
    archspec.build("colours.yaml", weights="colours.safetensors")


@pytest.mark.parametrize("form", FORMATS)
def test_weights_are_those_of_the_checkpoint(form: Format) -> None:
    with seeded(1):
        trained = archspec.build("colours.yaml").eval()
    save_file(trained.state_dict(), "trained.safetensors")
    one = find(Path("colours.yaml"), weights=Path("trained.safetensors"))
    export(one, form)
    export(one, "safetensors", Path("again.safetensors"))
    torch.testing.assert_close(load_file("again.safetensors"), dict(trained.state_dict()))
    if form == "torch-export":
        program = torch.export.load("colours.pt2").module()
        torch.testing.assert_close(program(images(1)), trained(images(1)))


# -- the command -----------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote_and_checked() -> None:
    done = archspec_export("colours.yaml", "--format", "torch-export", "-o", "net.pt2")
    assert done.exit_code == 0
    first, second, third = done.stdout.splitlines()
    assert first == "wrote net.pt2"
    assert second.startswith("size ") and second.endswith(" KiB")
    assert third.startswith("✓ read again with PyTorch: relative error ")
    assert third.endswith(")") and " against float64 (at most " in third
    assert done.stderr.startswith("note: the weights are random")


def test_json_has_the_same() -> None:
    done = archspec_export(
        "colours.yaml", "-f", "torch-export", "--input", "3x4x4", "--batch", "1:2:3", "--json"
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts.pop("size") == Path("colours.pt2").stat().st_size
    assert 0 <= facts.pop("relative_error") <= facts.pop("bound") < 1e-5
    assert facts == {"files": ["colours.pt2"], "checked_with": "PyTorch"}
    assert exported.load(Path("colours.pt2")).module()(torch.zeros(3, 3, 4, 4)).shape == (3, 3)


@needs_onnx
def test_without_onnx_runtime_the_file_is_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnxruntime")
    done = archspec_export("colours.yaml", "-f", "onnx")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "wrote colours.onnx"
    assert "✓" not in done.stdout
    assert done.stderr.endswith(
        "note: not compared with the network: onnxruntime is not installed here\n"
    )


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in names else plain(name, *more),
    )


def test_without_the_onnx_packages_there_is_no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnx", "onnxscript")
    assert told("colours.yaml", "-f", "onnx", code=3) == (
        "the format onnx cannot be written here: it needs the package onnx and onnxscript\n"
        "  pip install 'archspec-vision[onnx]'"
    )
    assert listing() == ["colours.yaml"]


# -- refusals --------------------------------------------------------------------------------------


def test_words_that_mean_nothing() -> None:
    assert told("colours.yaml", "-f", "onx") == "there is no format 'onx'\n  did you mean 'onnx'?"
    assert refusal(lambda: as_format("tflite")) == (
        "there is no format 'tflite'\n  known: onnx, safetensors, torch-export"
    )
    assert told("colours.yaml", "-f", "torch-export", "--batch", "0") == (
        "--batch takes a number of images or min:opt:max, found '0'\n"
        "  such as --batch 8, or --batch 1:8:64"
    )
    assert told("colours.yaml", "-f", "torch-export", "-o", "net.onnx") == (
        "--output takes a file that ends in .pt2 for torch-export, found 'net.onnx'"
    )
    assert told("colours.yaml", "-f", "safetensors", "--batch", "2") == (
        "--batch: weights alone have no batch size\n  leave it out, or take another format"
    )


def test_weights_of_another_network_leave_nothing_behind() -> None:
    save_file({"a": torch.zeros(1)}, "a.safetensors")
    assert "does not fit colours" in told(
        "colours.yaml", "-f", "torch-export", "--weights", "a.safetensors"
    )
    assert listing() == ["a.safetensors", "colours.yaml"]


@pytest.mark.parametrize("form", FORMATS)
def test_places_that_cannot_be_written(form: Format) -> None:
    suffix = exporting.SUFFIXES[form]
    folder = Path(f"folder{suffix}")
    folder.mkdir()
    os.mkfifo(f"pipe{suffix}")
    before = listing()
    for place, reason in (
        (folder, "it is a folder"),
        (Path(f"pipe{suffix}"), "it is no regular file"),
        (Path(f"no/net{suffix}"), "No such file or directory"),
        (Path("x" * 300 + suffix), "File name too long"),
    ):
        message = refusal(lambda place=place: export(subject(), form, place))
        assert message == f"cannot write {place}: {reason}"
    assert listing() == before


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_leaves_what_was_there(form: Format) -> None:
    file = Path("net" + exporting.SUFFIXES[form])
    file.write_text("before")
    export(subject(), form, Path("warm" + exporting.SUFFIXES[form]))  # loads what it needs
    before = listing()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        message = refusal(lambda: export(subject(), form, file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message.startswith(f"cannot write {file}: ")
    assert "\n" not in message
    assert file.read_text() == "before"
    assert listing() == before


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_computes_something_else_is_not_written(
    form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = exporting._write

    def write(module: torch.nn.Module, *args: Any) -> None:
        other = random_network()
        with torch.no_grad():
            other.get_parameter("head.classifier.weight").mul_(1.001)
        plain(other, *args)

    monkeypatch.setattr(exporting, "_write", write)
    file = "net" + exporting.SUFFIXES[form]
    message = told("colours.yaml", "-f", form, "-o", file, code=1)
    assert message.startswith(
        f"{file} was not written: read again, it does not compute the network (relative error "
    )
    assert listing() == ["colours.yaml"]


def test_logits_that_are_not_finite_are_not_exported() -> None:
    module = network()
    with torch.no_grad():
        module.get_parameter("head.classifier.weight").fill_(float("nan"))
    save_file(module.state_dict(), "nan.safetensors")
    one = Subject(spec(), Path("nan.safetensors"), "a test", None, None, None, None, ())
    message = refusal(lambda: export(one, "torch-export"), code=1)
    assert "its logits are not finite" in message


@needs_onnx
def test_a_link_stays_a_link_and_weights_stand_beside_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import onnxruntime

    monkeypatch.setattr("archspec.compile.backends.onnx.LARGEST", 1)
    Path("store").mkdir()
    Path("store/real.onnx").write_text("before")
    Path("link.onnx").symlink_to("store/real.onnx")
    export(subject(), "onnx", Path("link.onnx"))
    assert Path("link.onnx").is_symlink()
    assert sorted(path.name for path in Path("store").iterdir()) == ["real.onnx", "real.onnx.data"]
    onnxruntime.InferenceSession("store/real.onnx", providers=["CPUExecutionProvider"])
