"""One compilation: what is asked of the backend, what the artefact says, and what may go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import archspec
import archspec.compile
from archspec.compile import parity, pictures
from archspec.compile.backends.base import Job
from archspec.compile.backends.eager import Eager
from archspec.compile.backends.onnx import Onnx
from archspec.compile.errors import CompileError, UnfitError
from archspec.compile.job import Bench, Request, compile_network
from archspec.compile.output import filling
from archspec.compile.settings import Batch, Precision, Settings
from archspec.compile.subject import find
from archspec.spec import Spec, loads
from tests.compile import small
from tests.compile.artefacts import refusal
from tests.compile.conftest import NETWORK


def network(**values: object) -> Spec:
    return loads(NETWORK).with_values(values)


def compiled(folder: Path, spec: Spec | None = None, **more: Any) -> archspec.compile.Artefact:
    given: dict[str, Any] = {"backend": "eager", "output": folder, "device": "cpu"}
    return archspec.compile.compile(spec or network(), **(given | more))


# -- from Python -----------------------------------------------------------------------------------


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artefact = archspec.compile.compile(network(), backend="eager")
    assert artefact.folder == Path("runs/compiled/net-eager-fp32-b1")
    facts = artefact.manifest
    assert (facts.precision, facts.batch, facts.speed) == ("fp32", (1, 1, 1), None)
    assert (facts.rewrites, facts.has_trained_weights) == ({}, False)
    assert facts.spec_sha256 == network().digest
    assert artefact(torch.randn(1, 3, 8, 6)).shape == (1, 4)


def test_a_path_and_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(NETWORK)
    weights = small.checkpoint(tmp_path, network())
    artefact = compiled(tmp_path / "a", tmp_path / "net.yaml", weights=weights, batch=2)  # type: ignore[arg-type]
    images_BCHW = torch.randn(2, 3, 8, 6)
    exact = archspec.build(network(), weights=weights).eval()
    with torch.inference_mode():
        torch.testing.assert_close(artefact(images_BCHW), exact(images_BCHW))


def test_an_unfit_artefact_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Eager.compile

    def wrong(task: Job) -> dict[str, Any]:
        weights = {
            node: {name: value * 2 for name, value in tensors.items()}
            for node, tensors in task.network.weights.items()
        }
        return right(replace(task, network=replace(task.network, weights=weights)))

    monkeypatch.setattr(Eager, "compile", wrong)
    with pytest.raises(UnfitError) as found:
        compiled(tmp_path / "a")
    assert found.value.exit_code == 1
    assert str(found.value).startswith(f"{tmp_path / 'a'} is marked unfit: ")
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["fit"] is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "onix"}, "there is no backend 'onix'\n  did you mean 'onnx'?"),
        ({"precision": "tf32"}, "the backend 'eager' has no tf32 on cpu\n"
         "  it has fp32, bf16, fp16"),
        ({"rewrites": ["fold-afine"]},
         "there is no rewrite 'fold-afine'\n  did you mean 'fold-affine'?"),
        ({"rewrites": "fold-afine"},
         "there is no rewrite 'fold-afine'\n  did you mean 'fold-affine'?"),
        ({"batch": -1}, "--batch takes a number of images or min:opt:max, found '-1'\n"
         "  such as --batch 8, or --batch 1:8:64"),
        ({"options": {"a": 1}}, "the backend 'eager' has no options, found 'a'"),
    ],
)  # fmt: skip
def test_it_is_refused_before_any_work(
    given: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bench, "of", lambda _: pytest.fail("nothing may be built"))
    assert refusal(lambda: compiled(tmp_path / "a", **given)) == message
    assert list(tmp_path.iterdir()) == []


def test_rewrites_as_the_command_names_them(tmp_path: Path) -> None:
    fired = [
        compiled(tmp_path / "a", rewrites=rewrites).manifest.rewrites
        for rewrites in ("auto", "all", ["fold-affine"])
    ]
    assert fired == [{}, {"fold-batch-norm": 1}, {}]


def test_what_it_sees_in_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(tmp_path / "black.png")
    (found,) = archspec.compile.classify(compiled(tmp_path / "a"), [tmp_path / "black.png"], top=2)
    assert [str(guess) for guess in found.best] == [f"class {guess.index}" for guess in found.best]
    assert len(found.best) == 2


def test_every_name_is_there() -> None:
    assert {getattr(archspec.compile, name).__name__ for name in archspec.compile.__all__} == set(
        archspec.compile.__all__
    )


# -- what the backend is asked -----------------------------------------------------------------


def test_the_backend_sees_the_rewritten_network_and_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []
    right = Onnx.compile

    def watched(task: Job) -> dict[str, Any]:
        seen.append(task)
        task.note("it rains")
        return right(task) | {"flavour": "sweet"}

    monkeypatch.setattr(Onnx, "compile", watched)
    artefact = compiled(tmp_path / "a", backend="onnx")
    (task,) = seen
    assert not any("batch_norm" in place for place in task.network.places.values())
    assert task.images_BCHW.shape == (32, 3, 8, 6)
    assert artefact.manifest.notes == ("it rains",)
    assert artefact.manifest.facts == {"flavour": "sweet"}
    assert list(artefact.manifest.files) == ["model.onnx"]
    assert artefact.manifest.size == (tmp_path / "a" / "model.onnx").stat().st_size


def test_speed_beside_its_rival(tmp_path: Path) -> None:
    facts = compiled(tmp_path / "a", benchmark=True, seconds=0.05).manifest
    assert facts.speed is not None
    assert [(row.runner, row.batch) for row in facts.speed] == [("artefact", 1), ("eager fp32", 1)]
    for row in facts.speed:
        assert 0 < row.median_ms <= row.p90_ms
        assert row.ratio_low <= row.ratio <= row.ratio_high
        assert row.peak_memory is None or row.peak_memory >= 0
    assert facts.speed[1].ratio == 1


# -- networks of all kinds -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    facts = compiled(tmp_path / "a", network(**{"input.channels": channels})).manifest
    assert facts.fit
    assert facts.image == (channels, 8, 6)
    assert facts.parity is not None
    assert facts.parity.cases[1].inputs == "photographs"
    assert len(facts.preprocessing.mean) == len(facts.preprocessing.std) == channels
    assert set(facts.preprocessing.mean + facts.preprocessing.std) == {0.5, 0.25}


def test_photographs_of_one_two_and_four_channels() -> None:
    def shown(channels: int) -> torch.Tensor:
        subject = find(network(**{"input.channels": channels, "input.height": 32}))
        how = pictures.preprocessing(subject)
        std_C11 = torch.tensor(how.std).view(-1, 1, 1)
        found = pictures.pictures(subject, how).images_NCHW
        return found * std_C11 + torch.tensor(how.mean).view(-1, 1, 1)

    grey, colour = shown(1), shown(3)
    assert grey.shape == (32, 1, 32, 6)
    luminance = (colour * torch.tensor([0.299, 0.587, 0.114]).view(-1, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(grey, luminance, rtol=0, atol=0.01)
    torch.testing.assert_close(shown(2), colour[:, :2])
    torch.testing.assert_close(shown(4), colour[:, [0, 1, 2, 0]])
    assert colour.std() > 0.1


def test_fewer_images_are_read_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(most: int) -> int:
        monkeypatch.setattr(pictures, "LARGEST", most)
        subject = replace(find(network()), images="digits")
        return len(pictures.pictures(subject, pictures.preprocessing(subject)).images_NCHW)

    image = 4 * 3 * 8 * 6
    assert [count(most * image) for most in (1000, 100, 1)] == [256, 100, 8]


def test_data_that_is_gone_gives_way_to_photographs() -> None:
    subject = replace(find(network()), images="/nowhere/at/all")
    assert pictures.pictures(subject, pictures.preprocessing(subject)).name == "photographs"


def test_one_class(tmp_path: Path) -> None:
    artefact = compiled(tmp_path / "a", network(classes=1))
    assert artefact.manifest.fit
    assert artefact.manifest.class_count == 1
    assert artefact(torch.randn(1, 3, 8, 6)).shape == (1, 1)


def test_no_batch_norm(tmp_path: Path) -> None:
    spec = loads(NETWORK.replace("batch_norm, ", ""))
    artefact = compiled(tmp_path / "a", spec, backend="onnx", rewrites="all")
    assert artefact.manifest.fit
    assert "fold-batch-norm" not in artefact.manifest.rewrites


# -- faults ----------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    return Bench.of(find(network()))


def request_for(batch: Batch = Batch(1, 1, 1)) -> Request:  # noqa: B008 - frozen
    return Request(Eager, Settings((3, 8, 6), batch), benchmark=False, use_cache=False)


def failing(error: Exception) -> Callable[[Job], Any]:
    def fail(task: Job) -> Any:
        (task.folder / "half").write_text("half")
        raise error

    return fail


ALLOCATOR = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CompileError("no", hint="but"), "no\n  but"),
        (OSError(28, "No space left on device"), "cannot write {}: No space left on device"),
        (MemoryError(), "out of memory on cpu: net at batch 7, image 3×8×6\n"
         "  smaller images (--input) or batches (--batch) may fit"),
        (RuntimeError(ALLOCATOR), "out of memory on cpu: net at batch 7, image 3×8×6\n"
         "  smaller images (--input) or batches (--batch) may fit"),
    ],
)  # fmt: skip
def test_a_fault_leaves_what_was_there(
    error: Exception, message: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    compile_network(bench, request_for(), folder, lambda _: None)
    before = (folder / "manifest.json").read_text()
    monkeypatch.setattr(Eager, "compile", failing(error))
    found = refusal(
        lambda: compile_network(bench, request_for(Batch(7, 7, 7)), folder, lambda _: None)
    )
    assert found == message.format(folder)
    assert (folder / "manifest.json").read_text() == before
    assert list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_that_a_library_does_not_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C++ streams say `basic_ios::clear: iostream error`; other errors pass."""
    monkeypatch.setattr(Eager, "compile", failing(RuntimeError("iostream error")))
    with pytest.raises(RuntimeError, match="iostream"):
        compile_network(bench, request_for(), tmp_path / "a", lambda _: None)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert refusal(
        lambda: compile_network(bench, request_for(), tmp_path / "a", lambda _: None)
    ) == (f"cannot write {tmp_path / 'a'}: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_artefact_that_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one stays."""
    output = tmp_path / "a"
    output.mkdir()
    (output / "manifest.json").write_text("old")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".unfinished"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CompileError) as found, filling(output):
        pass
    assert str(found.value) == f"cannot write {output}: Input/output error"
    assert (output / "manifest.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


def test_a_link_stays_a_link(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    for _ in range(2):
        compile_network(bench, request_for(), tmp_path / "current", lambda _: None)
    assert (tmp_path / "current").readlink() == Path("v1")
    assert sorted(path.name for path in (tmp_path / "v1").iterdir()) == [
        "manifest.json", "model.pt2",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "v1"]


def test_what_is_shared_is_made_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    right = parity.expect

    def counted(*given: Any) -> Any:
        calls.append(given[2])
        return right(*given)

    monkeypatch.setattr(parity, "expect", counted)
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp32")
    for precision in precisions:
        assert bench.expected(precision, "cpu")[0].logits_NK.shape == (8, 4)
    assert calls == ["fp32", "bf16"]
    assert not bench.module.training


@pytest.mark.parametrize(
    ("backend", "asked", "here", "place"),
    [
        ("openvino", "auto", "cuda:0", "cpu"),  # it serves no GPU
        ("onnx", "auto", "cuda:0", "cuda:0"),
        ("onnx", "auto", "cpu", "cpu"),
        ("tensorrt", "auto", "cpu", "cpu"),  # which check() then refuses
        ("openvino", "cuda", "cuda:0", "cuda:0"),  # likewise
    ],
)
def test_auto_is_a_device_that_the_backend_serves(
    backend: str, asked: str, here: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archspec.compile import backends, calls

    monkeypatch.setattr(calls, "resolve", lambda _: here)
    assert calls.place_for(backends.find(backend), asked) == place
