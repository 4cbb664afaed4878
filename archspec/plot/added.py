"""Networks that the user adds to the published ones, from a text or a file.

    NAME: params=27M, flops=4.5G, top1=82.1
    NAME: spec=mine.yaml, top1=82.1            # figures exactly counted

A YAML file has a mapping under each name, a CSV file the columns name, params, flops, top1, spec.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archspec import catalog, source
from archspec.errors import ArchspecError, Mark, brief, did_you_mean
from archspec.plot.points import Point, Series
from archspec.search.budgets import Figure, amount

KEYS = ("params", "flops", "top1", "spec")
_SUCH = "such as 'mine: params=27M, flops=4.5G, top1=82.1', or with spec=mine.yaml for the figures"


def added(text: str) -> list[Series]:
    """What `--add` was given: one point, or the name of a file with several.

    Raises:
        ArchspecError: where it is wrong, and how it should be.
    """
    path = Path(text)
    if path.suffix in (*catalog.SUFFIXES, ".csv") and ": " not in text:
        entries = _csv(path) if path.suffix == ".csv" else _yaml(path)
    else:
        entries = iter([_inline(text)])
    return [Series(name, (_point(name, given, mark),), kind="own") for name, given, mark in entries]


_Entry = tuple[str, Mapping[str, Any], Mark]


def _inline(text: str) -> _Entry:
    mark = Mark(f"--add {brief(text)}")
    name, colon, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",")]
    if not colon or not name.strip() or not all(equals for _, equals, _ in pairs):
        raise ArchspecError(f"--add takes NAME: KEY=VALUE, …, found {brief(text)}", hint=_SUCH)
    return name.strip(), {key.strip(): value.strip() for key, _, value in pairs}, mark


def _yaml(path: Path) -> Iterator[_Entry]:
    tree = source.read(path)
    for key, node in tree.items("networks by name"):
        entries = node.items("a mapping (keys: params, flops, top1, spec)")
        yield str(key), {str(name): value.plain() for name, value in entries}, node.mark


def _csv(path: Path) -> Iterator[_Entry]:
    mark = Mark(str(path))
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ArchspecError(f"cannot be read: {error.strerror or error}", mark=mark) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArchspecError(f"is not a CSV file: {error}", mark=mark) from None
    for line, row in enumerate(rows, 2):
        name = row.pop("name", None)
        here = Mark(str(path), line, 1)
        if not name or None in row:
            raise ArchspecError(
                "expected a name and no more cells than columns", mark=here,
                hint="the first line names the columns: name,params,flops,top1",
            )  # fmt: skip
        yield name, {key: value for key, value in row.items() if value}, here


def _point(name: str, given: Mapping[str, Any], mark: Mark) -> Point:
    for key in given:
        if key not in KEYS:
            raise ArchspecError(
                f"{name}: unknown key {brief(key)}", mark=mark, hint=did_you_mean(key, KEYS)
            )
    if "top1" not in given:
        raise ArchspecError(f"{name}: top1 is missing", mark=mark, hint=_SUCH)
    params, flops = _spec(given["spec"], mark) if "spec" in given else (None, None)
    return Point(
        name,
        _amount(name, given, "params", mark) if params is None else params,
        _amount(name, given, "flops", mark) if flops is None else flops,
        _top1(name, given["top1"], mark),
    )


def _spec(name: Any, mark: Mark) -> tuple[int, int]:
    """Parameters and FLOPs of a spec; its path is looked for beside the file that names it."""
    from archspec.api import cost

    folder = Path(mark.file).parent if os.path.isfile(mark.file) else None  # noqa: PTH113
    table = cost(catalog.find(str(name), near=folder))
    return int(table.params), int(table.flops)


def _amount(name: str, given: Mapping[str, Any], figure: Figure, mark: Mark) -> int:
    if figure not in given:
        raise ArchspecError(f"{name}: {figure} is missing", mark=mark, hint=_SUCH)
    value = amount(str(given[figure]), figure)
    if value is None or value < 1:
        such = "27M" if figure == "params" else "4.5G"
        raise ArchspecError(
            f"{name}: {figure} takes a figure such as {such}, found {brief(given[figure])}",
            mark=mark,
        )
    return round(value)


def _top1(name: str, value: Any, mark: Mark) -> float:
    try:
        percent = float(str(value).removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 < percent <= 100:
        raise ArchspecError(
            f"{name}: top1 takes percent, such as 82.1, found {brief(value)}", mark=mark
        )
    return percent
