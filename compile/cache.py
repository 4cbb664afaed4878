"""What was compiled before, by everything that decides what comes out.

The key covers the network, its weights, every option, the versions and the device, so that no two
compilations share one unless they are the same. A broken or unwritable cache only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from archspec.compile import manifest
from archspec.compile.errors import CompileError
from archspec.compile.manifest import Manifest
from archspec.compile.output import filling, sweep
from archspec.files import cache_folder

KEPT = 20
"""Artefacts in the cache; the ones that were not used for longest go first."""
_PACKAGE = Path(__file__).parent.parent


def folder() -> Path:
    """Where artefacts are remembered."""
    return cache_folder() / "compiled"


def key(facts: dict[str, Any]) -> str:
    """A hash of plain data, and of our own source."""
    text = json.dumps(facts | {"source": _source()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _source() -> str:
    """A hash of everything that has a part in lowering and compiling."""
    digest = hashlib.sha256()
    folders = [_PACKAGE, _PACKAGE / "ops", _PACKAGE / "compile"]
    folders += [_PACKAGE / "compile" / part for part in ("backends", "rewrites")]
    for place in folders:
        for path in sorted(place.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Gone(Exception):  # noqa: N818
    """An artefact was taken away by another process while it was copied."""


def look_up(name: str, timed: bool = False) -> tuple[Path, Manifest] | None:
    """An artefact that was kept, whole and unchanged; None otherwise.

    Args:
        timed: only one whose speed was measured.
    """
    place = folder() / name
    try:
        found = manifest.read(place)
        manifest.verify(found, place)
        os.utime(place)
    except (CompileError, OSError):
        return None
    return None if timed and found.speed is None else (place, found)


def copy(known: tuple[Path, Manifest], target: Path) -> Manifest:
    """Copy the files of an artefact into a folder; its manifest is not written there.

    Raises:
        Gone: it is not there any more.
        OSError: the folder cannot be written.
    """
    place, found = known
    for name in found.files:
        try:
            content = (place / name).read_bytes()
        except OSError:
            raise Gone from None
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return found


def keep(name: str, source: Path) -> None:
    """Remember an artefact."""
    place = folder()
    with contextlib.suppress(OSError, CompileError):
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        broken = place / name
        if broken.is_dir():
            shutil.rmtree(broken)
        else:
            broken.unlink(missing_ok=True)
        with filling(place / name) as unfinished:
            shutil.copytree(source, unfinished, dirs_exist_ok=True)
        kept = sorted(
            (path for path in place.iterdir() if not path.name.startswith(".")),
            key=lambda path: path.stat().st_mtime,
        )
        for old in kept[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
