"""Small data sets, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from archspec.search import data
from archspec.search.data import Data

NAMES = ("ant", "bee", "cow")


def picture(number: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    """An RGB image, width × height, unlike that of any other number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def folder(root: Path, count: int = 5, classes: Sequence[str] = NAMES, first: int = 0) -> Path:
    """`root/CLASS/N.png`, `count` images in each class."""
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            image = picture(first + 100 * place + number)
            (root / name / f"{number}.png").write_bytes(encoded(image))
    return root


def table(
    labels: Sequence[Any],
    images: Sequence[bytes | None] | None = None,
    *,
    image: str = "image",
    label: str = "label",
    raw: bool = False,
    metadata: str | None = None,
    label_type: pa.DataType | None = None,
) -> pa.Table:
    """A table in Hugging Face's layout."""
    if images is None:
        images = [encoded(picture(number)) for number in range(len(labels))]
    kind = pa.binary() if raw else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = images if raw else [{"bytes": content, "path": None} for content in images]
    columns = {image: pa.array(rows, kind), label: pa.array(labels, label_type)}
    made = pa.table(columns)
    return made.replace_schema_metadata({"huggingface": metadata}) if metadata else made


def parquet(path: Path, labels: Sequence[Any], *arguments: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(labels, *arguments, **options), path, row_group_size=4)
    return path


def pixels_of(number: int) -> NDArray[np.uint8]:
    """Of `picture(number)`: (channels, height, width)."""
    return np.asarray(picture(number)).transpose(2, 0, 1)


def load(source: str | Path, **options: Any) -> Data:
    """At the size of the pictures, so that nothing is resized."""
    return data.load(source, size=(10, 12), **options)


def same(a: Data, b: Data) -> bool:
    return all(
        np.array_equal(getattr(a, name).images_NCHW, getattr(b, name).images_NCHW)
        and np.array_equal(getattr(a, name).labels_N, getattr(b, name).labels_N)
        for name in ("train", "held_out")
    )


def found(loaded: Data) -> dict[bytes, int]:
    """The pixels of all images that are trained on or held out, with their labels."""
    return {
        image.tobytes(): int(label)
        for split in (loaded.train, loaded.held_out)
        for image, label in zip(split.images_NCHW, split.labels_N, strict=True)
    }
