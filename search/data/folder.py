"""Images in a folder per class, as torchvision's ImageFolder has them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archspec.errors import brief
from archspec.search.data.errors import DataError
from archspec.search.data.source import (
    SPLITS,
    Contents,
    Encoded,
    Part,
    Source,
    SplitName,
    is_folder,
    path_of,
    recognised,
)

SUFFIXES = frozenset(
    ".avif .bmp .gif .jfif .jp2 .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()
)


class ImageFolder(Source):
    """`root/CLASS/*.png`, or the same inside `train/`, `val/` and `test/`; deeper folders count."""

    form = "a folder with one sub-folder of images per class (or train/, val/ and test/ with these)"
    rank = 3

    @staticmethod
    def recognises(given: str) -> bool:
        return is_folder(path_of(given))

    @staticmethod
    def open(given: str) -> Contents:
        root = path_of(given)
        folders = _splits(root) or {"train": root}
        classes = _classes(folders["train"])
        parts: dict[SplitName, Part] = {}
        for split, folder in folders.items():
            if split == "test" and not _folders(folder):
                continue  # images without classes, as competitions hand them out
            if split != "train":
                _check_classes(folder, classes, folders["train"])
            part = _part(root, folder, classes)
            if len(part.labels_N):
                parts[split] = part
        return Contents(classes, parts, flip=True)


def _splits(root: Path) -> dict[SplitName, Path] | None:
    """The folders of the splits; None where `root` has classes and no splits.

    A class may be called train: then that folder has images of its own.
    """
    found: dict[SplitName, Path] = {}
    for name in _folders(root):
        split = SPLITS.get(name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(
                f"{brief(str(root))} has both {found[split].name}/ and {name}/",
                hint="one split needs one folder",
            )
        found[split] = root / name
    train = found.get("train")
    if train is None or not _folders(train) or _has_images(train):
        return None
    return found


def _classes(folder: Path) -> tuple[str, ...]:
    if next(_images(folder), None) is None:
        raise DataError(f"{brief(str(folder))} holds no images", hint=recognised())
    names = _folders(folder)
    _check_has_classes(folder, names)
    for name in names:
        if next(_images(folder / name), None) is None:
            raise DataError(
                f"the class folder {brief(str(folder / name))} holds no images",
                hint="remove it, or put images into it",
            )
    return tuple(names)


def _check_has_classes(folder: Path, names: Sequence[str]) -> None:
    if not names and _has_images(folder):
        raise DataError(
            f"{brief(str(folder))} has images, but no class folders",
            hint="put the images of each class into a folder of its own, named after the class",
        )


def _check_classes(folder: Path, classes: Sequence[str], train: Path) -> None:
    names = _folders(folder)
    _check_has_classes(folder, names)
    strange = sorted(set(names) - set(classes))
    if strange:
        raise DataError(
            f"{brief(str(folder))} has a class {brief(strange[0])} "
            f"that {brief(str(train))} does not have",
            hint="each split needs the class folders of the training images",
        )


def _part(root: Path, folder: Path, classes: Sequence[str]) -> Part:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = list(_images(folder / name)) if is_folder(folder / name) else []
        files.extend(found)
        labels.extend([label] * len(found))

    def read(rows: NDArray[np.intp]) -> Iterator[Encoded]:
        for row in rows:
            yield Encoded(files[row].relative_to(root).as_posix(), files[row])

    return Part(np.array(labels, np.int64), read, _identity(root, files))


def _identity(root: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for file in files:
        try:
            status = file.stat()
            told = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            told = "unreadable"
        digest.update(os.fsencode(f"\n{file.relative_to(root)}\0{told}"))
    return digest.hexdigest()


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """The names of its sub-folders and of its images, sorted; hidden ones are left out."""
    folders, images = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122 - speed
                    images.append(entry.name)
    except OSError as error:
        raise DataError(f"cannot read {brief(str(folder))}: {error.strerror or error}") from None
    return sorted(folders), sorted(images)


def _folders(folder: Path) -> list[str]:
    return _listing(folder)[0]


def _has_images(folder: Path) -> bool:
    return bool(_listing(folder)[1])


def _images(folder: Path, seen: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Every image below a folder, in an order that the file system has no say in."""
    real = folder.resolve()
    if real in seen:
        return  # a link back up
    folders, images = _listing(folder)
    for name in images:
        yield folder / name
    for name in folders:
        yield from _images(folder / name, seen | {real})
