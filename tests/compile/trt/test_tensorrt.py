"""The TensorRT backend where there is none: what is missing is said. And where there is one."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from archspec.compile.backends import find
from archspec.compile.backends import tensorrt as backend
from archspec.compile.backends.base import Job
from archspec.compile.backends.tensorrt import TensorRT, check_batch
from archspec.compile.dry_run import Coverage, Unconverted
from archspec.compile.errors import CompileError, UnavailableError
from archspec.compile.network import inline
from archspec.compile.settings import Batch, Precision, Settings
from tests.built import built, enlivened
from tests.compile.trt import standin

CUDA = Settings((3, 224, 224), device="cuda")


class Machine:
    """What is installed, as the backend sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.versions = {"torch_tensorrt": "2.13.0", "tensorrt": "11.0.0"}
        self.fault: Exception | None = None
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(importlib.util, "find_spec", self.find_spec)
        monkeypatch.setattr(importlib.metadata, "version", self.versions.__getitem__)
        monkeypatch.setattr(backend.importlib, "import_module", self.import_module)

    def find_spec(self, name: str) -> object | None:
        return object() if name in self.versions else None

    def import_module(self, name: str) -> Any:
        assert name == "tensorrt", f"{name} was imported to see what is missing"
        if self.fault is not None:
            raise self.fault
        return SimpleNamespace(__version__=self.versions["tensorrt"])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_nothing_missing(machine: Machine) -> None:
    assert TensorRT.missing(CUDA) == []


def test_torch_without_cuda(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    machine.fault = AssertionError("nothing is to be imported")
    assert TensorRT.missing(CUDA) == ["PyTorch with CUDA (this is 2.13.0+cpu)"]
    with pytest.raises(UnavailableError) as refused:
        TensorRT.dry_run(None, CUDA)
    assert str(refused.value) == (
        "a dry run of 'tensorrt' cannot be made here: it needs PyTorch with CUDA (this is "
        "2.13.0+cpu)\n  pip install 'archspec-vision[tensorrt]'"
    )
    assert refused.value.exit_code == 3


def test_no_torch_tensorrt(machine: Machine) -> None:
    del machine.versions["torch_tensorrt"]
    assert TensorRT.missing(CUDA) == ["the package torch-tensorrt 2.13"]


def test_torch_tensorrt_of_another_torch(machine: Machine) -> None:
    machine.versions["torch_tensorrt"] = "2.11.0"
    assert TensorRT.missing(CUDA) == [
        "torch-tensorrt 2.13, which belongs to torch 2.13 (this is 2.11.0)"
    ]


def test_no_tensorrt(machine: Machine) -> None:
    del machine.versions["tensorrt"]
    assert TensorRT.missing(CUDA) == ["the package tensorrt 11.0"]


def test_tensorrt_whose_libraries_do_not_load(machine: Machine) -> None:
    machine.fault = ImportError("libnvinfer.so.11: cannot open shared object file")
    assert TensorRT.missing(CUDA) == [
        "TensorRT's libraries, which do not load: libnvinfer.so.11: cannot open shared object file"
    ]


def test_tensorrt_of_another_torch_tensorrt(machine: Machine) -> None:
    machine.versions["tensorrt"] = "10.15.1"
    assert TensorRT.missing(CUDA) == [
        "tensorrt 11.0, which belongs to torch 2.13 (this is 10.15.1)"
    ]


def test_no_gpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert TensorRT.missing(CUDA) == ["a CUDA device (PyTorch finds none)"]


def test_it_is_found_without_torch_tensorrt() -> None:
    """Importing the backend imports neither torch-tensorrt nor TensorRT."""
    code = (
        "import sys; from archspec.compile.backends import find; find('tensorrt'); "
        "print([name for name in ('torch_tensorrt', 'tensorrt') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert find("tensorrt") is TensorRT


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((1, 8, 64), (1, 8, 64)), ((1, 8, 64), (2, 8, 32)), ((8, 8, 8), (8, 8, 8))],
)
def test_a_range_that_is_wide_enough(
    found: tuple[int, int, int], wanted: tuple[int, int, int]
) -> None:
    check_batch(Batch(*found), Batch(*wanted))


