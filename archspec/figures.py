"""The figures of specs as plain rows: of all shipped ones, remembered; of the user's own.

Counting a network takes milliseconds, but there are many. The memory is a JSON file in the user's
cache folder; a missing, stale, broken or unwritable one only means that counting is done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from archspec import catalog
from archspec.errors import ArchspecError
from archspec.files import cache_folder, write_text

PACKAGE = Path(__file__).parent


class Row(TypedDict):
    """What is known of one spec. Counted figures are exact, None for what is no single network."""

    name: str
    file: str
    folder: str
    """Within `specs/`: `mlp`, or empty; of the user's own specs the folder that was asked for."""
    family: str
    """What its sizes are called in common: `swin`."""
    extends: str | None
    about: str | None
    source: str | None
    input: list[int]
    """Channels, height, width."""
    classes: int
    params: int | None
    flops: int | None
    """Multiply-adds of one image, in fvcore's convention."""
    macs: int | None
    activation_bytes: int | None
    published: dict[str, str | float]
    """`params` and `flops` as the paper prints them, `top1` in percent."""
    top1: float | None
    """ImageNet-1k accuracy in percent, as published."""
    holes: int
    error: str | None
    """Why it could not be read, in one message."""


def shipped_figures() -> list[Row]:
    """One row per shipped spec, by folder and name."""
    state = _state()
    file = _cache_file()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        remembered = json.loads(file.read_text(encoding="utf-8"))
        if remembered["state"] == state:
            return list(remembered["rows"])
    rows = [_row(path, _folder(path)) for path in catalog.shipped().values()]
    with contextlib.suppress(OSError, ArchspecError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"state": state, "rows": rows}))
    return rows


def figures_of(path: Path) -> list[Row]:
    """The row of a spec's file, or those of all specs in a folder and the folders within it."""
    if not path.is_dir():
        return [_row(path, path.parent.as_posix())]
    files = (file for suffix in catalog.SUFFIXES for file in path.rglob(f"*{suffix}"))
    hidden = re.compile(r"(^|/)\.")
    return [
        _row(file, file.parent.as_posix())
        for file in sorted(files)
        if not hidden.search(file.relative_to(path).as_posix())
    ]


def family(name: str, base: str | None = None) -> str:
    """What a network's name says without its size: `swin_t`, `swin_s` → `swin`; `resnet50` →
    `resnet`. A name without a size is of its base's family, or one of its own.

    Args:
        name: of a spec.
        base: the family of the spec that it extends.
    """
    first, *rest = name.split("_")
    for place, word in enumerate(rest):
        if _SIZE.fullmatch(word):
            return "_".join([first, *rest[:place]])
    if not rest and (match := re.fullmatch(r"(.*\D)\d+", first)):
        return match[1]
    return base or name


_SIZE = re.compile(
    r"\d\d+|\d+[a-z]+|[a-uw-z]\d+|xxs|xs|ti|[tsmblh]|nano|tiny|small|base|large|huge|wide|deep",
    re.IGNORECASE,
)
"""A word of a name that says how large the network is: `t`, `b16`, `tiny`, `16gf`, `1024`."""


def _state() -> str:
    """Changes whenever a spec or a rule of counting may have."""
    digest = hashlib.sha256()
    for folder in (PACKAGE, catalog.FOLDER):  # the second may be a link out of the first
        for path in sorted(folder.rglob("*.[py][ya]*")):
            if path.suffix in (".py", ".yaml"):
                status = path.stat()
                digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


def _cache_file() -> Path:
    return cache_folder() / "figures.json"


def _folder(path: Path) -> str:
    """Where a shipped spec stands within `specs/`."""
    folder = path.relative_to(catalog.FOLDER).parent.as_posix()
    return "" if folder == "." else folder


def _base_family(source: str | None, bases: Sequence[Path]) -> str | None:
    """The family of a spec's base, unless they are of different papers."""
    if not bases:
        return None
    from archspec.spec import load

    base = load(bases[0])
    if source is not None and source != base.header.source:
        return None
    return family(base.name, _base_family(base.header.source, bases[1:]))


def _row(path: Path, folder: str) -> Row:
    from archspec.counting import count
    from archspec.expansion import expand
    from archspec.inherit import ancestors
    from archspec.spec import load

    row = Row(
        name=path.stem, file=str(path), folder=folder, family=path.stem, extends=None, about=None,
        source=None, input=[], classes=0, params=None, flops=None, macs=None,
        activation_bytes=None, published={}, top1=None, holes=0, error=None,
    )  # fmt: skip
    try:
        spec = load(path)
        bases = list(ancestors(path))
        header, published = spec.header, spec.header.published
        row["name"], row["extends"] = spec.name, bases[0].stem if bases else None
        row["family"] = family(spec.name, _base_family(header.source, bases))
        row["about"], row["source"] = header.about, header.source
        row["input"] = list(spec.image)
        row["classes"], row["holes"] = spec.classes, len(spec.holes)
        row["top1"] = published.top1
        printed = {"params": published.params, "flops": published.flops}
        row["published"] = {key: value.text for key, value in printed.items() if value is not None}
        if published.top1 is not None:
            row["published"]["top1"] = published.top1
        if spec.is_network and not spec.holes:
            table = count(expand(spec))
            row["params"], row["flops"] = int(table.params), int(table.flops)
            row["macs"], row["activation_bytes"] = int(table.macs), int(table.activation_bytes)
    except ArchspecError as error:
        row["error"] = str(error)
    return row
