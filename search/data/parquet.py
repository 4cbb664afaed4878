"""Parquet files in Hugging Face's layout."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archspec.errors import brief
from archspec.search.data.errors import DataError
from archspec.search.data.source import (
    SPLITS,
    Contents,
    Source,
    SplitName,
    exists,
    is_folder,
    path_of,
    split_of,
)
from archspec.search.data.table import Table, arrow, contents

BATCH = 256  # rows read at a time: large images must not fill the memory


class Parquet(Source):
    """One file, or a folder with `train*.parquet`, `val*.parquet` and `test*.parquet`.

    In a folder, the files may also lie in `data/`, or in a sub-folder named after their split.
    """

    form = "a Parquet file, or a folder of them (train*.parquet, validation*, test*)"
    rank = 2

    @staticmethod
    def recognises(given: str) -> bool:
        path = path_of(given)
        if is_folder(path):
            return bool(_files(path))
        return path.suffix.lower() == ".parquet" and exists(path)

    @staticmethod
    def open(given: str) -> Contents:
        path = path_of(given)
        splits: dict[SplitName, list[Path]] = {"train": [path]}
        if is_folder(path):
            splits = _splits(path)
        return contents({split: ParquetTable(files) for split, files in splits.items()}, given)


def _files(folder: Path) -> list[Path]:
    places = [[folder], [folder / "data"], [folder / name for name in SPLITS]]
    for folders in places:
        files = [file for place in folders for file in place.glob("*.parquet") if file.is_file()]
        if files:
            return sorted(files)
    return []


def _splits(folder: Path) -> dict[SplitName, list[Path]]:
    found: dict[SplitName, list[Path]] = {}
    others = []
    for file in _files(folder):
        inside = file.parent.name if file.parent.name in SPLITS and file.parent != folder else ""
        split = split_of(inside or file.name)
        if split is None:
            others.append(file)
        else:
            found.setdefault(split, []).append(file)
    if not found:
        return {"train": others}
    if "train" not in found:
        names = ", ".join(file.name for files in found.values() for file in files[:3])
        raise DataError(
            f"{brief(str(folder))} has no train*.parquet; it has {names}",
            hint="give the path of one file to train on that",
        )
    return found


class ParquetTable(Table):
    """The files of one split, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.files = [_read(path, _open, path) for path in paths]
        self.schema = self.files[0].schema_arrow
        for path, file in zip(paths, self.files, strict=True):
            if not file.schema_arrow.equals(self.schema):
                raise DataError(
                    f"{_name(path)} and {_name(paths[0])} have different columns",
                    hint="the files of one split need the same ones",
                )
        counts = [file.metadata.num_rows for file in self.files]
        self.starts = np.cumsum([0, *counts]).tolist()
        digest = hashlib.sha256()
        for path in paths:
            status = path.stat()
            told = f"{path.resolve()}\0{status.st_size} {status.st_mtime_ns}\n"
            digest.update(os.fsencode(told))
        self.identity = digest.hexdigest()

    def column(self, name: str) -> Any:
        pa = arrow()
        kind = self.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type  # pandas' categories
        chunks = []
        for path, file in zip(self.paths, self.files, strict=True):
            table = _read(path, partial(file.read, columns=[name]))
            chunks += table.column(name).cast(kind).chunks
        return pa.chunked_array(chunks, kind)

    def chosen(self, name: str, rows: NDArray[np.intp]) -> Iterator[Any]:
        for path, file, start in zip(self.paths, self.files, self.starts, strict=False):
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                first, last = np.searchsorted(rows, (start, start + count))
                if first < last:
                    yield from self._group(path, file, group, name, rows[first:last] - start)
                start += count

    def _group(
        self, path: Path, file: Any, group: int, name: str, rows: NDArray[np.intp]
    ) -> Iterator[Any]:
        batches = file.iter_batches(BATCH, row_groups=[group], columns=[name])
        start = 0
        while (batch := _read(path, next, batches, None)) is not None:
            first, last = np.searchsorted(rows, (start, start + batch.num_rows))
            if first < last:
                inside = arrow().array(rows[first:last] - start)
                yield from batch.column(0).take(inside).to_pylist()
            start += batch.num_rows

    def place(self, row: int) -> str:
        file = bisect.bisect_right(self.starts, row) - 1
        return f"{_name(self.paths[file])}, row {row - self.starts[file]}"


def _name(path: Path) -> str:
    """A file's name, with its split where only its folder tells that."""
    return f"{path.parent.name}/{path.name}" if path.parent.name in SPLITS else path.name


def _open(path: Path) -> Any:
    return arrow().parquet.ParquetFile(path)


def _read(path: Path, work: Any, *arguments: Any) -> Any:
    """Do some reading; what Arrow says of broken files becomes one message."""
    try:
        return work(*arguments)
    except (arrow().ArrowException, OSError) as error:
        # Arrow's exceptions are OSErrors, too, where a file is truncated
        why = (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]
        raise DataError(
            f"{brief(str(path))} cannot be read as Parquet: {why}",
            hint="was it copied or downloaded whole?",
        ) from None
