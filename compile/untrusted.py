"""Exported programs from anywhere: a `.pt2` is opened only if reading it cannot run anything.

`torch.export.load` trusts what it reads. It unpickles what an archive says is pickled, evaluates
the expressions of sizes and guards as Python, and writes names into the source of a function. So
every entry, and every text in the program, has to be one of the few kinds that an exported vision
network needs; whatever else there is, is refused. The archive is read by PyTorch's own reader,
since another one may see other entries in the same bytes.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from archspec.compile.errors import CompileError

_PROGRAM = "models/model.json"
_INPUTS = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_ENTRY = re.compile(
    rf"archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|"
    rf"\.storage_alignment|data/weights/weight_\d+|data/constants/tensor_\d+|"
    rf"{'|'.join(map(re.escape, (_PROGRAM, _INPUTS, *_CONFIGS)))}"
)
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")

_NAME = re.compile(r"[\w.]*")
_SIZE = re.compile(
    r"((Symbol|Integer|Mul|Add|Pow|Mod|PythonMod|FloorDiv|CleanDiv|CeilToInt|Max|Min)\(|'[su]\d+'|"
    r"(positive|nonnegative|integer)=True|-?\d|[), ])*"
)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|"
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|le|lt|ge|gt|getitem)"
)
_STRUCTURES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_TEXTS = {
    "expr_str": _SIZE,
    "target": _OPERATOR,
    "as_string": re.compile(r"[\w., >-]*"),  # what an operator is told: the terms of an einsum
    "torch_version": re.compile(r"[\w.+-]*"),
}
"""Key → what its value looks like; other texts are names."""


def check(path: Path) -> None:
    """Refuse a `.pt2` that is none, or whose reading could run something.

    Raises:
        CompileError: with what was found.
    """
    try:
        found = next(_surprises(path), None)
    except Exception:  # noqa: BLE001 - PyTorch's reader raises anything on broken files
        raise CompileError(f"{path} is not an exported program, or is cut short") from None
    if found is not None:
        raise CompileError(
            f"{path} holds what could run code ({found[:80]}) and was not opened",
            hint="an exported network needs tensors, operators and sizes alone",
        )


def _surprises(path: Path) -> Iterator[str]:
    """What does not belong into an exported network, in a phrase each."""
    reader: Any = torch._C.PyTorchFileReader(str(path))
    entries = reader.get_all_records()
    with zipfile.ZipFile(path) as archive:  # which torch.export turns to if its reader fails
        others = [name.partition("/")[2] for name in archive.namelist()]
    if sorted(entries) != sorted(others) or len(set(entries)) < len(entries):
        yield "entries that hide others"
    for name in entries:
        if not _ENTRY.fullmatch(name):
            yield f"the entry {name!r}"
    if reader.get_record("archive_format") != b"pt2":
        raise ValueError("another format")
    for name in _CONFIGS:
        if name in entries:
            yield from _pickled(json.loads(reader.get_record(name)))
    if _INPUTS in entries and not _is_tensors(reader.get_record(_INPUTS)):
        yield f"pickled objects in {_INPUTS}"
    yield from _unusual(json.loads(reader.get_record(_PROGRAM)), "")


def _pickled(config: Any) -> Iterator[str]:
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False or not _PAYLOAD.fullmatch(entry["path_name"]):
            yield f"{name} as a pickled object"


def _is_tensors(content: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return False
    return True


def _unusual(value: Any, key: str) -> Iterator[str]:
    """Texts of a program that are not of the kinds that are known to be harmless."""
    if isinstance(value, dict):
        if key == "metadata" and all(isinstance(text, str) for text in value.values()):
            return  # of a node: for people who look for errors; any text
        for inner, content in value.items():
            if not _NAME.fullmatch(inner):
                yield f"the name {inner!r}"
            yield from _unusual(content, inner)
    elif isinstance(value, list):
        if key == "guards_code":
            yield from (f"the guard {guard!r}" for guard in value)
        for content in value:
            yield from _unusual(content, key)
    elif isinstance(value, str):
        if key in ("in_spec", "out_spec"):
            yield from _strange_structure(json.loads(value))
        elif not _TEXTS.get(key, _NAME).fullmatch(value):
            yield f"{key} {value!r}"


def _strange_structure(value: Any) -> Iterator[str]:
    """What arguments are made of, if more than tuples, lists and dictionaries."""
    if isinstance(value, list):
        for content in value:
            yield from _strange_structure(content)
    elif isinstance(value, dict):
        if value["type"] not in _STRUCTURES:
            yield f"arguments of type {value['type']!r}"
        yield from _strange_structure(value["children_spec"])
