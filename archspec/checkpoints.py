"""The public checkpoints of a spec: where they are, and the files of those that were brought here.

A mapping under `weights` may say where one network's checkpoint is. Here is the one place that
turns what a user calls a checkpoint, a file or a mapping's name, into a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from archspec.document import KeyMapping
from archspec.download import Downloaded, Progress, download
from archspec.errors import WeightsError, brief, did_you_mean
from archspec.files import cache_folder, sha256, write_text
from archspec.spec import Spec

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar")
"""What a checkpoint's name may end in; of another, `.pth` is put in its place."""


@dataclass(frozen=True)
class Checkpoint:
    """What a spec says of one public checkpoint, and whether its file is here."""

    name: str
    mapping: KeyMapping
    top1: float | None
    """ImageNet-1k top-1 accuracy in percent: this file's, or else the one that the paper prints."""
    file: Path | None
    """Where its file is kept, or is going to be; None where the spec has no address."""

    @property
    def known(self) -> Downloaded | None:
        """What came, if its file is here."""
        if self.file is None or not self.file.is_file():
            return None
        try:
            facts = json.loads(_facts(self.file).read_text(encoding="utf-8"))
            found = Downloaded(**facts)
            whole = found.size == self.file.stat().st_size
        except (OSError, ValueError, TypeError):
            return None
        return found if whole else None


@dataclass(frozen=True)
class Kept:
    """A checkpoint that is here."""

    name: str
    """The mapping's."""
    url: str
    file: Path
    download: Downloaded
    is_new: bool
    """Whether it was brought here by this call."""


def checkpoints(spec: Spec) -> tuple[Checkpoint, ...]:
    """The public checkpoints whose names a spec knows, in its order."""
    published = spec.header.published.top1
    return tuple(
        Checkpoint(
            name, mapping,
            # the paper's accuracy is that of the network at this place alone
            mapping.top1 or (published if mapping.url else None),
            _file(spec, name, mapping.url),
        )
        for name, mapping in spec.header.weights.items()
    )  # fmt: skip


def checkpoint(spec: Spec, name: str) -> Checkpoint:
    """The one of that name.

    Raises:
        WeightsError: there is none.
    """
    for each in checkpoints(spec):
        if each.name == name:
            return each
    raise WeightsError(f"{spec.name} has no weights called {brief(name)}", hint=_known(spec, name))


def fetch(spec: Spec, name: str | None = None, progress: Progress | None = None) -> Kept:
    """The file of a public checkpoint, from where it is kept or from the web.

    Args:
        name: the mapping's; None where there is one with an address.

    Raises:
        WeightsError: the spec has no such mapping, or no address for it.
        DownloadError: it cannot be had.
    """
    chosen = _choose(spec, name)
    url, file, digest = chosen.mapping.url, chosen.file, chosen.mapping.sha256
    assert url is not None
    assert file is not None
    if (known := chosen.known) is not None and _is_whole(file, known, digest):
        return Kept(chosen.name, url, file, known, is_new=False)
    done = download(url, file, digest=digest, progress=progress)
    write_text(_facts(file), json.dumps(asdict(done)))
    return Kept(chosen.name, url, file, done, is_new=True)


def resolve(spec: Spec, given: str | Path, progress: Progress | None = None) -> Path:
    """The file that a user means by a path or by the name of one of the spec's mappings.

    A file goes before a mapping of its name; a Path is always one.

    Raises:
        WeightsError, DownloadError: as `fetch`; or it is neither.
    """
    path = Path(given)
    if isinstance(given, Path) or os.path.isfile(path):  # noqa: PTH113 - names too long
        return path
    if given in spec.header.weights:
        return fetch(spec, given, progress).file
    if path.name == given and not path.suffix and not os.path.isdir(path):  # noqa: PTH112
        raise WeightsError(
            f"there is no file {brief(given)}, and {spec.name} has no weights of that name",
            hint=_known(spec, given),
        )
    return path  # whoever reads it says what is wrong


def _choose(spec: Spec, name: str | None) -> Checkpoint:
    """One that has an address."""
    if name is None:
        for each in checkpoints(spec):
            if each.mapping.url is not None:
                return each
        raise WeightsError(
            f"{spec.name} says of no checkpoint where it can be downloaded",
            hint=f"'archspec weights {spec.name}' says whose names it knows"
            if spec.header.weights
            else None,
        )
    chosen = checkpoint(spec, name)
    if chosen.mapping.url is None:
        source = chosen.mapping.source
        raise WeightsError(
            f"{spec.name} does not say where its weights {name!r} can be downloaded",
            hint=f"their names are those of {source}" if source else None,
        )
    return chosen


def _known(spec: Spec, name: str) -> str:
    if not spec.header.weights:
        return "it says of no public weights; --weights takes a .safetensors, .pth or .pt file"
    return did_you_mean(name, spec.header.weights)


def _file(spec: Spec, name: str, url: str | None) -> Path | None:
    """`…/weights/swin_t-timm-1a2b3c4d.safetensors`: another address is another file."""
    if url is None:
        return None
    ending = PurePosixPath(unquote(urlsplit(url).path)).suffix
    suffix = ending if ending in SUFFIXES else ".pth"
    key = hashlib.sha256(url.encode()).hexdigest()[:8]
    return cache_folder() / "weights" / f"{spec.name}-{name}-{key}{suffix}"


def _facts(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _is_whole(file: Path, known: Downloaded, digest: str | None) -> bool:
    """Whether the file is still the one that came, and the one that the spec asks for now."""
    with contextlib.suppress(OSError):
        found = sha256(file)
        return found == known.sha256 and found.startswith(digest or "")
    return False
