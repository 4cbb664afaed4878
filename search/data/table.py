"""Tables in Hugging Face's layout, in Arrow: a column of images and one of labels."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archspec.errors import LISTED, brief
from archspec.search.data.errors import DataError
from archspec.search.data.source import Contents, Encoded, Part, SplitName

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


class Table(ABC):
    """One split. Rows count from 0."""

    schema: Any
    """pyarrow.Schema, with Hugging Face's metadata where it has some."""
    identity: str
    """Changes whenever the content may have."""

    @abstractmethod
    def column(self, name: str) -> Any:
        """All values of a column: pyarrow.ChunkedArray."""

    @abstractmethod
    def chosen(self, name: str, rows: NDArray[np.intp]) -> Iterator[Any]:
        """The values of a column in some rows, which ascend, as Python has them."""

    @abstractmethod
    def place(self, row: int) -> str:
        """A row as messages call it: `train.parquet, row 3`."""


def contents(tables: Mapping[SplitName, Table], where: str) -> Contents:
    """The data set that tables make.

    Args:
        tables: `train` is among them.
        where: the data set, as messages call it.

    Raises:
        DataError: columns are missing or of a wrong kind, or labels are.
    """
    features = _features(tables["train"].schema)
    for table in tables.values():
        _image_column(table, features, where)
    names = _class_names(features, _label_column(tables["train"], features, where))
    columns = {
        split: table.column(_label_column(table, features, where))
        for split, table in tables.items()
        if not (split == "test" and not _has_label(table, features))
    }
    if "test" in columns and _unlabelled(columns["test"]):
        del columns["test"]  # as Hugging Face keeps those whose labels are secret
    columns = {split: column for split, column in columns.items() if len(column)}
    if "train" not in columns:
        raise DataError(f"{brief(where)} has no training images: the table has no rows")
    classes, labels = encode(columns, tables, names)
    parts = {
        split: _part(tables[split], _image_column(tables[split], features, where), labels_N)
        for split, labels_N in labels.items()
    }
    return Contents(classes, parts, flip=True)


def encode(
    columns: Mapping[SplitName, Any], tables: Mapping[SplitName, Table], names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[SplitName, NDArray[np.int64]]]:
    """Class names, and labels as places among them.

    Args:
        columns: the labels of each split: whole numbers or strings.
        names: what the metadata calls the classes; without it they are the distinct labels of the
            training images, sorted.
    """
    values = {split: _values(columns[split], tables[split]) for split in columns}
    if names is None:
        distinct = np.unique(values["train"]).tolist()
        if isinstance(distinct[0], int) and distinct[0] < 0:
            row = int(np.argmax(values["train"] < 0))
            raise DataError(
                f"{tables['train'].place(row)}: the label is {values['train'][row]}, "
                "and labels count from 0",
                hint="a negative one marks images without a label: leave them out",
            )
        known: dict[Any, int] = {value: place for place, value in enumerate(distinct)}
    else:
        known = {place: place for place in range(len(names))}
        known |= {name: place for place, name in enumerate(names)}
    labels: dict[SplitName, NDArray[np.int64]] = {}
    for split, value_N in values.items():
        found, which_N = np.unique(value_N, return_inverse=True)
        places = np.array([known.get(value, -1) for value in found.tolist()], np.int64)
        labels[split] = places[which_N]
        strange = np.flatnonzero(labels[split] < 0)
        if len(strange):
            row = int(strange[0])
            label = found.tolist()[which_N[row]]
            why = (
                "and no training image has that label" if names is None
                else f"and the labels are 0 to {len(names) - 1}" if isinstance(label, int)
                else "which is none of the classes that the metadata names"
            )  # fmt: skip
            raise DataError(f"{tables[split].place(row)}: the label is {brief(label)}, {why}")
    return tuple(str(name) for name in (known if names is None else names)), labels


