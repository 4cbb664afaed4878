"""What every backend promises, asked of each that is found: a new file is tested by being there."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import archspec
import archspec.compile
from archspec.compile import backends, exported, parity
from archspec.compile.backends import Backend
from archspec.compile.errors import CompileError
from archspec.compile.settings import Batch, Settings
from tests.compile import small

KINDS = backends.find_all()


def usable(kind: type[Backend]) -> None:
    settings = Settings((3, 32, 32))
    if "cpu" not in kind.precisions:
        pytest.skip(f"{kind.name} needs a device of kind {', '.join(kind.precisions)}")
    if missing := kind.missing(settings):
        pytest.skip(f"{kind.name} needs {'; '.join(missing)}")


SLOW = {"inductor": [("fp32", "2")], "aoti": [("fp32", "1:2:5"), ("bf16", "2")]}
"""Compilers that take long: what they are tried with, on a network of one layer."""

CASES = [
    (name, precision, batch)
    for name, kind in KINDS.items()
    for precision, batch in SLOW.get(name)
    or [
        *((precision, "2") for precision in kind.precisions.get("cpu", ())),
        *(((kind.precisions["cpu"][0], "1:2:5"),) if "cpu" in kind.precisions else ()),
    ]
]


def spec_for(name: str) -> archspec.Spec:
    return small.tiny() if name in SLOW else small.spec()


@pytest.mark.parametrize(("name", "precision", "batch"), CASES, ids=lambda value: str(value))
def test_it_computes_the_network(name: str, precision: str, batch: str, tmp_path: Path) -> None:
    usable(KINDS[name])
    spec = spec_for(name)
    checkpoint = small.checkpoint(tmp_path, spec)
    artefact = archspec.compile.compile(
        spec, backend=name, weights=checkpoint, precision=precision, batch=batch,
        output=tmp_path / "artefact", device="cpu", use_cache=False,
    )  # fmt: skip
    facts = artefact.manifest
    assert facts.fit
    assert set(facts.files) == set(KINDS[name].files)
    assert facts.class_count == 7
    assert facts.has_trained_weights
    assert all(facts.versions.values())
    exact = archspec.build(spec, weights=checkpoint, dtype=torch.float64).eval()
    for size in Batch.parse(batch).sizes:
        images_BCHW = torch.randn(size, *facts.image)
        with torch.inference_mode():
            error = parity.relative_error(artefact(images_BCHW), exact(images_BCHW.double()))
        assert error <= 1.5 * facts.parity.cases[0].bound  # other images than were looked at


@pytest.mark.parametrize("name", [name for name in KINDS if name not in SLOW])
def test_it_loads_without_the_spec_or_its_source(name: str, tmp_path: Path) -> None:
    usable(KINDS[name])
    folder = tmp_path / "artefact"
    artefact = archspec.compile.compile(
        small.spec(),
        backend=name,
        output=folder,
        device="cpu",
        use_cache=False,
        weights=small.checkpoint(tmp_path, small.spec()),
    )
    images_BCHW = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    code = (
        "import json, sys, torch, archspec.compile\n"
        "run = archspec.compile.load(sys.argv[1])\n"
        "print(json.dumps(run(torch.linspace(-1, 1, 3072).view(1, 3, 32, 32)).tolist()))\n"
        "loaded = {'archspec.spec', 'archspec.lower', 'archspec.layers'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = torch.tensor(json.loads(done.stdout))
    torch.testing.assert_close(found, artefact(images_BCHW), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_it_describes_itself(name: str) -> None:
    kind = KINDS[name]
    assert kind.name == name
    assert kind.about
    assert kind.precisions
    assert kind.files
    assert "torch" in kind.packages


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        backends.find("tensort")
    assert str(caught.value) == "there is no backend 'tensort'\n  did you mean 'tensorrt'?"


def test_two_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KINDS["onnx"], "name", "eager")
    with pytest.raises(RuntimeError, match="two backends are called 'eager'"):
        backends.find_all()


@pytest.mark.parametrize("is_quiet", [True, False])
def test_tables_of_tried_kernels_stay_out_of_the_terminal(
    is_quiet: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    tried = torch._inductor.config.patch(
        max_autotune=True, freezing=True, force_disable_caches=True
    )
    with exported.quiet() if is_quiet else contextlib.nullcontext(), tried, torch.no_grad():
        torch.compile(torch.nn.Linear(32, 16 if is_quiet else 24))(torch.rand(8, 32))
    assert ("AUTOTUNE" in capfd.readouterr().err) is not is_quiet
