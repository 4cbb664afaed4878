"""Artefacts of a network whose classes can be seen: which colour a picture has most of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import archspec
from archspec.compile import manifest
from archspec.compile.artefact import version
from archspec.compile.backends import Backend
from archspec.compile.backends.base import Job
from archspec.compile.backends.eager import Eager
from archspec.compile.device import describe
from archspec.compile.manifest import Manifest, Parity, ParityCase, Preprocessing
from archspec.compile.network import inline
from archspec.compile.settings import Batch, Settings
from archspec.errors import ArchspecError
from archspec.expansion import expand
from archspec.spec import Spec, loads

COLOURS = ("red", "green", "blue")
HALF = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def spec(channels: int = 3) -> Spec:
    """The mean of every channel, as logits."""
    return loads(
        f"name: colours\ninput: {{channels: {channels}, height: 8, width: 6}}\n"
        f"classes: {channels}\n"
        "stages: {only: {body: [{linear: {id: same}}]}}\n"
        "head: [global_pool, {linear: {id: classifier, out: classes}}]\n"
    )


def network(channels: int = 3) -> torch.nn.Module:
    module = archspec.build(spec(channels))
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.zero_()
            if name.endswith("weight"):
                tensor.view(channels, channels).copy_(torch.eye(channels))
    return module.eval()


@functools.cache
def _compiled(backend: type[Backend], batch: Batch, channels: int) -> Mapping[str, bytes]:
    import tempfile

    settings = Settings((channels, 8, 6), batch)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images_BCHW = torch.zeros(2, channels, 8, 6)
        flat = inline(expand(spec(channels)), network(channels))
        backend.compile(Job(flat, settings, folder, images_BCHW, print))
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def make(
    folder: Path,
    *,
    backend: type[Backend] = Eager,
    batch: Batch = Batch(1, 2, 4),  # noqa: B008 - frozen
    channels: int = 3,
    files: Mapping[str, bytes] | None = None,
    fit: bool = True,
    **facts: Any,
) -> Path:
    """An artefact as `archspec compile` makes them.

    Args:
        files: what replaces or joins the compiled files; the manifest knows them.
        facts: what the manifest is to say instead.
    """
    folder.mkdir()
    for name, content in {**_compiled(backend, batch, channels), **(files or {})}.items():
        (folder / name).write_bytes(content)
    case = ParityCase(
        inputs="random", batch=1, relative_error=0.0, bound=1.0, worst_logit=0.0, cosine=1.0,
        top1=1.0, passed=fit,
    )  # fmt: skip
    known: dict[str, Any] = {
        "name": "colours", "origin": "a test", "backend": backend.name, "precision": "fp32",
        "batch": (batch.min, batch.opt, batch.max), "image": (channels, 8, 6),
        "device": describe("cpu"), "classes": COLOURS[:channels], "class_count": channels,
        "preprocessing": Preprocessing(mean=HALF.mean[:channels], std=HALF.std[:channels])
        if channels <= 3 else HALF,
        "spec_sha256": "0", "weights_sha256": "0", "has_trained_weights": True, "rewrites": {},
        "versions": {name: version(name) or "" for name in backend.packages},
        "created": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "files": manifest.seal(folder),
        "parity": Parity(rule="a rule", cases=(case,)), "speed": None,
    }  # fmt: skip
    manifest.write(Manifest(**(known | facts)), folder)
    return folder


def refusal(call: Callable[[], object], code: int = 2) -> str:
    """What a call refuses with."""
    with pytest.raises(ArchspecError) as found:
        call()
    assert found.value.exit_code == code
    return str(found.value)


def images(count: int = 2) -> Tensor:
    """Normalised images that the network takes."""
    return torch.randn(count, 3, 8, 6, generator=torch.Generator().manual_seed(0))