def _values(column: Any, table: Table) -> NDArray[Any]:
    types = arrow().types

    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(f"{table.place(row)}: the label is null", hint="every image needs a label")
    if types.is_boolean(column.type):
        column = column.cast("int8")
    return np.asarray(column.to_numpy())


def arrow() -> Any:
    """pyarrow, which is published without types; loaded when a table is read."""
    import pyarrow
    import pyarrow.parquet
    import pyarrow.types

    return pyarrow


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face's metadata says of the columns, if there is any."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name: told for name, told in features.items() if isinstance(told, dict)}
    return {}


def _class_names(features: Mapping[str, Any], column: str) -> list[str] | None:
    names = features.get(column, {}).get("names")
    return [str(name) for name in names] if isinstance(names, list) and names else None


def _image_column(table: Table, features: Mapping[str, Any], where: str) -> str:
    types = arrow().types

    name = _find(table, features, IMAGE_COLUMNS, "Image")
    if name is None:
        raise _no_column("image", table, IMAGE_COLUMNS, where)
    kind = table.schema.field(name).type
    inner = kind.field("bytes").type if _is_image(kind) else kind
    usable = (types.is_binary, types.is_large_binary, types.is_binary_view)
    if not any(is_kind(inner) for is_kind in usable):
        raise DataError(
            f"{brief(where)}: the image column {brief(name)} is of type {brief(str(kind))}",
            hint="images are encoded files: binary, or a struct with a field 'bytes' of that type",
        )
    return name


def _is_image(kind: Any) -> bool:
    types = arrow().types

    return bool(types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _has_label(table: Table, features: Mapping[str, Any]) -> bool:
    name = _find(table, features, LABEL_COLUMNS, "ClassLabel")
    return name is not None and not arrow().types.is_null(table.schema.field(name).type)


def _label_column(table: Table, features: Mapping[str, Any], where: str) -> str:
    types = arrow().types

    name = _find(table, features, LABEL_COLUMNS, "ClassLabel")
    if name is None:
        raise _no_column("label", table, LABEL_COLUMNS, where)
    kind = table.schema.field(name).type
    plain = kind.value_type if types.is_dictionary(kind) else kind
    usable = (
        types.is_integer, types.is_boolean,
        types.is_string, types.is_large_string, types.is_string_view,
    )  # fmt: skip
    if not any(is_kind(plain) for is_kind in usable):
        raise DataError(
            f"{brief(where)}: the label column {brief(name)} is of type {brief(str(kind))}",
            hint="an image has one label, a whole number or a string",
        )
    return name


def _find(
    table: Table, features: Mapping[str, Any], usual: Sequence[str], feature: str
) -> str | None:
    """A column under one of the usual names, or else the only one that is said to be such."""
    for name in usual:
        if name in table.schema.names:
            return name
    told = [name for name in features if features[name].get("_type") == feature]
    return told[0] if len(told) == 1 and told[0] in table.schema.names else None


def _no_column(what: str, table: Table, usual: Sequence[str], where: str) -> DataError:
    columns = [f"{field.name} ({field.type})" for field in table.schema][:LISTED]
    return DataError(
        f"{brief(where)} has no {what} column, which would be called "
        f"{', '.join(usual[:-1])} or {usual[-1]}",
        hint=f"its columns are {', '.join(columns)}" if columns else "it has no columns",
    )


def _unlabelled(column: Any) -> bool:
    types = arrow().types

    if len(column) and column.null_count == len(column):
        return True
    if not types.is_integer(column.type) or column.null_count or not len(column):
        return False
    return bool((np.asarray(column.to_numpy()) == -1).all())


def _part(table: Table, name: str, labels_N: NDArray[np.int64]) -> Part:
    is_struct = _is_image(table.schema.field(name).type)

    def read(rows: NDArray[np.intp]) -> Iterator[Encoded]:
        for row, value in zip(rows, table.chosen(name, rows), strict=True):
            image = value["bytes"] if is_struct and value is not None else value
            yield Encoded(table.place(int(row)), image)

    return Part(labels_N, read, table.identity)
