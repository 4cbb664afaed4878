"""What an artefact sees in pictures: they are decoded, normalised as it was trained, classified.

Shapes: N images, B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archspec.compile.artefact import Artefact
from archspec.compile.errors import CompileError
from archspec.compile.pictures import normalised
from archspec.compile.settings import Batch
from archspec.search.data.decode import Tally, decode_all
from archspec.search.data.folder import SUFFIXES
from archspec.search.data.source import Encoded

LARGEST_BATCH = 256
"""Images that are classified at once, at most, unless an artefact is made for more: memory."""
LISTED = 5
"""Broken images that a message lists before it counts the rest."""


@dataclass(frozen=True)
class Found:
    """The images that paths name."""

    files: tuple[Path, ...]
    skipped: int
    """Other files in the folders."""


@dataclass(frozen=True)
class Read:
    """Images that were decoded one after the other."""

    files: tuple[Path, ...]
    images_NCHW: Tensor
    """Of `files`: normalised, float32, on the CPU."""
    broken: tuple[tuple[Path, str], ...]
    """Files among them that are no images, and why."""


@dataclass(frozen=True)
class Guess:
    """A class, and how probable the network takes it to be."""

    index: int
    name: str | None
    """Where the artefact knows the names of its classes."""
    probability: float

    def __str__(self) -> str:
        return self.name if self.name is not None else f"class {self.index}"


@dataclass(frozen=True)
class Classified:
    """What an artefact sees in one file."""

    file: Path
    best: tuple[Guess, ...]
    """The most probable classes, best first; none if it was not classified."""
    fault: str | None = None
    """Why it was not."""


def classify(artefact: Artefact, paths: Iterable[str | Path], *, top: int = 5) -> list[Classified]:
    """The most probable classes of every image that `paths` name: files, or folders of images.

    Files that are no images have a `fault` in place of classes.

    Raises:
        CompileError: the artefact takes no pictures, or none of the files can be classified.
    """
    found = find_images(paths)
    check_found(found)
    results = {result.file: result for result in classify_each(artefact, found.files, top=top)}
    check_some(list(results.values()))
    return [results[file] for file in found.files]


def find_images(paths: Iterable[str | Path]) -> Found:
    """The files that are meant: those named, and all images in and below the folders named.

    In folders, files are images by their suffix, and what is hidden is left out.
    """
    files: dict[Path, None] = {}
    skipped = 0
    for path in map(Path, paths):
        if not os.path.isdir(path):  # noqa: PTH112 - Path's raises for a name too long
            files[path] = None
            continue
        for file in _files_below(path):
            if file.suffix.lower() in SUFFIXES:
                files[file] = None
            else:
                skipped += 1
    return Found(tuple(files), skipped)


def _files_below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise CompileError(f"cannot read {error.filename}: {error.strerror}") from None

    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(here, name)


def check_takes_pictures(artefact: Artefact) -> None:
    """Refuse an artefact whose input is no grey or coloured picture.

    Raises:
        CompileError: it is not.
    """
    channels = artefact.manifest.image[0]
    if channels not in (1, 3):
        raise CompileError(
            f"{artefact.folder} takes images of {channels} channels, and pictures have 1 or 3",
            hint="from Python, archspec.compile.load(FOLDER)(images) takes tensors",
        )


def check_found(found: Found) -> None:
    """Refuse paths that name no images.

    Raises:
        CompileError: there are none.
    """
    if not found.files:
        others = f", only {count_of(found.skipped, 'other file')}" if found.skipped else ""
        raise CompileError(
            f"there are no images there{others}",
            hint=f"in folders, images end in {', '.join(sorted(SUFFIXES))}",
        )


def check_some(results: Sequence[Classified]) -> None:
    """Refuse a run in which nothing was classified.

    Raises:
        CompileError: with the reasons.
    """
    faults = [f"{result.file}: {result.fault}" for result in results if result.fault is not None]
    if len(faults) < len(results):
        return
    if len(faults) == 1:
        raise CompileError(f"cannot classify {faults[0]}")
    more = [f"and {len(faults) - LISTED} more"] if len(faults) > LISTED else []
    listed = "\n  ".join(faults[:LISTED] + more)
    raise CompileError(f"cannot classify any of the {len(faults)} images", hint=listed)


def count_of(count: int, what: str) -> str:
    """`1 other file`, `2 other files`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def read_images(artefact: Artefact, files: Sequence[Path]) -> Iterator[Read]:
    """Image files as an artefact takes them, some at a time, in their order.

    Turned as EXIF says, brought to RGB or grey, scaled until they cover the input's size, their
    centre cut out, normalised.

    Raises:
        CompileError: the artefact takes no pictures.
    """
    check_takes_pictures(artefact)
    channels, height, width = artefact.manifest.image
    tally = Tally()
    encoded = (Encoded(str(file), file) for file in files)
    told = seen = 0
    for pixels_NCHW in _silent(decode_all(encoded, (height, width), channels, tally)):
        past = seen + len(pixels_NCHW) + len(tally.skipped) - told
        broken = {place: reason for place, _, reason in tally.skipped[told:]}
        good = tuple(files[place] for place in range(seen, past) if place not in broken)
        images_NCHW = normalised(pixels_NCHW, artefact.manifest.preprocessing)
        yield Read(good, images_NCHW, tuple((files[at], broken[at]) for at in broken))
        seen, told = past, len(tally.skipped)
    if rest := tally.skipped[told:]:  # a block without any image is not handed on
        none_NCHW = torch.empty(0, channels, height, width)
        yield Read((), none_NCHW, tuple((files[place], reason) for place, _, reason in rest))


