"""Decoded pixels, remembered between runs.

For every split that was decoded there are two files in the cache folder: `KEY.pixels`, uint8
(N, C, H, W), and `KEY.json` with what else is known of them, which is written last. A missing,
broken or half-written one only means that images are decoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archspec.errors import ArchspecError
from archspec.files import cache_folder, replacing, write_text
from archspec.search.data.decode import BLOCK, Tally, decode_all
from archspec.search.data.errors import DataError
from archspec.search.data.source import Part
from archspec.search.data.split import Rows

VERSION = 1
"""Of the decoding: another one decodes again."""

Pixels = NDArray[np.uint8]


def default_folder() -> Path:
    return cache_folder() / "data"


def pixels(
    part: Part,
    rows: Rows,
    size: tuple[int, int],
    channels: int,
    *,
    folder: Path,
    mapped: bool,
    progress: Callable[[int], None] | None = None,
) -> tuple[Pixels, Tally]:
    """The pixels of some images of a part, from the cache if they are there.

    Args:
        rows: the images' places in the part, ascending.
        size: height and width in pixels.
        mapped: leave them on disk and map them into memory, copy-on-write.
        progress: called with the number of images decoded so far.

    Raises:
        DataError: they are to be mapped, and the folder cannot hold them.
    """
    shape = (channels, *size)
    tally = Tally()
    blocks = decode_all(part.read(rows), size, channels, tally, progress)  # nothing is read yet
    if part.identity is None:
        return _gather(blocks, shape, len(rows)), tally
    file = folder / f"{_key(part.identity, rows, shape)}.pixels"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        return _remembered(file, shape, mapped)
    if not mapped:
        array = _gather(blocks, shape, len(rows))
        with contextlib.suppress(OSError, ArchspecError):
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as unfinished:
                array.tofile(unfinished)
            _describe(file, tally)
        return array, tally
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unfinished, unfinished.open("wb") as stream:
            for block in blocks:
                stream.write(block.data)
        _describe(file, tally)
    except DataError:
        raise
    except (OSError, ArchspecError) as error:
        needed = len(rows) * channels * size[0] * size[1]
        raise DataError(
            f"{len(rows):,} images take {needed / 1e9:,.1f} GB, too much for this machine's "
            f"memory, and cannot be kept on disk: {error}",
            hint="train on fewer or smaller images, or name another cache folder",
        ) from None
    if not tally.kept:
        return np.empty((0, *shape), np.uint8), tally
    return np.memmap(file, np.uint8, "c", shape=(tally.kept, *shape)), tally


def _key(identity: str, rows: Rows, shape: tuple[int, ...]) -> str:
    import PIL

    chosen = hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()
    facts = json.dumps([VERSION, PIL.__version__, identity, chosen, shape])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _gather(blocks: Iterable[Pixels], shape: tuple[int, ...], most: int) -> Pixels:
    array = np.empty((most, *shape), np.uint8)
    kept = 0
    for block in blocks:
        array[kept : kept + len(block)] = block
        kept += len(block)
    return array[:kept]


def _describe(file: Path, tally: Tally) -> None:
    facts = asdict(tally) | {"mtime_ns": file.stat().st_mtime_ns}
    write_text(file.with_suffix(".json"), json.dumps(facts))


def _remembered(file: Path, shape: tuple[int, ...], mapped: bool) -> tuple[Pixels, Tally]:
    """Raises (OSError, ValueError, TypeError, …) unless both files are whole."""
    facts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    written = facts.pop("mtime_ns")
    tally = Tally(**facts)
    tally.skipped = [(int(place), str(name), str(why)) for place, name, why in tally.skipped]
    size = tally.kept * int(np.prod(shape))
    status = file.stat()
    if status.st_size != size:
        raise ValueError("half-written")
    array: Pixels
    if mapped and size:
        array = np.memmap(file, np.uint8, "c", shape=(tally.kept, *shape))
        if status.st_mtime_ns == written:
            return array, tally  # as it was written: hashing what is this large takes minutes
    else:
        array = np.fromfile(file, np.uint8).reshape(tally.kept, *shape)
    digest = hashlib.sha256()
    flat = array.reshape(-1)
    for start in range(0, size, BLOCK):
        digest.update(flat[start : start + BLOCK].data)
    if digest.hexdigest() != tally.sha256:
        raise ValueError("broken")
    return array, tally
