"""Files that are written whole or not at all, and names that are not taken twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from archspec.errors import ArchspecError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses inside the block becomes one message that names `path`.

    Raises:
        ArchspecError: the file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ArchspecError(f"cannot write {path}: {error.strerror or error}") from None


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        ArchspecError: it cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path`, which takes its place when the block ends well.

    Raises:
        ArchspecError: the file cannot be written.
    """
    import tempfile  # which loads much, and most commands write nothing

    if os.path.isdir(path):  # noqa: PTH112 - Path's raises for a name too long
        raise ArchspecError(f"cannot write {path}: it is a folder")
    with writing(path):
        real = path.resolve()  # a link stays a link
        if real.exists() and not real.is_file():
            yield real  # a pipe or a device is written into, never replaced
            return
        handle, name = tempfile.mkstemp(
            dir=real.parent, prefix=f".{real.stem[:40]}-", suffix=real.suffix
        )
        os.close(handle)
        unfinished = Path(name)
        try:
            yield unfinished
            unfinished.chmod(_usual_mode())
            unfinished.replace(real)
        finally:
            unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        ArchspecError: the file cannot be written.
    """
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Where is kept what can be had again: ARCHSPEC_CACHE, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("ARCHSPEC_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("archspec-vision")


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _usual_mode() -> int:
    """The permissions of a file made by open(), which mkstemp keeps to the owner."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def unique(wanted: str, taken: set[str]) -> str:
    """`wanted`, or `wanted_2`, … when that is taken; it is taken then."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def is_running(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
