"""From encoded images to pixels of one size. N images, C channels, H height, W width.

What comes out is what a viewer shows, on white: turned as EXIF says, palettes, CMYK and 16 bits
brought to 8-bit RGB, transparent pixels over white (torchvision's loader drops the transparency,
and shows the colours that were hidden; opaque images come out the same). Of an animation, the
first frame. The image is scaled until it covers the target, with antialiased bilinear filtering,
and its centre is cut out: `Resize` and `CenterCrop` in one.
"""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archspec.search.data.source import Encoded

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[int, int], None]

ORIENTATION = 0x0112  # the EXIF tag
PROBED = 32  # images decoded before it is known whether threads pay
SLOW = 1e-3  # seconds per image above which they do: below, they wait for each other
BLOCK = 2**23  # bytes of pixels handed on at a time


class Unreadable(Exception):  # noqa: N818 - it is no error: the image is skipped and counted
    """Why an image is left out."""


@dataclass
class Tally:
    """What is known of the pixels after they were all seen."""

    kept: int = 0
    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    """Place among the images that were asked for, name, reason."""
    sha256: str = ""
    sum_C: list[int] = field(default_factory=list)
    squares_C: list[int] = field(default_factory=list)


def decode_all(
    images: Iterable[Encoded],
    size: tuple[int, int],
    channels: int,
    tally: Tally,
    progress: Callable[[int], None] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """The pixels of all readable images in their order, in blocks (N, C, H, W).

    Args:
        size: height and width in pixels.
        channels: 1 or 3.
        tally: filled as blocks are taken; complete after the last one.
        progress: called with the number of images done so far.
    """
    digest = hashlib.sha256()
    sum_C, squares_C = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    per_block = max(1, BLOCK // (channels * size[0] * size[1]))
    results = enumerate(_parallel(images, lambda image: decode(image, size, channels)))
    while batch := list(islice(results, per_block)):
        pixels = []
        for place, (name, result) in batch:
            if isinstance(result, str):
                tally.skipped.append((place, name, result))
            else:
                pixels.append(result)
        if progress is not None:
            progress(batch[-1][0] + 1)
        if pixels:
            block_NCHW = np.stack(pixels)
            digest.update(block_NCHW.data)
            wide = block_NCHW.astype(np.uint32)
            sum_C += wide.sum((0, 2, 3), dtype=np.uint64)
            squares_C += (wide * wide).sum((0, 2, 3), dtype=np.uint64)
            tally.kept += len(pixels)
            yield block_NCHW
    tally.sha256 = digest.hexdigest()
    tally.sum_C, tally.squares_C = sum_C.tolist(), squares_C.tolist()


def _parallel(
    images: Iterable[Encoded], work: Callable[[Encoded], NDArray[np.uint8]]
) -> Iterator[tuple[str, NDArray[np.uint8] | str]]:
    """Names and pixels, or the reason why there are none, in the order of the images."""

    def one(image: Encoded) -> tuple[str, NDArray[np.uint8] | str]:
        try:
            return image.name, work(image)
        except Unreadable as reason:
            return image.name, str(reason)

    images = iter(images)
    seconds = []
    for image in islice(images, PROBED):
        start = time.perf_counter()
        result = one(image)
        seconds.append(time.perf_counter() - start)
        yield result
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or not seconds or statistics.median(seconds) < SLOW:
        yield from map(one, images)
        return
    with ThreadPoolExecutor(cores) as pool:
        ahead: deque[Future[tuple[str, NDArray[np.uint8] | str]]] = deque()
        for image in images:
            ahead.append(pool.submit(one, image))
            if len(ahead) > 4 * cores:
                yield ahead.popleft().result()
        for future in ahead:
            yield future.result()


def decode(image: Encoded, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """The pixels of one image: (C, H, W), 0 to 255.

    Raises:
        Unreadable: with the reason.
    """
    from PIL import Image, UnidentifiedImageError

    content = image.content
    if content is None:
        raise Unreadable("no image there")
    try:
        if isinstance(content, Image.Image):
            return _fit(content, size, channels)
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as opened:
            return _fit(opened, size, channels)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        empty = content == b"" or (isinstance(content, Path) and not content.stat().st_size)
        raise Unreadable("empty" if empty else "no image that Pillow can read") from None
    except Image.DecompressionBombError:
        raise Unreadable("so many pixels that Pillow takes it for a decompression bomb") from None
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise anything on broken files
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise Unreadable(reason or type(error).__name__) from None


def _fit(image: Image.Image, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    height, width = size
    edge = 2 * max(size)
    image.draft(None, (edge, edge))  # a large JPEG is decoded at a fraction of its size
    image.load()
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    image = _eight_bits(image).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image in a mode that converts to grey or RGB as one expects, without transparency."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        wide = np.asarray(image).astype(np.uint32)  # 0 to 65,535; convert() would cut at 255
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unreadable(f"32-bit pixels (mode {image.mode}) do not say what white is")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
