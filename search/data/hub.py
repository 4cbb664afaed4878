"""Hugging Face data sets: by name, or a folder that `save_to_disk` made."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
from collections.abc import Iterator, Mapping
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
)
from archspec.search.data.table import Table, contents

PREFIX = "hf:"
NAME = re.compile(r"[A-Za-z0-9][\w-]*(/[A-Za-z0-9][\w.-]*)?")
BATCH = 256


class HuggingFace(Source):
    """`hf:NAME`, `hf:NAME:CONFIG`, a bare NAME that is no path, or a folder of `save_to_disk`."""

    form = "the name of a Hugging Face data set (hf:NAME), or a folder made by its save_to_disk"
    rank = 1

    @staticmethod
    def recognises(given: str) -> bool:
        if given.startswith(PREFIX) or _is_saved(given):
            return True
        return NAME.fullmatch(given) is not None and not exists(path_of(given))

    @staticmethod
    def open(given: str) -> Contents:
        try:
            datasets: Any = importlib.import_module("datasets")  # has no types
        except ImportError:
            raise _absent(given) from None
        try:
            with _quiet():
                found = (
                    datasets.load_from_disk(str(path_of(given)))
                    if _is_saved(given)
                    else datasets.load_dataset(*given.removeprefix(PREFIX).split(":", 1))
                )
        except Exception as error:  # noqa: BLE001 - what six other packages raise comes through
            raise _failed(given, error) from None
        splits: Mapping[str, Any] = found if isinstance(found, dict) else {"train": found}
        tables: dict[SplitName, Table] = {
            SPLITS[name]: HubTable(name, rows) for name, rows in splits.items() if name in SPLITS
        }
        if "train" not in tables:
            raise DataError(
                f"{brief(given)} has no split 'train'; it has {', '.join(map(repr, splits))}"
            )
        return contents(tables, given)


class HubTable(Table):
    """One split of a Hugging Face data set."""

    def __init__(self, name: str, rows: Any) -> None:
        self.name = name
        self.rows = rows.with_format("arrow")
        self.schema = rows.features.arrow_schema
        self.identity = f"hub {rows._fingerprint}"

    def column(self, name: str) -> Any:
        return self.rows.select_columns([name])[:].column(name)

    def chosen(self, name: str, rows: NDArray[np.intp]) -> Iterator[Any]:
        images = self.rows.select_columns([name]).select(rows)
        for batch in images.iter(BATCH):
            yield from batch.column(name).to_pylist()

    def place(self, row: int) -> str:
        return f"{self.name}, row {row}"


def _is_saved(given: str) -> bool:
    folder = path_of(given)
    marks = ("dataset_dict.json", "state.json")
    return is_folder(folder) and any(exists(folder / mark) for mark in marks)


def _absent(given: str) -> DataError:
    install = "pip install 'archspec-vision[datasets]'"
    if given.startswith(PREFIX) or _is_saved(given):
        return DataError(
            f"{brief(given)} is a Hugging Face data set, and the package 'datasets' is missing",
            hint=install,
        )
    return DataError(
        f"there is no file or folder {brief(given)}",
        hint=f"if a Hugging Face data set is called so: {install}",
    )


def _failed(given: str, error: Exception) -> DataError:
    lines = str(error).strip().splitlines()
    why = lines[0] if lines else type(error).__name__
    name = given.removeprefix(PREFIX)
    message = f"cannot load the Hugging Face data set {brief(name)}: {why}"
    if _is_saved(given):
        return DataError(message)
    if name == given:
        message = f"there is no file or folder {brief(name)}; {message}"
    return DataError(message, hint="is the name right, and is there a network?")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without a line for every time that the Hub was asked in vain: one message says it."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