def test_a_range_that_starts_too_late() -> None:
    with pytest.raises(CompileError) as refused:
        check_batch(Batch(4, 8, 64), Batch(1, 8, 64))
    assert str(refused.value) == (
        "the engine takes batches of 4 to 64 images, asked for were 1 to 64: torch-tensorrt "
        "narrowed the range\n  ask for --batch 64, or for a range inside 4:64"
    )


def test_a_split_network_is_refused() -> None:
    coverage = Coverage(10, 10, (), 2, 1, "8")
    assert not coverage.is_complete
    with pytest.raises(CompileError) as refused:
        coverage.check()
    assert str(refused.value) == (
        "torch-tensorrt makes 2 engines of the network and leaves 1 parts to PyTorch, though it "
        "converts every operator; expected one engine\n"
        "  other backends take it: --backend inductor, --backend aoti"
    )


def test_an_operator_names_few_places() -> None:
    places = tuple(f"stage1.layers.{index}.mixer" for index in range(5))
    assert str(Unconverted("torch.ops.aten.i0.default", 5, places)) == (
        "torch.ops.aten.i0.default (5 times) at stage1.layers.0.mixer, stage1.layers.1.mixer, "
        "stage1.layers.2.mixer, …"
    )


def test_the_standin_is_found_by_nobody() -> None:
    """Nothing of the product names it, and no `import tensorrt` could end there."""
    for folder in ("archspec", "compile", "search"):
        for path in (standin.ROOT / folder).rglob("*.py"):
            assert "trt.standin" not in path.read_text(encoding="utf-8"), path
    assert not list((standin.ROOT / "tests").rglob("tensorrt"))
    assert not list((standin.ROOT / "tests").rglob("tensorrt.py"))


def test_the_standin_hides_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        is_it = name == "tensorrt"
        return importlib.machinery.ModuleSpec(name, None) if is_it else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(RuntimeError, match=r"^a real TensorRT is installed: the stand-in would"):
        standin.install(Path("copy"))
    assert "tensorrt" not in sys.modules


# -- with a real TensorRT ------------------------------------------------------------------------

LACKS = TensorRT.missing(CUDA)
needs_tensorrt = pytest.mark.skipif(bool(LACKS), reason=f"needs {'; '.join(LACKS)}")

LOAD = """
import sys, torch
from pathlib import Path
from archspec.compile.backends.tensorrt import TensorRT
from archspec.compile.settings import Settings
folder = Path(sys.argv[1])
runner = TensorRT.load(folder / "artefact", Settings((3, 64, 96), device="cuda"), {})
images = torch.load(folder / "images.pt", weights_only=True)
with torch.inference_mode():
    torch.save([runner(each.cuda()).cpu() for each in images], folder / "logits.pt")
"""
BOUNDS: dict[Precision, float] = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 1e-2, "bf16": 5e-2}


@pytest.mark.gpu
@needs_tensorrt
@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("batch", ["3", "1:2:4"])
def test_a_real_engine(precision: Precision, batch: str, tmp_path: Path) -> None:
    """Build, save, load in a fresh process that knows no spec, compare with float64."""
    network = built(
        "smlpnet_t", dim=32, depths=[1, 1, 1, 1], input__height=64, input__width=96, classes=10
    )
    module = enlivened(network).eval()
    settings = Settings(network.image, Batch.parse(batch), precision, "cuda")
    flat = inline(network.graph, module)
    coverage = TensorRT.dry_run(flat, settings)
    assert coverage.is_complete, coverage
    folder = tmp_path / "artefact"
    folder.mkdir()
    images = [network.images(size, torch.float32) for size in settings.batch.sizes]
    TensorRT.compile(Job(flat, settings, folder, images[0], lambda text: None))

    torch.save(images, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], check=True, cwd=tmp_path)
    for images_BCHW, found_BK in zip(images, torch.load(tmp_path / "logits.pt"), strict=True):
        with torch.no_grad():
            expected_BK = module(images_BCHW.double())
        error = (found_BK.double() - expected_BK).norm() / expected_BK.norm()
        assert error <= BOUNDS[precision]


@pytest.mark.gpu
@needs_tensorrt
def test_a_file_that_is_no_engine(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(b"no engine")
    with pytest.raises(CompileError, match=r"model\.pt2 cannot be loaded: "):
        TensorRT.load(tmp_path, CUDA, {})
