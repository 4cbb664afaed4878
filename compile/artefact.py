"""A compiled network, ready to run: what `archspec.compile.load` gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from archspec.compile import backends, manifest
from archspec.compile.backends.base import Runner
from archspec.compile.device import describe, resolve
from archspec.compile.errors import CompileError, UnavailableError, UnfitError, first_line
from archspec.compile.manifest import Manifest
from archspec.compile.settings import Settings
from archspec.errors import ArchspecError, brief


class Artefact:
    """A compiled network in memory, with what is known of it.

    model = archspec.compile.load("runs/compiled/winner-s1-onnx-fp32")
    logits_BK = model(images_BCHW)
    """

    def __init__(self, folder: Path, facts: Manifest, runner: Runner, device: str) -> None:
        self.folder = folder
        self.manifest = facts
        self.device = device
        """Where it runs, and where images must be."""
        self._run = runner

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Logits (batch, classes) in float32 for normalised images in float32.

        Raises:
            CompileError: a batch, size, dtype or device that it was not compiled for.
        """
        self._check(images_BCHW)
        with torch.inference_mode():
            return self._run(images_BCHW)

    def _check(self, images_BCHW: Tensor) -> None:
        if not isinstance(images_BCHW, Tensor):
            raise CompileError(
                f"expected a tensor of images, found {type(images_BCHW).__name__}",
                hint="torch.from_numpy makes one of an array",
            )
        batch, image = self.manifest.settings.batch, self.manifest.image
        shape = tuple(images_BCHW.shape)
        if len(shape) != 4 or shape[1:] != image:
            sizes = "×".join(map(str, image))
            raise CompileError(
                f"expected images of shape (batch, {', '.join(map(str, image))}), found {shape}",
                hint=f"it was compiled for images of {sizes}; --input compiles for others",
            )
        if not batch.min <= shape[0] <= batch.max:
            takes = f"{batch.min}" if batch.is_fixed else f"{batch.min} to {batch.max}"
            raise CompileError(
                f"expected a batch of {takes} images, found {shape[0]}",
                hint="compile it for others with --batch MIN:OPT:MAX",
            )
        if images_BCHW.dtype != torch.float32:
            raise CompileError(f"expected images in float32, found {images_BCHW.dtype}")
        if images_BCHW.device.type != self.device.partition(":")[0]:
            raise CompileError(
                f"expected images on {self.device}, found them on {images_BCHW.device}"
            )


def load(
    path: str | Path,
    *,
    device: str = "auto",
    allow_unfit: bool = False,
    note: Callable[[str], None] | None = None,
) -> Artefact:
    """Load an artefact that `archspec compile` made; its spec and source are not needed.

    Every file is held against the manifest's hashes first. That shows what was changed by accident;
    it does not make code from strangers safe: artefacts of backends whose `runs_code` is true hold
    machine code, which runs.

    Args:
        path: the artefact's folder, or its manifest.json.
        device: where to run; must be of the kind that it was compiled for. `auto`: that kind.
        allow_unfit: also one whose logits were not close enough to the network's.
        note: told what its user should know, before anything of it runs: each a sentence.

    Raises:
        CompileError: no artefact, a changed or missing file, made for another device or version.
        UnavailableError: its backend is not installed here.
        UnfitError: it failed its comparison with the network.
    """
    folder = Path(path)
    if folder.name == manifest.MANIFEST:
        folder = folder.parent
    facts = manifest.read(folder)
    backend = _backend(facts, folder)
    place = _place(facts, folder, device)
    settings = settings_at(facts, place)
    _check_versions(facts, folder, place, backend)
    if missing := backend.missing_to_run(settings):
        raise UnavailableError(
            f"{folder} needs the backend {backend.name!r}, which cannot be used here: it needs "
            + "; ".join(missing),
            hint=backend.install(),
        )
    manifest.verify(facts, folder)
    if not facts.fit and not allow_unfit:
        raise UnfitError(
            f"{folder} is marked unfit: its logits were not close enough to the network's",
            hint="compile it again in a higher precision, or see parity in its manifest.json",
        )
    if note is not None:
        for text in _notes(facts, folder, backend):
            note(text)
    return Artefact(folder, facts, _runner(facts, folder, backend, settings), place)


def _runner(
    facts: Manifest, folder: Path, backend: type[backends.Backend], settings: Settings
) -> Runner:
    try:
        return backend.load(folder, settings, facts.facts)
    except ArchspecError:
        raise
    except Exception as error:  # a runtime raises anything on files that it does not understand
        raise CompileError(
            f"{folder} cannot be loaded by {backend.name}: {first_line(error)}"
        ) from error


def _notes(facts: Manifest, folder: Path, backend: type[backends.Backend]) -> list[str]:
    notes = []
    if backend.runs_code:
        notes.append(f"{folder} holds machine code, which now runs; run only artefacts you trust")
    if not facts.fit:
        notes.append(f"{folder} is unfit: its logits are not close enough to the network's")
    return notes


def settings_at(facts: Manifest, device: str) -> Settings:
    """How it was compiled, with the device where it is to run."""
    return replace(facts.settings, device=device)


def _backend(facts: Manifest, folder: Path) -> type[backends.Backend]:
    known = backends.find_all()
    if facts.backend not in known:
        raise CompileError(
            f"{folder} was compiled by the backend {brief(facts.backend)}, which is not known here",
            hint=f"known: {', '.join(known)}",
        )
    return known[facts.backend]


def _place(facts: Manifest, folder: Path, device: str) -> str:
    """The device to run on, as PyTorch calls it."""
    kind = facts.device.kind
    if device == "auto" and kind == "cuda" and not torch.cuda.is_available():
        raise CompileError(
            f"{folder} was compiled for {kind} ({facts.device.name}), and there is none here",
            hint="compile it again here",
        )
    place = resolve(kind if device == "auto" else device)
    if place.partition(":")[0] != kind:
        raise CompileError(
            f"{folder} was compiled for {kind}, and {device} was asked for",
            hint="compile it again with --device",
        )
    return place


def _check_versions(
    facts: Manifest, folder: Path, device: str, backend: type[backends.Backend]
) -> None:
    if not backend.is_bound:
        return
    here = describe(device)
    if here.capability != facts.device.capability:
        raise CompileError(
            f"{folder} was compiled for {facts.device.name} ({facts.device.capability}), and this "
            f"is {here.name} ({here.capability})",
            hint="compile it again here",
        )
    for package in backend.packages:
        now, then = version(package) or "none", facts.versions.get(package) or "none"
        if now != then:
            raise CompileError(
                f"{folder} was compiled with {package} {then}, and here is {now}",
                hint="compile it again here",
            )


def version(package: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
