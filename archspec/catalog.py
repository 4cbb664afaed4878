"""Where specs are: files, and the ones that ship with the package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from archspec.errors import SpecError, brief, suggestion

FOLDER = Path(__file__).parent / "specs"
SUFFIXES = (".yaml", ".yml")


@cache
def shipped() -> Mapping[str, Path]:
    """Every shipped spec by name. Names are unique, whatever folder they stand in."""
    found: dict[str, Path] = {}
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.stem in found:
            raise RuntimeError(f"two shipped specs are called {path.stem!r}")
        found[path.stem] = path
    return found


def find(name: str | Path, near: Path | None = None) -> Path:
    """The file of a spec.

    Args:
        name: a path, or the name of a shipped spec.
        near: the folder that relative paths are looked for in first (default: the current one).

    Raises:
        SpecError: there is none.
    """
    text = str(name)
    path = Path(text)
    candidates = [path] if near is None else [near / path, path]
    if path.suffix in SUFFIXES or "/" in text:
        for candidate in candidates:
            if os.path.isfile(candidate):  # noqa: PTH113 - Path's raises for a name too long
                return candidate
    if path.stem in shipped() and (path.suffix == "" or path.parent == Path("specs")):
        return shipped()[path.stem]
    if text and os.path.isdir(path):  # noqa: PTH112
        raise SpecError(f"{brief(text)} is a folder, not a spec")
    if os.path.isfile(path):  # noqa: PTH113
        raise SpecError(f"{brief(text)} is not a spec: their files end in .yaml")
    hint = suggestion(path.stem, shipped())
    raise SpecError(
        f"there is no spec {brief(text)}: no such file, and none shipped under that name",
        hint=f"{hint} ('archspec specs' lists them)"
        if hint
        else "'archspec specs' lists the shipped ones",
    )
