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

    An artefact that is there is replaced; anything else is left alone.

    Raises:
        CompileError: something else is there, or nothing can be written there.
    """
    _check(output)
    unfinished = output.parent / f".{output.name}.{os.getpid()}.unfinished"
    replaced = output.parent / f".{output.name}.{os.getpid()}.replaced"
    try:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise CompileError(
                f"cannot write {output}: {output.parent} is a file, not a folder"
            ) from None
        _sweep(output)
        unfinished.mkdir()
        try:
            yield unfinished
            if output.exists():
                output.rename(replaced)
            unfinished.rename(output)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise CompileError(f"cannot write {output}: {error.strerror or error}") from None


def _check(output: Path) -> None:
    try:
        is_other = output.exists() and not (output / MANIFEST).exists()
        is_other = is_other and not (output.is_dir() and not any(output.iterdir()))
    except OSError as error:
        raise CompileError(f"cannot write {output}: {error.strerror or error}") from None
    if is_other:
        raise CompileError(
            f"{output} is there already and is no artefact", hint="--output names another folder"
        )


def _sweep(output: Path) -> None:
    """Take away what compilations that were killed have left."""
    pattern = re.compile(rf"\.{re.escape(output.name)}\.(\d+)\.(unfinished|replaced)")
    for path in output.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)
