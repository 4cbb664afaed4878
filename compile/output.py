"""Folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from archspec.compile.errors import CompileError
from archspec.compile.manifest import MANIFEST
from archspec.files import is_running


@contextlib.contextmanager
def filling(output: Path) -> Iterator[Path]:
    """A new folder beside `output`, which takes its place when the block ends well.

    An artefact that is there is replaced; anything else is left alone. A link stays a link.

    Raises:
        CompileError: something else is there, or nothing can be written there.
    """
    check(output)
    try:
        real = output.resolve()
        unfinished = real.parent / f".{real.name}.{os.getpid()}.unfinished"
        replaced = real.parent / f".{real.name}.{os.getpid()}.replaced"
        real.parent.mkdir(parents=True, exist_ok=True)
        sweep(real.parent, real.name)
        unfinished.mkdir()
        try:
            yield unfinished
            _exchange(unfinished, real, replaced)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise CompileError(f"cannot write {output}: {error.strerror or error}") from None


def _exchange(new: Path, place: Path, old: Path) -> None:
    """Put a folder in the place of another, which is put aside; if that fails, it stays."""
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        old.rename(place)
        raise


def check(output: Path) -> None:
    """Refuse a folder that an artefact cannot be written to, as far as can be seen before.

    Raises:
        CompileError: something else is there, or nothing can be made there.
    """
    try:
        is_other = output.exists() and not (output / MANIFEST).exists()
        is_other = is_other and not (output.is_dir() and not any(output.iterdir()))
        real = output.resolve()
        above = next((folder for folder in output.parents if folder.exists()), Path())
    except OSError as error:
        raise CompileError(f"cannot write {output}: {error.strerror or error}") from None
    if is_other:
        raise CompileError(
            f"{output} is there already and is no artefact", hint="--output names another folder"
        )
    if real == Path.cwd() or os.path.ismount(real):  # whose place nothing can take
        what = "the folder that you are in" if real == Path.cwd() else "a mount point"
        raise CompileError(
            f"cannot write {output}: it is {what}", hint="--output names a folder inside it"
        )
    if not above.is_dir():
        raise CompileError(f"cannot write {output}: {above} is a file, not a folder")


def sweep(folder: Path, name: str | None = None) -> None:
    """Take away what processes that were killed have left.

    Args:
        name: of the folder that was to be filled; None: any.

    Raises:
        OSError: the folder cannot be read.
    """
    names = ".+" if name is None else re.escape(name)
    pattern = re.compile(rf"\.{names}\.(\d+)\.(unfinished|replaced)")
    for path in folder.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)
