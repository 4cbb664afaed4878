"""What a source of images has to say. Sources are found by scanning this folder."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SplitName = Literal["train", "validation", "test"]

SPLITS: Mapping[str, SplitName] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""What files and folders of a split are called."""


@dataclass(frozen=True)
class Encoded:
    """An image as its source keeps it."""

    name: str
    """For messages: a file's path in the data set, or a file and a row."""
    content: bytes | Path | Image.Image | None
    """None where the source has no image in its place."""


@dataclass(frozen=True)
class Part:
    """One split of a source: the labels at once, the images when asked for."""

    labels_N: NDArray[np.int64]
    read: Callable[[NDArray[np.intp]], Iterator[Encoded]]
    """Given the places of images in ascending order, these images in that order."""
    identity: str | None
    """Changes whenever an image may have; None where decoding again costs nothing."""


@dataclass(frozen=True)
class Contents:
    """What a source holds."""

    classes: tuple[str, ...]
    parts: Mapping[SplitName, Part]
    """`train` is always there."""
    flip: bool
    """Whether a mirrored image still shows the same class."""


class Source(ABC):
    """A form in which data sets come."""

    form: ClassVar[str]
    """What messages call it."""
    rank: ClassVar[int]
    """The lowest that recognises what was given reads it: special forms before general ones."""

    @staticmethod
    @abstractmethod
    def recognises(given: str) -> bool:
        """Whether what the user gave has this form, as far as a glance tells."""

    @staticmethod
    @abstractmethod
    def open(given: str) -> Contents:
        """Read everything but the images.

        Raises:
            DataError: it has the form, but is no data set to train on.
        """


@cache
def sources() -> tuple[type[Source], ...]:
    """Every source, in the order in which they are asked."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    return tuple(sorted(Source.__subclasses__(), key=lambda source: source.rank))


def recognised() -> str:
    """The hint of a message about what no source recognises."""
    return "\n    ".join(["recognised:", *(source.form for source in sources())])


def path_of(given: str) -> Path:
    """What was given as a path, with `~` filled in."""
    return Path(os.path.expanduser(given))  # noqa: PTH111 - Path's raises for an unknown user


def exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path's raises for a name too long


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path's raises for a name too long


def split_of(name: str) -> SplitName | None:
    """The split that a file or folder is named after: `val-00000-of-00002` is validation."""
    word = re.match("[a-z]*", name.lower())
    return SPLITS.get(word[0]) if word is not None else None
