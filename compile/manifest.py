"""What is known of an artefact: `manifest.json` beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archspec.compile.errors import CompileError
from archspec.compile.settings import Batch, Precision, Settings
from archspec.files import sha256, write_text

MANIFEST = "manifest.json"
FORMAT: Literal[1] = 1
"""Of the manifest; a file of another is refused."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Part):
    """A file of the artefact."""

    sha256: str
    size: int
    """In bytes."""


class Device(_Part):
    """What it was compiled on."""

    kind: str
    """`cpu` or `cuda`."""
    name: str
    """As it calls itself."""
    capability: str
    """The instruction set (`AVX512`) or the compute capability (`9.0`)."""


class Preprocessing(_Part):
    """From a picture to what the network takes: scaled to 0 … 1, then (x − mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class ParityCase(_Part):
    """Logits against the float64 network, on one kind of input at one batch size."""

    inputs: str
    """`random`, or what the images are."""
    batch: int
    relative_error: float | None
    """‖y − y₆₄‖ / ‖y₆₄‖; None: a logit is not finite, or there are not as many."""
    bound: float
    """What that may be at most."""
    worst_logit: float | None
    """The largest difference of a logit."""
    cosine: float
    """The smallest cosine between logits of an image."""
    top1: float
    """The share of images with the same best class."""
    passed: bool


class Parity(_Part):
    rule: str
    """The bound, in a sentence."""
    cases: tuple[ParityCase, ...]
    accuracy: dict[str, float] | None = None
    """On labelled held-out images: of the float64 network and of the artefact; and how many."""

    @property
    def passed(self) -> bool:
        return all(case.passed for case in self.cases)


class Timing(_Part):
    """One runner at one batch size, timed in turns with the others."""

    runner: str
    """`artefact`, `eager fp32`, …"""
    batch: int
    median_ms: float
    p90_ms: float
    images_per_second: float
    ratio: float
    """How often it is as fast as `eager fp32`: the median over the rounds."""
    ratio_low: float
    ratio_high: float
    """A quarter of the rounds lies below the one, a quarter above the other."""
    rounds: int
    peak_memory: int | None
    """Bytes that a call adds to what the process held; None where the system does not say."""


class Manifest(_Part):
    """Everything about an artefact; pydantic checks it when it is read."""

    format: Literal[1] = FORMAT
    name: str
    """Of the spec."""
    origin: str
    """In a phrase: where network and weights come from."""
    backend: str
    precision: Precision
    batch: tuple[int, int, int]
    image: tuple[int, int, int]
    device: Device
    classes: tuple[str, ...] | None
    """Names of the classes, where they are known."""
    class_count: int
    preprocessing: Preprocessing
    spec_sha256: str
    weights_sha256: str
    has_trained_weights: bool
    rewrites: dict[str, int]
    """Rewrite → how often it fired."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The backend's own, as they were given."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What the backend needs to know for loading."""
    notes: tuple[str, ...] = ()
    """What the backend had to say, each a sentence."""
    versions: dict[str, str]
    created: str
    """ISO 8601."""
    seconds: float
    """How long compiling took."""
    files: dict[str, File]
    parity: Parity | None
    speed: tuple[Timing, ...] | None
    digest: str = ""
    """Of all the above."""

    @property
    def fit(self) -> bool:
        return self.parity is not None and self.parity.passed

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    @property
    def settings(self) -> Settings:
        return Settings(
            self.image, Batch(*self.batch), self.precision, self.device.kind, self.options
        )

    def content_digest(self) -> str:
        text = json.dumps(self.model_dump(mode="json", exclude={"digest"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def write(manifest: Manifest, folder: Path) -> Manifest:
    """Write `manifest.json`; the manifest with its digest."""
    sealed = manifest.model_copy(update={"digest": manifest.content_digest()})
    fit = {"fit": sealed.fit}
    text = json.dumps(sealed.model_dump(mode="json") | fit, indent=2) + "\n"
    write_text(folder / MANIFEST, text)
    return sealed


def read(folder: Path) -> Manifest:
    """The manifest of an artefact.

    Raises:
        CompileError: the folder is no artefact, or its manifest is broken or was changed.
    """
    path = folder / MANIFEST
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "there is no such folder" if not folder.exists() else f"there is no {MANIFEST} in it"
        raise CompileError(
            f"{folder} is no artefact: {what}", hint="'archspec compile' makes one"
        ) from None
    except NotADirectoryError:
        raise CompileError(
            f"{folder} is no artefact: it is a file", hint=f"give the folder that has {MANIFEST}"
        ) from None
    except OSError as error:
        raise CompileError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise CompileError(f"{path} is not JSON, or is cut short", hint=_AGAIN) from None
    if isinstance(given, dict) and given.get("format") != FORMAT:
        raise CompileError(
            f"{path} is of format {given.get('format')!r}, and this version reads {FORMAT}",
            hint=_AGAIN,
        )
    try:
        fit = given.pop("fit") if isinstance(given, dict) else None
        manifest = Manifest.model_validate(given)
    except (ValidationError, KeyError):
        raise CompileError(f"{path} is not a manifest", hint=_AGAIN) from None
    if manifest.digest != manifest.content_digest() or fit is not manifest.fit:
        raise CompileError(f"{path} was changed after it was written", hint=_AGAIN)
    return manifest


_AGAIN = "compile it again"


def seal(folder: Path) -> dict[str, File]:
    """Every file of a folder with its hash, by its name."""
    return {
        path.relative_to(folder).as_posix(): File(sha256=sha256(path), size=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def verify(manifest: Manifest, folder: Path) -> None:
    """Refuse an artefact that is not what its manifest says. Other files in the folder may be.

    Raises:
        CompileError: a file is missing or changed, or cannot be read.
    """
    for name, file in manifest.files.items():
        path = folder / name
        try:
            is_same = path.stat().st_size == file.size and sha256(path) == file.sha256
        except FileNotFoundError:
            raise CompileError(f"{path} is missing", hint=_AGAIN) from None
        except OSError as error:
            raise CompileError(f"{path} cannot be read: {error.strerror or error}") from None
        if not is_same:
            raise CompileError(
                f"{path} is not the file that was compiled: its hash differs from {MANIFEST}",
                hint=_AGAIN,
            )
