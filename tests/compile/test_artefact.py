"""Loading an artefact: what is wrong with it is one message, and nothing runs before that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archspec.compile import manifest
from archspec.compile.artefact import load
from archspec.compile.backends.eager import Eager
from archspec.compile.errors import CompileError, UnavailableError, UnfitError
from archspec.compile.manifest import Device
from archspec.compile.settings import Batch
from tests.compile.artefacts import COLOURS, images, make, refusal


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("artefact") / "good")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of a good artefact, to spoil."""
    return Path(shutil.copytree(good, tmp_path / "a"))


# -- the folder and its manifest -------------------------------------------------------------------


def test_a_folder_or_its_manifest_loads(good: Path) -> None:
    means_BK = images().mean((2, 3))
    for path in (good, str(good), good / "manifest.json"):
        artefact = load(path)
        torch.testing.assert_close(artefact(images()), means_BK)
        assert artefact.manifest.classes == COLOURS


def test_other_files_in_the_folder_do_no_harm(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    load(folder)


def test_no_folder(tmp_path: Path) -> None:
    assert refusal(lambda: load(tmp_path / "no")) == (
        f"{tmp_path}/no is no artefact: there is no such folder\n  'archspec compile' makes one"
    )


def test_no_manifest(tmp_path: Path) -> None:
    assert refusal(lambda: load(tmp_path)) == (
        f"{tmp_path} is no artefact: there is no manifest.json in it\n"
        "  'archspec compile' makes one"
    )


def test_a_file(folder: Path) -> None:
    assert refusal(lambda: load(folder / "model.pt2")) == (
        f"{folder}/model.pt2 is no artefact: it is a file\n  give the folder that has manifest.json"
    )


def test_a_name_too_long(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    assert refusal(lambda: load(path)) == f"{path}/manifest.json cannot be read: File name too long"


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "na', b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert refusal(lambda: load(folder)) == (
        f"{folder}/manifest.json is not JSON, or is cut short\n  compile it again"
    )


@pytest.mark.parametrize("content", ["[]", "null", "3", '{"format": 1}', '{"format": 1, "fit": 1}'])
def test_json_that_is_no_manifest(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    assert refusal(lambda: load(folder)) == (
        f"{folder}/manifest.json is not a manifest\n  compile it again"
    )


def test_a_manifest_of_another_format(folder: Path) -> None:
    edit(folder, lambda facts: facts.update(format=2))
    assert refusal(lambda: load(folder)) == (
        f"{folder}/manifest.json is of format 2, and this version reads 1\n  compile it again"
    )


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "manifest.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


def digit(facts: dict[str, Any]) -> None:
    facts["parity"]["cases"][0]["bound"] = 2.0


@pytest.mark.parametrize(
    "change",
    [
        digit,
        lambda facts: facts.update(fit=False),
        lambda facts: facts.update(classes=["green", "red", "blue"]),
        lambda facts: facts.update(digest=""),
        lambda facts: facts["files"].clear(),
    ],
)
def test_an_edited_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(folder, change)
    assert refusal(lambda: load(folder)) == (
        f"{folder}/manifest.json was changed after it was written\n  compile it again"
    )


def test_every_digit_of_a_manifest_is_guarded(folder: Path) -> None:
    """Whichever digit is changed, the artefact does not load."""
    file = folder / "manifest.json"
    text = file.read_text()
    places = [place for place, letter in enumerate(text) if letter.isdecimal()]
    assert len(places) > 100
    for place in places:
        changed = str((int(text[place]) + 1) % 10)
        file.write_text(text[:place] + changed + text[place + 1 :])
        with pytest.raises(CompileError):
            manifest.read(folder)
    file.write_text(text)
    manifest.read(folder)


def test_reformatting_a_manifest_changes_nothing(folder: Path) -> None:
    edit(folder, lambda facts: None)
    load(folder)


# -- the compiled files ----------------------------------------------------------------------------


def test_a_changed_file(folder: Path) -> None:
    file = folder / "model.pt2"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    told = (
        f"{folder}/model.pt2 is not the file that was compiled: its hash differs from "
        "manifest.json\n  compile it again"
    )
    for changed in (bytes(content), file.read_bytes()[:-1], b""):
        file.write_bytes(changed)
        assert refusal(lambda: load(folder)) == told


def test_a_missing_file(folder: Path) -> None:
    (folder / "model.pt2").unlink()
    assert refusal(lambda: load(folder)) == f"{folder}/model.pt2 is missing\n  compile it again"


def test_a_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / "model.pt2").unlink()
    (folder / "model.pt2").mkdir()
    assert refusal(lambda: load(folder)).startswith(f"{folder}/model.pt2 is not the file that was")


def test_a_file_that_was_never_compiled(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", files={"model.pt2": b"nothing"})
    assert refusal(lambda: load(folder)) == (
        f"{folder}/model.pt2 is not an exported program, or is cut short"
    )


def test_what_a_runtime_does_not_understand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no such operator\nat line 7")

    monkeypatch.setattr(Eager, "load", fail)
    assert refusal(lambda: load(folder)) == f"{folder} cannot be loaded by eager: no such operator"


# -- another machine -------------------------------------------------------------------------------


def test_another_backend(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", backend=_named("tpu"))
    assert refusal(lambda: load(folder)).startswith(
        f"{folder} was compiled by the backend 'tpu', which is not known here\n  known: aoti, eager"
    )


def _named(backend: str) -> type[Eager]:
    return type("Other", (Eager,), {"name": backend})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_compiled_for_a_device_that_is_not_here(tmp_path: Path) -> None:
    there = Device(kind="cuda", name="NVIDIA H200", capability="9.0")
    folder = make(tmp_path / "a", device=there)
    assert refusal(lambda: load(folder)) == (
        f"{folder} was compiled for cuda (NVIDIA H200), and there is none here\n"
        "  compile it again here"
    )
    assert refusal(lambda: load(folder, device="cpu")) == (
        f"{folder} was compiled for cuda, and cpu was asked for\n  compile it again with --device"
    )


def test_a_device_that_there_is_not(good: Path) -> None:
    assert "'tpu'" in refusal(lambda: load(good, device="tpu"))


def test_bound_artefacts_need_the_same_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = load(make(tmp_path / "b")).manifest.device
    folder = make(tmp_path / "a", device=Device(kind="cpu", name="Altair", capability="8080"))
    load(folder)
    monkeypatch.setattr(Eager, "is_bound", True)
    assert refusal(lambda: load(folder)) == (
        f"{folder} was compiled for Altair (8080), and this is {here.name} ({here.capability})\n"
        "  compile it again here"
    )


def test_bound_artefacts_need_the_same_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archspec.compile.artefact import version

    older, unknown = (
        make(tmp_path / "a", versions={"torch": "1.0"}),
        make(tmp_path / "b", versions={}),
    )
    load(older)
    monkeypatch.setattr(Eager, "is_bound", True)
    for folder, then in ((older, "1.0"), (unknown, "none")):
        assert refusal(lambda folder=folder: load(folder)) == (
            f"{folder} was compiled with torch {then}, and here is {version('torch')}\n"
            "  compile it again here"
        )
    load(make(tmp_path / "c"))


def test_a_backend_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eager, "missing", lambda settings: ["the package x", "the package y"])
    monkeypatch.setattr(Eager, "extra", "xy")
    with pytest.raises(UnavailableError):
        load(folder)
    assert refusal(lambda: load(folder), code=3) == (
        f"{folder} needs the backend 'eager', which cannot be used here: it needs the package x; "
        "the package y\n  pip install 'archspec-vision[xy]'"
    )


# -- unfit -----------------------------------------------------------------------------------------


def test_unfit_artefacts_are_refused_unless_asked_for(tmp_path: Path) -> None:
    told = "is marked unfit: its logits were not close enough to the network's"
    never = make(tmp_path / "never", parity=None)
    failed = make(tmp_path / "failed", fit=False)
    for folder in (never, failed):
        with pytest.raises(UnfitError):
            load(folder)
        assert refusal(lambda folder=folder: load(folder), code=1) == (
            f"{folder} {told}\n"
            "  compile it again in a higher precision, or see parity in its manifest.json"
        )
        notes: list[str] = []
        load(folder, allow_unfit=True, note=notes.append)
        assert notes == [f"{folder} is unfit: its logits are not close enough to the network's"]


def test_calling_it_unfit_cannot_be_edited_away(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", fit=False)
    edit(folder, lambda facts: facts.update(fit=True))
    with pytest.raises(CompileError, match=r"was changed after it was written"):
        load(folder)


# -- inputs ----------------------------------------------------------------------------------------


def test_batches_outside_the_range(good: Path, tmp_path: Path) -> None:
    artefact = load(good)
    hint = "\n  compile it for others with --batch MIN:OPT:MAX"
    for count in (0, 5):
        assert refusal(lambda count=count: artefact(torch.zeros(count, 3, 8, 6))) == (
            f"expected a batch of 1 to 4 images, found {count}{hint}"
        )
    fixed = load(make(tmp_path / "a", batch=Batch(3, 3, 3)))
    assert refusal(lambda: fixed(images(2))) == f"expected a batch of 3 images, found 2{hint}"


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (2, 1, 8, 6), (3, 8, 6), (1, 2, 3, 8, 6), ()])
def test_images_of_another_size(good: Path, shape: tuple[int, ...]) -> None:
    artefact = load(good)
    assert refusal(lambda: artefact(torch.zeros(shape))) == (
        f"expected images of shape (batch, 3, 8, 6), found {shape}\n"
        "  it was compiled for images of 3×8×6; --input compiles for others"
    )


def test_images_of_another_type(good: Path) -> None:
    artefact = load(good)
    for dtype in (torch.float64, torch.uint8, torch.bfloat16):
        assert refusal(lambda dtype=dtype: artefact(images().to(dtype))) == (
            f"expected images in float32, found {dtype}"
        )
    array: Any = np.zeros((2, 3, 8, 6), np.float32)
    assert refusal(lambda: artefact(array)) == (
        "expected a tensor of images, found ndarray\n  torch.from_numpy makes one of an array"
    )


def test_images_elsewhere(good: Path) -> None:
    artefact = load(good)
    assert refusal(lambda: artefact(images().to("meta"))) == (
        "expected images on cpu, found them on meta"
    )


def test_what_is_not_finite_passes_through(good: Path) -> None:
    dirty = images()
    dirty[1, 2, 3, 4] = float("nan")
    logits_BK = load(good)(dirty)
    assert bool(logits_BK[0].isfinite().all())
    assert bool(logits_BK[1, 2].isnan())