def _silent(blocks: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Without Pillow's warnings, such as that an image is large."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            block = next(blocks, None)
        if block is None:
            return
        yield block


def classify_each(
    artefact: Artefact, files: Sequence[Path], *, top: int = 5
) -> Iterator[Classified]:
    """As `classify`, one after the other; files that are no images may come a little earlier.

    Raises:
        CompileError: the artefact takes no pictures.
    """
    batch = artefact.manifest.settings.batch
    size = most_at_once(batch)
    waiting: list[Path] = []
    images_NCHW: Tensor | None = None
    for read in read_images(artefact, files):
        for file, reason in read.broken:
            yield Classified(file, (), reason)
        waiting += read.files
        images_NCHW = (
            read.images_NCHW if images_NCHW is None else torch.cat([images_NCHW, read.images_NCHW])
        )
        while len(waiting) >= size:
            yield from _classify(artefact, waiting[:size], images_NCHW[:size], top)
            waiting, images_NCHW = waiting[size:], images_NCHW[size:]
    if images_NCHW is not None and waiting:
        yield from _classify(artefact, waiting, images_NCHW, top)


def most_at_once(batch: Batch) -> int:
    """How many images are given to an artefact at once."""
    return min(batch.max, max(batch.opt, LARGEST_BATCH))


def logits(artefact: Artefact, images_BCHW: Tensor) -> Tensor:
    """Logits (B, K) on the CPU of at most as many images as it takes; too few are padded."""
    count = len(images_BCHW)
    least = artefact.manifest.settings.batch.min
    if count < least:  # the last image once more: its statistics are those of an image
        images_BCHW = images_BCHW[torch.arange(least).clamp(max=count - 1)]
    return artefact(images_BCHW.to(artefact.device))[:count].cpu()


def _classify(
    artefact: Artefact, files: Sequence[Path], images_BCHW: Tensor, top: int
) -> Iterator[Classified]:
    logits_BK = logits(artefact, images_BCHW).double()
    names = artefact.manifest.classes
    if names is not None and len(names) != logits_BK.shape[1]:
        names = None
    for file, logits_K in zip(files, logits_BK, strict=True):
        if not bool(logits_K.isfinite().all()):
            yield Classified(file, (), "the artefact's logits are not finite")
            continue
        best = logits_K.softmax(0).topk(min(top, len(logits_K)))
        yield Classified(
            file,
            tuple(
                Guess(index, names[index] if names is not None else None, probability)
                for probability, index in zip(
                    best.values.tolist(), best.indices.tolist(), strict=True
                )
            ),
        )
