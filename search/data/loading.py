"""From what the user gave to images that can be trained on."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from archspec.errors import brief
from archspec.search.data import cache as caching
from archspec.search.data.decode import Progress, Tally
from archspec.search.data.errors import DataError
from archspec.search.data.images import Data, Split
from archspec.search.data.source import (
    Contents,
    Part,
    SplitName,
    exists,
    path_of,
    recognised,
    sources,
)
from archspec.search.data.split import Rows, choose


def load(
    source: str | Path | None = None,
    *,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    held_out: float = 0.2,
    seed: int = 0,
    limit: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Data:
    """A data set as uint8 images of one size in memory, or mapped where they would fill it.

    The same input gives the same arrays in the same order. Decoded images are remembered in the
    cache folder, so that the next call takes seconds.

    Args:
        source: `digits` (the default); an image folder (torchvision's layout, with or without
            train/, val/, test/); a Parquet file or a folder of them (Hugging Face's layout); a
            folder made by `save_to_disk`; or the name of a Hugging Face data set (`hf:NAME`,
            `hf:NAME:CONFIG`), for which the package `datasets` must be there.
        size: height and width in pixels, or one number for both.
        channels: 3 (RGB) or 1 (grey).
        held_out: the share of images that candidates are scored on, where the data set has no
            validation split of its own; above 0, below 1.
        seed: of the choice of held-out and, under a limit, of training images; 0 or more.
        limit: train on so many images at most; each class keeps its share.
        cache: a folder for decoded images; the user's cache folder if None.
        progress: called with the number of images decoded so far and that of all to decode;
            not called for what the cache has.

    Raises:
        DataError: there is no such data set, it cannot be read, or it cannot be trained on.
    """
    given = "digits" if source is None else str(source)
    folder = caching.default_folder() if cache is None else Path(cache)
    height, width = _checked(size, channels, held_out, seed, limit)
    contents = _open(given)
    chosen, decoded, skipped = _decode(
        contents, (height, width), channels,
        share=None if "validation" in contents.parts else held_out, limit=limit, seed=seed,
        folder=folder, progress=progress, given=given,
    )  # fmt: skip
    splits = {}
    for name, (part, rows) in chosen.items():
        pixels_NCHW, tally = decoded[name]
        lost = [place for place, _, _ in tally.skipped]
        splits[name] = Split(pixels_NCHW, part.labels_N[np.delete(rows, lost)])
    train = decoded["train"][1]
    mean, std = _statistics(train, train.kept * height * width)
    return Data(
        name=given, classes=contents.classes, train=splits["train"],
        held_out=splits["validation"], test=splits.get("test"), mean=mean, std=std,
        flip=contents.flip, skipped=skipped,
        digest=_digest([(splits[name], decoded[name][1]) for name in ("train", "validation")]),
    )  # fmt: skip


def _checked(
    size: int | tuple[int, int], channels: int, held_out: float, seed: int, limit: int | None
) -> tuple[int, int]:
    """Height and width, once all options are known to be in range."""
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    if len(sizes) != 2 or not all(isinstance(edge, int) and edge > 0 for edge in sizes):
        raise DataError(
            "the image size is one positive whole number, or a height and a width, "
            f"found {brief(size)}"
        )
    if channels not in (1, 3):
        raise DataError(f"images have 3 channels (RGB) or 1 (grey), found {brief(channels)}")
    if not 0 < held_out < 1:
        raise DataError(
            f"the held-out share must be above 0 and below 1, found {brief(held_out)}",
            hint="0.2 holds out a fifth of the images",
        )
    if seed < 0:
        raise DataError(f"the seed must be 0 or more, found {brief(seed)}")
    if limit is not None and limit < 1:
        raise DataError(f"the limit on training images must be 1 or more, found {brief(limit)}")
    return sizes[0], sizes[1]


def _open(given: str) -> Contents:
    for source in sources():
        if source.recognises(given):
            return source.open(given)
    if exists(path_of(given)):
        raise DataError(f"{brief(given)} is no data set", hint=recognised())
    raise DataError(f"there is no file or folder {brief(given)}", hint=recognised())


Chosen = dict[SplitName, tuple[Part, Rows]]
Decoded = dict[SplitName, tuple[caching.Pixels, Tally]]


def _decode(
    contents: Contents,
    size: tuple[int, int],
    channels: int,
    *,
    share: float | None,
    limit: int | None,
    seed: int,
    folder: Path,
    progress: Progress | None,
    given: str,
) -> tuple[Chosen, Decoded, dict[str, str]]:
    """What is used of each split, its pixels, and what could not be read.

    Should all images of a class that were meant for one split be unreadable, others are chosen.
    """
    train = contents.parts["train"]
    unreadable: frozenset[int] = frozenset()
    skipped: dict[str, str] = {}
    while True:
        train_rows, held_rows = choose(
            train.labels_N, contents.classes,
            share=share, limit=limit, seed=seed, unreadable=unreadable,
        )  # fmt: skip
        chosen: Chosen = {"train": (train, train_rows)}
        if share is not None:
            chosen["validation"] = (train, held_rows)
        for name, part in contents.parts.items():
            if name not in chosen:
                chosen[name] = (part, np.arange(len(part.labels_N)))
        decoded = _decode_chosen(chosen, size, channels, folder, progress)
        for name, (_, tally) in decoded.items():
            if not tally.kept:
                _, image, why = tally.skipped[0]
                raise DataError(
                    f"none of the {len(tally.skipped):,} {_SPLIT[name]} images of {brief(given)} "
                    f"can be read; {image}: {why}"
                )
        lost = _lost(train, chosen, decoded)
        for _, tally in decoded.values():
            skipped |= {image: why for _, image, why in tally.skipped}
        if not lost:
            return chosen, decoded, skipped
        unreadable |= lost


_SPLIT = {"train": "training", "validation": "held-out", "test": "test"}


def _lost(train: Part, chosen: Chosen, decoded: Decoded) -> frozenset[int]:
    """Places of unreadable images in `train` whose class has none left in one of the splits."""
    lost: set[int] = set()
    for name, (part, rows) in chosen.items():
        if part is not train:
            continue
        bad = rows[[place for place, _, _ in decoded[name][1].skipped]]
        kept = set(train.labels_N[np.setdiff1d(rows, bad)].tolist())
        lost.update(int(row) for row in bad if int(train.labels_N[row]) not in kept)
    return frozenset(lost)


def _decode_chosen(
    chosen: Chosen,
    size: tuple[int, int],
    channels: int,
    folder: Path,
    progress: Progress | None,
) -> Decoded:
    total = sum(len(rows) for _, rows in chosen.values())
    mapped = total * channels * size[0] * size[1] > _memory() / 4
    decoded: Decoded = {}
    before = 0
    with warnings.catch_warnings():
        # about broken EXIF, large images and the like: an image is either read or counted
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for name, (part, rows) in chosen.items():
            decoded[name] = caching.pixels(
                part, rows, size, channels,
                folder=folder, mapped=mapped, progress=_from(before, total, progress),
            )  # fmt: skip
            before += len(rows)
    return decoded


def _memory() -> int:
    """Of this machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _from(before: int, total: int, progress: Progress | None) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(before + done, total)


def _statistics(tally: Tally, pixels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of pixels scaled to 0 … 1.

    A channel that is the same everywhere gets 1 for a deviation, so that it can be divided by.
    """
    mean, std = [], []
    for total, squares in zip(tally.sum_C, tally.squares_C, strict=True):
        mean.append(total / pixels / 255)
        variance = (squares * pixels - total * total) / pixels**2  # whole numbers: no cancellation
        std.append(variance**0.5 / 255 or 1.0)
    return tuple(mean), tuple(std)


def _digest(splits: list[tuple[Split, Tally]]) -> str:
    digest = hashlib.sha256()
    for split, tally in splits:
        digest.update(f"{split.images_NCHW.shape} {tally.sha256}\n".encode())
        digest.update(split.labels_N.astype("<i8").tobytes())
    return digest.hexdigest()
